"""Low-rank changes of a batch of requests, and runs in which every row has the change of its own request."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from jaxtyping import Float

from lens_rome._typing import Tensor, Tokens
from lens_rome.editing.delta import LowRankDelta, Place
from lens_rome.editing.learned.wiring import RowChange
from lens_rome.surface import AbstractSurface, attached, frozen_parameters


@dataclass(frozen=True, eq=False)
class Change:
    """Request i adds `left[i].T @ right[i]` to a weight. Slots that a request does not use are zero."""

    left: Float[Tensor, "request rank d_in"]
    right: Float[Tensor, "request rank d_out"]

    def delta(self, request: int) -> LowRankDelta:
        """The change of one request without unused slots; float64 on the CPU."""
        left, right = (factor[request].detach().cpu().double() for factor in (self.left, self.right))
        used = (left != 0).any(-1) & (right != 0).any(-1)
        return LowRankDelta(left[used].T.contiguous(), right[used].contiguous())


Changes = Mapping[Place, Change]


def changed_run(
    surface: AbstractSurface, tokens: Tokens, changes: Changes, request: Sequence[int]
) -> Float[Tensor, "row pos d_vocab"]:
    """Logits of a run in which row i has the changes of request `request[i]` in its weights.

    No weight is written; gradients reach the changes' factors and no parameter of the model.
    """
    hooks = []
    for place, change in changes.items():
        chosen = torch.tensor(request, device=change.left.device)
        hooks.append(RowChange(surface, place, change.left[chosen], change.right[chosen]))
    with ExitStack() as stack:
        if torch.is_grad_enabled():  # `frozen_parameters` switches gradients on
            stack.enter_context(frozen_parameters(surface.model))
        stack.enter_context(attached(surface.model, [hook.at_output for hook in hooks], first=True))
        stack.enter_context(attached(surface.model, [hook.at_input for hook in hooks]))
        return surface.run(tokens)
