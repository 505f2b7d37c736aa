"""Hooks at the matrices that a learned editor changes: gradient factors are read there, and changes added."""

from collections.abc import Callable

import torch

from lens_rome._typing import Tensor
from lens_rome.editing.delta import Place
from lens_rome.surface import AbstractSurface, position_free

PARAMETERS = ("W_in", "W_out")
"""The matrices of a block that learned editors change. A gated MLP's `W_gate` is left alone."""


class GradientReader:
    """Reads what goes into a matrix, and adds a zero to what comes out of it whose gradient is that of the output.

    Its hooks go last at the input and first at the output, so that they see the matrix itself whatever other hooks
    there are. The input is kept in float32 at least; the zero has the output's precision, and so has its gradient.
    """

    def __init__(self, surface: AbstractSurface, place: Place) -> None:
        spots = surface.matrix_hooks(*place)
        self.at_input = (spots.reads, _hook(self._read))
        self.at_output = (spots.adds, _hook(self._add))
        self._input = spots.input
        self.x: Tensor
        self.leaf: Tensor

    def _read(self, activation: Tensor) -> None:
        self.x = wide(self._input(activation).detach().clone())

    def _add(self, activation: Tensor) -> Tensor:
        self.leaf = torch.zeros_like(activation, requires_grad=True)
        return activation + self.leaf


class RowChange:
    """Adds `(x @ left.T) @ right` at a matrix's output, with factors of its own for each row of the batch.

    Differentiable in the factors. The same as writing the change into the matrix, for each row another; the sum is
    rounded once, to the output's precision.
    """

    def __init__(self, surface: AbstractSurface, place: Place, left: Tensor, right: Tensor) -> None:
        self._left, self._right = left, right
        spots = surface.matrix_hooks(*place)
        self.at_input = (spots.reads, _hook(self._read))
        self.at_output = (spots.adds, _hook(self._add))
        self._input = spots.input
        self._x: Tensor

    def _read(self, activation: Tensor) -> None:
        self._x = self._input(activation)

    def _add(self, activation: Tensor) -> Tensor:
        x = self._x.to(self._left.dtype)
        return (activation + (x @ self._left.transpose(-1, -2)) @ self._right).to(activation.dtype)


def wide(tensor: Tensor) -> Tensor:
    """In float32 at least."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _hook(function: Callable[[Tensor], Tensor | None]) -> Callable[..., Tensor | None]:
    """The function with the arguments that TransformerLens calls it by, marked as indifferent to positions."""

    def call(activation: Tensor, hook: object = None) -> Tensor | None:  # noqa: ARG001 - TransformerLens's signature
        return function(activation)

    return position_free(call)
