"""The change of one parameter, kept factored."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float

from lens_rome._typing import Tensor, Weight
from lens_rome.errors import EditError

Place = tuple[int, str]
"""A layer and a parameter in TransformerLens's orientation, e.g. `(5, "W_out")`."""


@dataclass(frozen=True, eq=False)
class LowRankDelta:
    """`left @ right`, added to a weight `[d_in, d_out]`. Memory: `rank · (d_in + d_out)` numbers."""

    left: Float[Tensor, "d_in rank"]
    right: Float[Tensor, "rank d_out"]

    def __post_init__(self) -> None:
        if self.left.ndim != 2 or self.right.ndim != 2 or self.left.shape[1] != self.right.shape[0]:
            raise EditError(
                f"factors of shapes {tuple(self.left.shape)} and {tuple(self.right.shape)} do not multiply."
            )
        if not (torch.isfinite(self.left).all() and torch.isfinite(self.right).all()):
            raise EditError(
                "the change is not finite: the optimisation diverged or the key has no length. Lower the learning rate."
            )

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
        """Frobenius norm, without making the product."""
        inner = (self.left.T @ self.left) * (self.right @ self.right.T)
        return float(inner.sum().clamp_min(0).sqrt())

    def added_to(self, weight: Tensor) -> Tensor:
        """`weight + left @ right` computed in float64 and rounded once to the weight's dtype; a new tensor."""
        exact = weight.detach().cpu().double() + self.left.double() @ self.right.double()
        return exact.to(device=weight.device, dtype=weight.dtype)

    def scaled(self, factor: float) -> "LowRankDelta":
        """The change times `factor`."""
        return LowRankDelta(self.left, self.right * factor)

    def __add__(self, other: "LowRankDelta") -> "LowRankDelta":
        if self.shape != other.shape:
            raise EditError(f"changes of weights {self.shape} and {other.shape} cannot be added.")
        return LowRankDelta(torch.cat([self.left, other.left], 1), torch.cat([self.right, other.right], 0))

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name, for files."""
        return {"left": self.left, "right": self.right}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "LowRankDelta":
        """Inverse of `tensors`."""
        return cls(tensors["left"], tensors["right"])

    def factored(self) -> Any:
        """The change as TransformerLens's `FactoredMatrix`, for its tools (SVD, norms, products); float64."""
        from lens_rome.surface import factored_matrix

        return factored_matrix(self.left, self.right)
