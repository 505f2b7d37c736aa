"""Where the input of a matrix can be read and its output changed by hooks."""

from collections.abc import Callable
from dataclasses import dataclass

from lens_rome._typing import Tensor

HOOKED_MATRICES = ("W_out", "W_in", "W_gate")
"""Matrices of an MLP that have hook points on both sides."""
HOOKED_BIASES = ("b_out", "b_in", "b_gate")
"""Biases of an MLP that are added at a hook point."""


def unchanged(activation: Tensor) -> Tensor:
    """The activation itself."""
    return activation


@dataclass(frozen=True)
class MatrixHooks:
    """Two hook points around one matrix of a block, in the order in which they fire."""

    reads: str
    """Hook point from whose activation the matrix's input follows."""
    adds: str
    """Hook point at the matrix's output, before anything else is done to it."""
    input: Callable[[Tensor], Tensor] = unchanged
    """The matrix's input, computed from the activation at `reads`."""
