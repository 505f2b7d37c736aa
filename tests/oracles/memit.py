"""MEMIT and its kin as their definition reads: one forward for each prompt, explicit inverses, weights written."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tests.oracles.editing import Row, noise_hooks


def spread_by_loop(
    model: Any,
    layers: Sequence[int],
    rows: Sequence[Sequence[Row]],
    targets: torch.Tensor,
    solve: Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor],
    mean_residual: bool = False,
) -> dict[int, torch.Tensor]:
    """The dense change of each layer's `W_out`; the model's weights hold all of them at the end.

    Args:
        rows: of each request, the bare prompt's first.
        targets: z of each request, `[request, d_model]`.
        solve: from layer, keys `[request, d_mlp]` and residuals `[request, d_model]` to the change.
    """
    changes = {}
    for done, layer in enumerate(layers):
        keys, now = [], []
        for own in rows:
            seen = [_seen(model, layer, layers[-1], row) for row in own]
            keys.append(_halves([key for key, _ in seen]))
            outputs = [output for _, output in seen]
            now.append(_halves(outputs) if mean_residual else outputs[0])
        residuals = (targets - torch.stack(now)) / (len(layers) - done)
        changes[layer] = solve(layer, torch.stack(keys), residuals)
        weight = model.blocks[layer].mlp.W_out
        with torch.no_grad():
            weight.copy_(weight + changes[layer])
    return changes


def _halves(values: list[torch.Tensor]) -> torch.Tensor:
    """The bare prompt's weighs as much as all others together."""
    return values[0] if len(values) == 1 else values[0] / 2 + sum(values[1:]) / (2 * len(values[1:]))


@torch.no_grad()
def _seen(model: Any, layer: int, last: int, row: Row) -> tuple[torch.Tensor, torch.Tensor]:
    with model.hooks(fwd_hooks=noise_hooks(row)):
        _, cache = model.run_with_cache(torch.tensor([row.prompt]))
    found = cache[f"blocks.{layer}.mlp.hook_post"], cache[f"blocks.{last}.hook_resid_post"]
    key, output = (each[0, row.lookup].double() for each in found)
    return key, output
