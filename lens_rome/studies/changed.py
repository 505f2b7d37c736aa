"""The parameters that a run changes, with copies of what they were."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

from lens_rome._typing import Tensor
from lens_rome.editing.delta import Place
from lens_rome.editing.weights import place_name
from lens_rome.surface import AbstractSurface


class Changed:
    """Copies of parameters from before their first change."""

    def __init__(self, surface: AbstractSurface) -> None:
        self._surface = surface
        self._saved: dict[Place, Tensor] = {}

    def keep(self, places: Iterable[Place]) -> None:
        """Copy the parameters of places that have no copy yet; to be called before they are written to."""
        for place in places:
            if place not in self._saved:
                self._saved[place] = self._surface.parameter(*place).detach().clone()

    def restore(self) -> None:
        """Put all copies back, bit for bit."""
        with torch.no_grad():
            for place, saved in self._saved.items():
                self._surface.parameter(*place).copy_(saved)

    def norms(self) -> dict[str, tuple[float, float]]:
        """Frobenius norm of each parameter's change, and of its copy."""
        found = {}
        for place, saved in self._saved.items():
            before, now = saved.double(), self._surface.parameter(*place).detach().double()
            found[place_name(place)] = (float((now - before).norm()), float(before.norm()))
        return found


@contextmanager
def restored(surface: AbstractSurface) -> Iterator[Changed]:
    """What is kept by the yielded object is as it was when the block ends, also after an exception or Ctrl-C."""
    changed = Changed(surface)
    try:
        yield changed
    finally:
        changed.restore()
