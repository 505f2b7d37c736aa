"""Learned editors as their definitions read: one fact at a time, unpadded, gradients of the weights themselves, changes
written into the weights.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

Place = tuple[int, str]


def nll_by_loop(model: Any, prompt: Sequence[int], target: Sequence[int]) -> torch.Tensor:
    """Mean token NLL of `target` after `prompt`."""
    logits = model(torch.tensor([[*prompt, *target]]))[0]
    losses = [-logits[len(prompt) - 1 + i].log_softmax(-1)[token] for i, token in enumerate(target)]
    return sum(losses) / len(losses)


def weight_gradient(
    model: Any, leaf: torch.nn.Parameter, shape: Sequence[int], prompt: Sequence[int], target: Sequence[int]
) -> torch.Tensor:
    """Gradient of the NLL with respect to the parameter itself, laid out as `shape`."""
    (gradient,) = torch.autograd.grad(nll_by_loop(model, prompt, target), [leaf])
    return gradient if tuple(gradient.shape) == tuple(shape) else gradient.T


def mend_by_loop(
    blocks: Sequence[Mapping[str, torch.Tensor]],
    statistics: Mapping[str, torch.Tensor],
    step_size: float,
    x: torch.Tensor,
    delta: torch.Tensor,
    layer: int,
) -> torch.Tensor:
    """The dense change of a weight: `-α Σ_t x̃_t ⊗ δ̃_t`, token by token, entry by entry of the two blocks.

    Args:
        blocks: `down`, `up`, `bias`, `scale`, `shift` of each.
        statistics: rows that were observed, `x` and `delta`.
        layer: index of the layer among those edited.
    """
    change = torch.zeros(x.shape[1], delta.shape[1], dtype=x.dtype)
    for x_t, delta_t in zip(x, delta, strict=True):
        if not x_t.any() or not delta_t.any():
            continue
        parts = [
            (value - statistics[name].mean(0)) / (statistics[name].std(0) + 1e-7)
            for name, value in (("x", x_t), ("delta", delta_t))
        ]
        h = torch.cat(parts)
        for block in blocks:
            inner = block["up"] @ (block["down"] @ h) + block["bias"]
            h = h + torch.maximum(torch.zeros(()), block["scale"][layer] * inner + block["shift"][layer])
        change = change - step_size * torch.outer(h[: len(x_t)], h[len(x_t) :])
    return change


def divergence_by_loop(base: Any, edited: Any) -> list[torch.Tensor]:
    """KL(base ‖ edited) at each position of two logits `[pos, d_vocab]`."""
    found = []
    for one, other in zip(base, edited, strict=True):
        p, q = one.softmax(-1), other.softmax(-1)
        found.append((p * (p / q).log()).sum())
    return found
