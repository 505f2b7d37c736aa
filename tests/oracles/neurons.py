"""Knowledge neurons as their definition reads: one full forward for each layer and each α, one neuron at a time.

Uses TransformerLens's own `run_with_hooks` and hook names, nothing of the package.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

Hook = tuple[str, Callable[..., Any]]


def attribution_by_loop(
    model: Any,
    prompt: Sequence[int],
    answers: Sequence[int],
    alphas: Sequence[float],
    point: str = "hook_post",
    later_hooks: Sequence[Hook] = (),
) -> torch.Tensor:
    """`[layer, d_mlp]`: the activation at the last position times the mean gradient of the answers' mean probability.

    Args:
        later_hooks: run after the scaling.
    """
    rows = []
    for layer in range(model.cfg.n_layers):
        name = f"blocks.{layer}.mlp.{point}"
        activation = _last(model, prompt, name, later_hooks)
        total = torch.zeros_like(activation)
        for alpha in alphas:
            scaled = (alpha * activation).requires_grad_()
            total += torch.autograd.grad(_mean_prob(model, prompt, answers, name, scaled, later_hooks), scaled)[0]
        rows.append(activation * total / len(alphas))
    return torch.stack(rows)


@torch.no_grad()
def prob_with(
    model: Any, prompt: Sequence[int], answer: int, layer: int, alpha: float, point: str = "hook_post"
) -> float:
    """The answer's probability with the layer's activation at the last position scaled by `alpha`."""
    name = f"blocks.{layer}.mlp.{point}"
    return float(_mean_prob(model, prompt, [answer], name, alpha * _last(model, prompt, name, ()), ()))


def change_by_loop(
    weight: torch.Tensor,
    neurons: Sequence[int],
    old: torch.Tensor,
    new: torch.Tensor,
    suppress: float,
    promote: float,
) -> torch.Tensor:
    """The dense change of `W_out`, row by row; the two embeddings are scaled to each row's norm."""
    change = torch.zeros_like(weight)
    for neuron in neurons:
        length = weight[neuron].norm()
        change[neuron] -= suppress * length / old.norm() * old
        change[neuron] += promote * length / new.norm() * new
    return change


@torch.no_grad()
def _last(model: Any, prompt: Sequence[int], name: str, later_hooks: Sequence[Hook]) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    read = (name, lambda activation, hook: seen.append(activation[0, -1].clone()))  # noqa: ARG005
    model.run_with_hooks(torch.tensor([prompt]), fwd_hooks=[read, *later_hooks])
    return seen[0]


def _mean_prob(
    model: Any,
    prompt: Sequence[int],
    answers: Sequence[int],
    name: str,
    scaled: torch.Tensor,
    later_hooks: Sequence[Hook],
) -> torch.Tensor:
    def put(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
        return torch.cat([activation[:, :-1], scaled[None, None]], 1)

    logits = model.run_with_hooks(torch.tensor([prompt]), fwd_hooks=[(name, put), *later_hooks])
    return logits[0, -1].softmax(-1)[list(answers)].mean()
