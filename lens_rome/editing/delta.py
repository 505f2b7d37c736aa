"""The change of one parameter: low-rank and kept factored, of some rows, or dense.

All kinds add themselves in float64 and round once to the weight's precision, so that their sums and multiples differ
from the exact ones by one rounding at most.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int

from lens_rome._typing import Tensor, Weight
from lens_rome.errors import EditError, NotFiniteError

Place = tuple[int, str]
"""A layer and a parameter in TransformerLens's orientation, e.g. `(5, "W_out")`; layer -1 is outside the blocks, e.g.
`(-1, "W_E")`.
"""


class Delta(ABC):
    """What every kind of change can do."""

    kind: ClassVar[str]
    """Its name in files."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of the parameter it belongs to."""

    @property
    @abstractmethod
    def rank(self) -> int:
        """An upper bound of its rank as a matrix."""

    @abstractmethod
    def dense(self) -> Float[Tensor, "..."]:
        """The change written out."""

    @abstractmethod
    def norm(self) -> float:
        """Frobenius norm."""

    @abstractmethod
    def added_to(self, weight: Tensor) -> Tensor:
        """The changed weight, computed in float64 and rounded once to the weight's dtype; a new tensor."""

    @abstractmethod
    def scaled(self, factor: float) -> "Delta":
        """The change times `factor`, of the same kind."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name, for files."""

    @classmethod
    @abstractmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Delta":
        """Inverse of `tensors`."""

    def __add__(self, other: "Delta") -> "Delta":
        """The sum: of the same kind for two of one kind, else dense.

        Raises:
            EditError: they belong to weights of different shapes.
        """
        if self.shape != other.shape:
            raise EditError(f"changes of weights {self.shape} and {other.shape} cannot be added.")
        if type(self) is type(other):
            return self._joined(other)
        return DenseDelta(self.dense().double() + other.dense().double())

    @abstractmethod
    def _joined(self, other: Any) -> "Delta":
        """The sum with a change of the same kind and shape."""


@dataclass(frozen=True, eq=False)
class LowRankDelta(Delta):
    """`left @ right`, added to a weight `[d_in, d_out]`. Memory: `rank · (d_in + d_out)` numbers."""

    left: Float[Tensor, "d_in rank"]
    right: Float[Tensor, "rank d_out"]

    kind: ClassVar[str] = "lowrank"

    def __post_init__(self) -> None:
        if self.left.ndim != 2 or self.right.ndim != 2 or self.left.shape[1] != self.right.shape[0]:
            raise EditError(
                f"factors of shapes {tuple(self.left.shape)} and {tuple(self.right.shape)} do not multiply."
            )
        _check_finite(self.left, self.right)

    @property
    def rank(self) -> int:
        """Number of columns of `left`: an upper bound of the rank."""
        return int(self.left.shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """`(d_in, d_out)` of the weight it belongs to."""
        return int(self.left.shape[0]), int(self.right.shape[1])

    def dense(self) -> Weight:
        """The product."""
        return self.left @ self.right

    def norm(self) -> float:
        """Frobenius norm, in float64 and without making the product: `‖left Rᵀ‖` where `rightᵀ = QR`.

        Squares of the factors would lose half of the digits where columns nearly cancel.
        """
        _, inner = torch.linalg.qr(_exact(self.right).T, mode="r")
        return float((_exact(self.left) @ inner.T).norm())

    def added_to(self, weight: Tensor) -> Tensor:
        """`weight + left @ right` computed in float64 and rounded once to the weight's dtype; a new tensor."""
        return _rounded(_exact(weight) + _exact(self.left) @ _exact(self.right), weight)

    def scaled(self, factor: float) -> "LowRankDelta":
        """The change times `factor`."""
        return LowRankDelta(self.left, self.right * factor)

    def _joined(self, other: "LowRankDelta") -> "LowRankDelta":
        return LowRankDelta(torch.cat([self.left, other.left], 1), torch.cat([self.right, other.right], 0))

    def compressed(self) -> "LowRankDelta":
        """The same change with as few columns as its rank: the parts that only rounding fills are dropped; float64.

        Sums of edits that overlap shrink by it. Cost: two thin QR decompositions and an SVD of `[rank, rank]`.
        """
        basis_in, inner_left = torch.linalg.qr(_exact(self.left))
        basis_out, inner_right = torch.linalg.qr(_exact(self.right).T)
        u, sizes, vh = torch.linalg.svd(inner_left @ inner_right.T, full_matrices=False)
        # Below this a singular value of the product is rounding.
        kept = sizes > max(self.shape) * torch.finfo(torch.float64).eps * inner_left.norm() * inner_right.norm()
        return LowRankDelta(basis_in @ (u[:, kept] * sizes[kept]), vh[kept] @ basis_out.T)

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name, for files."""
        return {"left": self.left, "right": self.right}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "LowRankDelta":
        """Inverse of `tensors`."""
        return cls(tensors["left"], tensors["right"])

    def factored(self) -> Any:
        """The change as TransformerLens's `FactoredMatrix`, for its tools (SVD, norms, products); float64."""
        from lens_rome.surface import factored_matrix

        return factored_matrix(self.left, self.right)


@dataclass(frozen=True, eq=False)
class DenseDelta(Delta):
    """`change`, added to a parameter of the same shape: a matrix, a bias, or what heads share. Memory: as the
    parameter.
    """

    change: Float[Tensor, "..."]

    kind: ClassVar[str] = "dense"

    def __post_init__(self) -> None:
        _check_finite(self.change)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the parameter it belongs to."""
        return tuple(self.change.shape)

    @property
    def rank(self) -> int:
        """1 of a vector, the smaller side of a matrix, and so for each head's."""
        *heads, d_in, d_out = (1, 1, *self.shape)
        return int(torch.tensor(heads).prod()) * min(d_in, d_out)

    def dense(self) -> Float[Tensor, "..."]:
        """The change itself."""
        return self.change

    def norm(self) -> float:
        """Frobenius norm."""
        return float(self.change.double().norm())

    def added_to(self, weight: Tensor) -> Tensor:
        """`weight + change` computed in float64 and rounded once to the weight's dtype; a new tensor."""
        return _rounded(_exact(weight) + _exact(self.change), weight)

    def scaled(self, factor: float) -> "DenseDelta":
        """The change times `factor`."""
        return DenseDelta(self.change * factor)

    def _joined(self, other: "DenseDelta") -> "DenseDelta":
        return DenseDelta(_exact(self.change) + _exact(other.change))

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name, for files."""
        return {"change": self.change}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "DenseDelta":
        """Inverse of `tensors`."""
        return cls(tensors["change"])


@dataclass(frozen=True, eq=False)
class RowsDelta(Delta):
    """`change`, added to some rows of a matrix, e.g. of `W_E` (one row a token). Memory: the changed rows."""

    rows: Int[Tensor, " row"]
    """Which rows, in rising order, each once."""
    change: Float[Tensor, "row d_out"]
    n_rows: int
    """How many rows the whole matrix has."""

    kind: ClassVar[str] = "rows"

    def __post_init__(self) -> None:
        listed = self.rows.tolist()
        if listed != sorted(set(listed)) or len(listed) != len(self.change):
            raise EditError(
                f"{len(self.change)} changes for the rows {listed}: give one change a row, the rows in rising order, "
                "each once."
            )
        if listed and not (listed[0] >= 0 and listed[-1] < self.n_rows):
            raise EditError(f"rows {listed[0]} to {listed[-1]} are not all in a matrix of {self.n_rows} rows.")
        _check_finite(self.change)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the whole matrix."""
        return self.n_rows, int(self.change.shape[1])

    @property
    def rank(self) -> int:
        """The number of rows, or their length if that is smaller."""
        return min(self.change.shape)

    def dense(self) -> Weight:
        """The whole matrix, zero in the other rows."""
        whole = torch.zeros(self.shape, dtype=self.change.dtype, device=self.change.device)
        whole[self.rows] = self.change
        return whole

    def norm(self) -> float:
        """Frobenius norm."""
        return float(self.change.double().norm())

    def added_to(self, weight: Tensor) -> Tensor:
        """The weight with its rows changed, those computed in float64 and rounded once; a new tensor."""
        edited, rows = weight.detach().clone(), self.rows.to(weight.device)
        edited[rows] = _rounded(_exact(edited[rows]) + _exact(self.change), weight)
        return edited

    def scaled(self, factor: float) -> "RowsDelta":
        """The change times `factor`."""
        return RowsDelta(self.rows, self.change * factor, self.n_rows)

    def _joined(self, other: "RowsDelta") -> "RowsDelta":
        rows, place = torch.cat([self.rows.cpu(), other.rows.cpu()]).unique(return_inverse=True)
        change = torch.zeros(len(rows), self.change.shape[1], dtype=torch.float64)
        change.index_add_(0, place, torch.cat([_exact(self.change), _exact(other.change)]))
        return RowsDelta(rows, change, self.n_rows)

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name, for files."""
        return {"rows": self.rows, "change": self.change, "n_rows": torch.tensor(self.n_rows)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "RowsDelta":
        """Inverse of `tensors`."""
        return cls(tensors["rows"], tensors["change"], int(tensors["n_rows"]))


DELTAS: dict[str, type[Delta]] = {kind.kind: kind for kind in (LowRankDelta, DenseDelta, RowsDelta)}
"""The kinds of change by their names in files."""


def _exact(tensor: Tensor) -> Tensor:
    """On the CPU, for not every device has float64."""
    return tensor.detach().cpu().double()


def _rounded(exact: Tensor, weight: Tensor) -> Tensor:
    return exact.to(device=weight.device, dtype=weight.dtype)


def _check_finite(*tensors: Tensor) -> None:
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors):
        raise NotFiniteError(
            "the change is not finite: the optimisation diverged or the key has no length. Lower the learning rate."
        )
