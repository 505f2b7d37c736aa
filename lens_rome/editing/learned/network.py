"""What the networks of learned editors have in common, and the shapes that they are made for."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from lens_rome.editing.delta import Place
from lens_rome.editing.learned.changes import Changes
from lens_rome.editing.learned.gradients import GradientFactors
from lens_rome.errors import EditError
from lens_rome.surface import AbstractSurface


class EditorNetwork(nn.Module):
    """From the gradient factors of requests to a change for each. No request's change depends on the others."""

    keeps_statistics: ClassVar[bool] = False
    """Whether it normalises by statistics, which `observe` makes."""

    @abstractmethod
    def forward(self, factors: GradientFactors) -> Changes:
        """The change of each request."""

    def observe(self, factors: GradientFactors) -> None:
        """Count the factors into running statistics, if the network keeps any; only training does."""


@dataclass(frozen=True)
class Structure:
    """Which matrices a network changes, their shapes, and its precision."""

    places: tuple[Place, ...]
    shapes: Mapping[str, tuple[int, int]]
    """`(d_in, d_out)` of each kind of matrix."""
    d_model: int
    dtype: torch.dtype
    """The model's, float32 at least."""

    @classmethod
    def of(cls, surface: AbstractSurface, places: tuple[Place, ...]) -> "Structure":
        """Of a model.

        Raises:
            EditError: a kind of matrix has another shape in another layer, so that they could not share a network.
            SurfaceError: the model has no such matrix of its own.
        """
        shapes: dict[str, tuple[int, int]] = {}
        for layer, name in places:
            d_in, d_out = (int(size) for size in surface.parameter(layer, name).shape)
            if shapes.setdefault(name, (d_in, d_out)) != (d_in, d_out):
                raise EditError(
                    f"{name} has shape {shapes[name]} in one of the layers and {(d_in, d_out)} in layer {layer}; "
                    "layers that are edited together must have matrices of one shape. Choose other layers."
                )
        return cls(places, shapes, surface.d_model, torch.promote_types(surface.dtype, torch.float32))

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers, from below."""
        return tuple(sorted({layer for layer, _ in self.places}))

    def jsonable(self) -> dict[str, Any]:
        """For files."""
        dtype = str(self.dtype).removeprefix("torch.")
        return {"places": self.places, "shapes": dict(self.shapes), "d_model": self.d_model, "dtype": dtype}

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> "Structure":
        """Inverse of `jsonable`, after a file has made lists of tuples."""
        places = tuple((int(layer), str(name)) for layer, name in told["places"])
        shapes = {name: (int(shape[0]), int(shape[1])) for name, shape in told["shapes"].items()}
        return cls(places, shapes, int(told["d_model"]), getattr(torch, told["dtype"]))


def place_name(place: Place) -> str:
    """`"5:W_out"`: what a network calls a matrix. By name and never by order, so that nothing can be swapped."""
    return f"{place[0]}:{place[1]}"
