"""What is kept while an edit is in a model's weights."""

import torch

from lens_rome._typing import Tensor
from lens_rome.editing.delta import Place
from lens_rome.editing.fingerprint import fingerprint
from lens_rome.editing.weights import place_name
from lens_rome.errors import EditMismatchError
from lens_rome.surface import AbstractSurface


class Applied:
    """An edit that is in a model's weights, and the copy of what was there before."""

    def __init__(self, surface: AbstractSurface, saved: dict[Place, Tensor], after: dict[Place, str]) -> None:
        self._surface, self._saved, self._after = surface, saved, after

    def revert(self) -> None:
        """Put the saved weights back, bit for bit. Doing it twice changes nothing.

        Raises:
            EditMismatchError: the weights have changed since (a later edit is on top); revert that first.
        """
        for place in self._saved:
            if fingerprint(self._surface.parameter(*place)) != self._after[place]:
                raise EditMismatchError(
                    f"{place_name(place)} has changed since this edit was applied. Revert later edits first, in "
                    "reverse order."
                )
        self.restore()

    def restore(self) -> None:
        """Put the saved weights back whatever is there now."""
        with torch.no_grad():
            for place, weight in self._saved.items():
                self._surface.parameter(*place).copy_(weight)
        self._saved = {}
