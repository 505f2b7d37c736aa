"""What an editor leaves alone, as a metric G on keys: an edit costs little in directions where G is large.

All editors of the closed form (ROME, R-ROME, MEMIT, EMMET, AlphaEdit) share one solution, `closed_form`, and differ in
G: the inverse of the keys' second moment, a projector on the directions that the corpus hardly uses, or nothing. G is
symmetric and positive semidefinite, and is held as a root, `G = F Fᵀ`: products under G are then plain products of
whitened rows `k F`, symmetric to the last bit and never negative.

Float64 on the CPU. Memory: `8 · d²` bytes for the factor, which lives on the second moment and is shared.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float

from lens_rome._linalg import CholeskySolver, NotPositiveDefiniteError
from lens_rome._typing import Tensor
from lens_rome.editing.dependence import dependent_rows, parallel_pair, without_roundoff
from lens_rome.errors import EditError, MomentError, SingularSystemError
from lens_rome.moments import SecondMoment


class Metric(ABC):
    """A symmetric positive semidefinite matrix `G = F Fᵀ`, `[d, d]`, known by what it does to rows."""

    @property
    @abstractmethod
    def d(self) -> int:
        """Width of the keys."""

    @property
    @abstractmethod
    def rank(self) -> int:
        """Dimension of the range of G: how many independent keys can be written at."""

    @abstractmethod
    def whiten(self, keys: Float[Tensor, "n d"]) -> Float[Tensor, "n width"]:
        """Each row times F: products of whitened rows are products of the keys under G."""

    @abstractmethod
    def lift(self, whitened: Float[Tensor, "n width"]) -> Float[Tensor, "n d"]:
        """Each whitened row times Fᵀ; after `whiten` this is G."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What it is, as JSON, for an edit's provenance."""

    def apply(self, keys: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """`G k` for each row `k`; float64 on the CPU."""
        return self.lift(self.whiten(keys))


@dataclass(frozen=True, eq=False)
class InverseMoment(Metric):
    """`G = (weight · C + ridge · I)⁻¹`, with C the second moment: directions that the corpus uses are left alone.

    The metric of ROME (https://arxiv.org/abs/2202.05262) and EMMET (https://arxiv.org/abs/2403.14236) with weight 1,
    and of MEMIT (https://arxiv.org/abs/2210.07229) with its λ. Without a ridge the moment's own factor serves.

    Raises:
        EditError: a weight that is not positive, or a negative ridge.  MomentError: singular.
    """

    moment: SecondMoment
    weight: float = 1.0
    """How many corpus keys the moment stands for (MEMIT's λ, `mom2_update_weight`); more keeps more."""
    ridge: float = 0.0
    """Added to the diagonal (EMMET's `update_norm_lambda`); more keeps updates small where the corpus says nothing."""

    def __post_init__(self) -> None:
        _check_positive(weight=self.weight)
        if not 0 <= self.ridge < float("inf"):
            raise EditError(f"ridge must be a number from 0 up, got {self.ridge!r}.")
        _ = self._solver  # a singular moment is refused now, not after the long search for values

    @property
    def d(self) -> int:
        """Width of the keys."""
        return self.moment.d_mlp

    @property
    def rank(self) -> int:
        """All of `d`."""
        return self.d

    @cached_property
    def _solver(self) -> CholeskySolver:
        if self.ridge == 0:
            return self.moment.solver
        eye = torch.eye(self.d, dtype=torch.float64)
        try:
            return CholeskySolver.of(self.moment.mean + self.ridge / self.weight * eye)
        except NotPositiveDefiniteError as error:
            raise MomentError(
                f"second moment of layer {self.moment.layer} with a ridge of {self.ridge:g} cannot be inverted "
                f"({error}): it has {self.moment.count} tokens for {self.d} dimensions. Collect more, or raise it."
            ) from error

    def whiten(self, keys: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """`L⁻¹ k` for each row, with `weight · C + ridge · I = L Lᵀ`."""
        return self._solver.whiten(keys) / self.weight**0.5

    def lift(self, whitened: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """`L⁻ᵀ a` for each row."""
        return self._solver.lift(whitened) / self.weight**0.5

    def describe(self) -> dict[str, Any]:
        """Kind, weight, ridge and condition number."""
        settings = {"weight": float(self.weight), "ridge": float(self.ridge)}
        return {"kind": "inverse_moment", **settings, "condition": self._solver.condition}


@dataclass(frozen=True, eq=False)
class NullSpace(Metric):
    """`G = U₀ U₀ᵀ / penalty`, with U₀ the eigenvectors of C of eigenvalue below `threshold`: an edit does exactly
    nothing along the other, protected, directions (AlphaEdit, https://arxiv.org/abs/2410.02355).

    The eigendecomposition is made once and lives on the moment. An edit Δ of this metric changes the mean square of
    the corpus' outputs by `tr(Δᵀ C Δ) < threshold · ‖Δ‖²`.

    Raises:
        EditError: a threshold or penalty that is not positive, or a threshold that protects nothing or everything.
    """

    moment: SecondMoment
    threshold: float
    """Eigenvalue of E[k kᵀ] from which a direction is protected; it scales with the activations, so it does not carry
    over from one model to another."""
    penalty: float
    """Price of the update's squared norm (the released code's `L2`); more keeps updates small."""

    def __post_init__(self) -> None:
        _check_positive(threshold=self.threshold, penalty=self.penalty)
        if 0 < self.rank < self.d:
            return
        values = self.moment.spectrum[0]
        what = "protects every direction: nothing can be written" if self.rank == 0 else "protects no direction"
        raise EditError(
            f"a threshold of {self.threshold:g} {what}. Of the {self.d} eigenvalues of the second moment of layer "
            f"{self.moment.layer}, {self.rank} lie below it and {self.d - self.rank} above; the smallest is "
            f"{float(values[0]):.3g}, the median {float(values.median()):.3g}, the largest {float(values[-1]):.3g}. "
            "Choose a threshold between them."
        )

    @property
    def d(self) -> int:
        """Width of the keys."""
        return self.moment.d_mlp

    @property
    def rank(self) -> int:
        """Number of directions that are free to be written in."""
        return int((self.moment.spectrum[0] < self.threshold).sum())

    def _free(self) -> Float[Tensor, "d free"]:
        return self.moment.spectrum[1][:, : self.rank]

    def whiten(self, keys: Float[Tensor, "n d"]) -> Float[Tensor, "n free"]:
        """The keys' coordinates along the free directions, over √penalty."""
        keys = keys.detach().cpu().double()
        return without_roundoff(keys @ self._free(), keys) / self.penalty**0.5

    def lift(self, whitened: Float[Tensor, "n free"]) -> Float[Tensor, "n d"]:
        """The vectors that have these coordinates, over √penalty."""
        return whitened @ self._free().T / self.penalty**0.5

    def describe(self) -> dict[str, Any]:
        """Kind, threshold, penalty, and how many directions are free and protected."""
        settings = {"threshold": float(self.threshold), "penalty": float(self.penalty)}
        return {"kind": "null_space", **settings, "free": self.rank, "protected": self.d - self.rank}


@dataclass(frozen=True, eq=False)
class Identity(Metric):
    """`G = I`: all directions alike. What some toolkits run under ROME's name; only for those who ask for it."""

    width: int

    @property
    def d(self) -> int:
        """Width of the keys."""
        return self.width

    @property
    def rank(self) -> int:
        """All of `d`."""
        return self.width

    def whiten(self, keys: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The keys themselves, in float64."""
        return keys.detach().cpu().double()

    def lift(self, whitened: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The rows themselves."""
        return whitened

    def describe(self) -> dict[str, Any]:
        """Its kind."""
        return {"kind": "identity"}


@dataclass(frozen=True, eq=False)
class Conditioned(Metric):
    """`metric` after past `keys` have been added to what is left alone: `(G⁻¹ + Kᵀ K)⁻¹`, or on the range of G where G
    has no inverse. Editing with it and then conditioning on is the same as editing in one batch (recursive least
    squares); it is the sum over past keys of AlphaEdit's released code, kept as keys.

    `hard` protects exactly: the limit of infinitely many repeats of each past key. An edit then changes no output for a
    past key. Ours; no published method has it.

    One thin SVD of the whitened keys, made at once: time `n · d · min(n, d)`, memory `8 · d · min(n, d)` bytes. It
    needs no inverse of `I + K G Kᵀ`, so no digits are lost where past keys are many or long.

    Raises:
        EditError: keys of another width, or not finite.
        SingularSystemError: `hard`, and some keys depend on earlier ones or none is left to write in.
    """

    metric: Metric
    keys: Float[Tensor, "n d"]
    hard: bool = False
    """Whether past keys are protected exactly, and not just weighed against new ones."""

    def __post_init__(self) -> None:
        if self.keys.ndim != 2 or self.keys.shape[1] != self.metric.d or not torch.isfinite(self.keys).all():
            raise EditError(
                f"past keys must be [n, {self.metric.d}] and finite, got shape {tuple(self.keys.shape)}. Pass the keys "
                "of edits of the same layer."
            )
        if self.hard:
            self._check_independent(self.metric.whiten(self.keys))
        _ = self._shrinkage

    def _check_independent(self, whitened: Float[Tensor, "n width"]) -> None:
        found = dependent_rows(whitened)
        if found:
            i, j, cosine = parallel_pair(whitened) or (None, None, None)
            named = "" if i is None else f" Keys {i} and {j} are parallel (cosine {cosine:.6f})."
            raise SingularSystemError(
                f"past keys {found} (rows, from 0) have no length under the metric or depend on the keys before "
                f"them, so they cannot be protected one by one.{named} Leave them out, or use hard=False.",
                None if i is None or j is None else (i, j),
                cosine,
            )
        if len(self.keys) >= self.metric.rank:
            raise SingularSystemError(
                f"{len(self.keys)} protected keys take up all {self.metric.rank} directions of the metric: nothing is "
                "left to write in. Protect fewer, or use hard=False."
            )

    @cached_property
    def _shrinkage(self) -> tuple[Float[Tensor, "width few"], Float[Tensor, " few"]]:
        """Orthonormal directions of the past keys (columns), and the share of a whitened row that each takes away.

        With `B = U S Vᵀ` the whitened keys, `(I + Bᵀ B)^(-1/2)` is `I - V (1 - (1 + S²)^(-1/2)) Vᵀ`.
        """
        _, strengths, directions = torch.linalg.svd(self.metric.whiten(self.keys), full_matrices=False)
        left = torch.zeros_like(strengths) if self.hard else (1 + strengths.square()).rsqrt()
        return directions.T, 1 - left

    @property
    def d(self) -> int:
        """Width of the keys."""
        return self.metric.d

    @property
    def rank(self) -> int:
        """That of `metric`, less the number of keys if they are protected exactly."""
        return self.metric.rank - (len(self.keys) if self.hard else 0)

    def _shrunk(self, whitened: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
        directions, taken = self._shrinkage
        shrunk = whitened - (whitened @ directions * taken) @ directions.T
        return without_roundoff(shrunk, whitened) if self.hard else shrunk

    def whiten(self, keys: Float[Tensor, "n d"]) -> Float[Tensor, "n width"]:
        """As `metric` does, shrunk along the past keys."""
        return self._shrunk(self.metric.whiten(keys))

    def lift(self, whitened: Float[Tensor, "n width"]) -> Float[Tensor, "n d"]:
        """As `metric` does, after the same shrinking, which is symmetric."""
        return self.metric.lift(self._shrunk(whitened))

    def describe(self) -> dict[str, Any]:
        """Kind, number of past keys, whether they are protected exactly, and the metric beneath."""
        return {"kind": "conditioned", "past_keys": len(self.keys), "hard": self.hard, "on": self.metric.describe()}


def with_memory(metric: Metric, moment: SecondMoment) -> Metric:
    """The metric that also leaves alone what the moment remembers of past edits."""
    return metric if moment.memory is None else Conditioned(metric, moment.memory)


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise EditError(f"{name} must be a positive number, got {value!r}.")
