"""Causal tracing as its definition reads: one full forward a cell, row 0 clean, all others corrupted, nothing shared.

Uses TransformerLens's own `run_with_hooks` and hook names, nothing of the package.
"""

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

import numpy as np
import torch

Hook = tuple[str, Callable[..., Any]]


@torch.no_grad()
def trace_by_loop(
    model: Any,
    tokens: Sequence[int],
    span: tuple[int, int],
    kind: str,
    window: int,
    level: float,
    samples: int,
    answer: Sequence[int],
    seed: int = 1,
    owner_hooks: Sequence[Hook] = (),
) -> tuple[float, torch.Tensor, torch.Tensor]:
    """Clean probability, corrupted probability `[sample]`, restored probability `[layer, pos, sample]` of `answer`.

    Args:
        tokens: the prompt; the answer's tokens but the last are appended to it.
        owner_hooks: hooks that take part in every run, before ours.
    """
    noise = level * torch.from_numpy(np.random.RandomState(seed).randn(samples, span[1] - span[0], model.cfg.d_model))
    rows = torch.tensor([[*tokens, *answer[:-1]]] * (samples + 1))
    hook_name = {"resid": "hook_resid_post", "mlp": "hook_mlp_out", "attn": "hook_attn_out"}[kind]
    n_layers, n_positions = model.cfg.n_layers, len(tokens)

    def corrupt(embedding: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
        embedding = embedding.clone()
        embedding[1:, span[0] : span[1]] = (embedding[1:, span[0] : span[1]].double() + noise).to(embedding.dtype)
        return embedding

    def probs(restored: Sequence[Hook]) -> torch.Tensor:
        logits = model.run_with_hooks(rows, fwd_hooks=[*owner_hooks, ("hook_embed", corrupt), *restored])
        product = torch.ones(samples + 1, dtype=torch.float64)
        for i, token in enumerate(answer):
            product *= logits[:, n_positions - 1 + i].softmax(-1)[:, token].double()
        return product

    scores = torch.zeros(n_layers, n_positions, samples, dtype=torch.float64)
    for layer in range(n_layers):
        first, last = max(0, layer - window // 2), min(n_layers, layer + ceil(window / 2))
        for position in range(n_positions):

            def restore(activation: torch.Tensor, hook: Any, position: int = position) -> torch.Tensor:  # noqa: ARG001
                activation = activation.clone()
                activation[1:, position] = activation[0, position]
                return activation

            scores[layer, position] = probs([(f"blocks.{i}.{hook_name}", restore) for i in range(first, last)])[1:]
    plain = probs([])
    return float(plain[0]), plain[1:], scores
