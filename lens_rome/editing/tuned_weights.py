"""Weights that are fitted where they stand in the model, and put back bit for bit.

The optimiser works on a copy in float32 at least (the master), in TransformerLens's orientation; after each update the
copy is rounded into the model. The parameter that PyTorch differentiates by may be laid out otherwise (transposed, or
part of a fused matrix): its gradient is seen through the same window as the weight.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from lens_rome._typing import Tensor
from lens_rome.editing.delta import Delta, DenseDelta, Place, RowsDelta
from lens_rome.surface import AbstractSurface, frozen_parameters


class TunedWeight:
    """One parameter, or some of its rows, during a fit. Memory: three times the weight, and Adam's two."""

    def __init__(self, surface: AbstractSurface, place: Place, rows: Sequence[int] | None = None) -> None:
        self.place = place
        self.leaf = surface.leaf(*place)
        self._live = surface.parameter(*place).detach()
        self._rows = None if rows is None else torch.tensor(sorted(set(rows)), device=self._live.device)
        self._saved = self._part(self._live).clone()
        self._start = self._saved.to(torch.promote_types(self._saved.dtype, torch.float32))
        self.master = self._start.clone()

    def _part(self, whole: Tensor) -> Tensor:
        return whole if self._rows is None else whole[self._rows]

    @torch.no_grad()
    def _write(self, part: Tensor) -> None:
        if self._rows is None:
            self._live.copy_(part)
        else:
            self._live[self._rows] = part.to(self._live.dtype)

    def receive(self, gradient: Tensor) -> None:
        """Take the gradient of the leaf as that of the master."""
        leaf, live = self.leaf, self._live
        whole = torch.empty_strided(leaf.size(), leaf.stride(), dtype=gradient.dtype, device=gradient.device)
        whole.copy_(gradient)
        seen = whole.as_strided(live.size(), live.stride(), live.storage_offset() - leaf.storage_offset())
        self.master.grad = self._part(seen).to(self.master.dtype)

    @torch.no_grad()
    def settle(self, bound: float | None) -> None:
        """Put the master back into its bounds and write it into the model."""
        if bound is not None:
            self.master.clamp_(self._start - bound, self._start + bound)
        self._write(self.master)

    def restore(self) -> None:
        """Put the saved numbers back."""
        self._write(self._saved)

    def delta(self, bound: float | None) -> Delta:
        """How far the master is from where it began; within the bound to the last digit, which W0 + ε is not."""
        change = self.master - self._start
        change = change if bound is None else change.clamp(-bound, bound)
        if self._rows is None:
            return DenseDelta(change)
        return RowsDelta(self._rows.cpu(), change, int(self._live.shape[0]))


@contextmanager
def tuning(surface: AbstractSurface, weights: Sequence[TunedWeight]) -> Iterator[None]:
    """Gradients reach these weights and no others inside the `with`. After it the weights and all `requires_grad` are
    as before, also after an exception.
    """
    leaves = leaves_of(weights)
    with frozen_parameters(surface.model):
        try:
            for leaf in leaves:
                leaf.requires_grad_(True)
            yield
        finally:
            for weight in weights:
                weight.restore()
            for leaf in leaves:
                leaf.requires_grad_(False)  # where it was true, `frozen_parameters` sets it again


def leaves_of(weights: Sequence[TunedWeight]) -> list[torch.nn.Parameter]:
    """The model's own parameters behind the weights, each once."""
    return list({id(weight.leaf): weight.leaf for weight in weights}.values())


def descend(
    loss: Tensor, weights: Sequence[TunedWeight], optimizer: torch.optim.Optimizer, bound: float | None
) -> None:
    """One update of all weights together, then each back into its bounds. Nothing is added to anybody's `.grad` but
    the masters'.
    """
    leaves = leaves_of(weights)
    # A weight that the loss does not depend on stays.
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    found = {id(leaf): gradient for leaf, gradient in zip(leaves, gradients, strict=True)}
    for weight in weights:
        weight.receive(found[id(weight.leaf)])
    optimizer.step()
    for weight in weights:
        weight.settle(bound)
