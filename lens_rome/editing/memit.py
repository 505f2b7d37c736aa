"""MEMIT, EMMET and AlphaEdit: rows of one table, see `closed_form`."""

import math
from dataclasses import dataclass

from lens_rome.editing.metric import InverseMoment, Metric, NullSpace
from lens_rome.editing.spread import SpreadEditor
from lens_rome.errors import EditError
from lens_rome.moments import SecondMoment


@dataclass(frozen=True)
class MEMIT(SpreadEditor):
    """Mass-editing memory in a transformer (https://arxiv.org/abs/2210.07229): least squares that weighs each request
    against `weight` keys of the corpus. A single request is written in part only; many of them share the layers.
    """

    weight: float = 20000.0
    """λ: how many corpus keys the moment stands for (mom2_update_weight)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(above_zero={"weight": self.weight})

    @property
    def name(self) -> str:
        """`"MEMIT"`."""
        return "MEMIT"

    def slack(self, n: int) -> float:  # noqa: ARG002 - the same for any number
        """1: each request weighs one key."""
        return 1.0

    def metric(self, moment: SecondMoment) -> Metric:
        """`(λ C)⁻¹`."""
        return InverseMoment(moment, self.weight)


@dataclass(frozen=True)
class EMMET(SpreadEditor):
    """Equality-constrained mass editing (https://arxiv.org/abs/2403.14236): writes every request exactly at its key,
    and of all such changes the one that moves the corpus least.

    The released code adds `ridge` to the system where there are several requests; `weight` then no longer cancels, and
    the method is MEMIT with `weight · ridge` for λ. Its published settings are `weight=1000, ridge=0.1`.
    """

    weight: float = 1.0
    """Factor of the moment (mom2_update_weight); without effect unless there is a ridge."""
    ridge: float = 0.0
    """Slack of each of several requests (the code's ε); 0 for true equality."""
    moment_ridge: float = 0.0
    """Added to the diagonal of the moment (update_norm_lambda)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(above_zero={"weight": self.weight}, from_zero={"ridge": self.ridge, "moment_ridge": self.moment_ridge})

    @property
    def name(self) -> str:
        """`"EMMET"`."""
        return "EMMET"

    def slack(self, n: int) -> float:
        """The ridge where there are several requests; a single one is written exactly, as in the released code."""
        return self.ridge if n > 1 else 0.0

    def metric(self, moment: SecondMoment) -> Metric:
        """`(w C + μ I)⁻¹`."""
        return InverseMoment(moment, self.weight, self.moment_ridge)


@dataclass(frozen=True)
class AlphaEdit(SpreadEditor):
    """Null-space constrained editing (https://arxiv.org/abs/2410.02355): writes only in directions that the corpus
    hardly uses, and does exactly nothing in the others.

    `threshold` is an eigenvalue of the second moment, so it depends on the scale of the activations: look at
    `moment.spectrum` before taking it over to another model.
    """

    threshold: float = 2e-2
    """Eigenvalue from which a direction is protected (nullspace_threshold)."""
    penalty: float = 10.0
    """Price of the squared norm of the change (L2)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(above_zero={"threshold": self.threshold, "penalty": self.penalty})

    @property
    def name(self) -> str:
        """`"AlphaEdit"`."""
        return "AlphaEdit"

    def slack(self, n: int) -> float:  # noqa: ARG002 - the same for any number
        """1: each request weighs one key."""
        return 1.0

    def metric(self, moment: SecondMoment) -> Metric:
        """The projector on the free directions, over the penalty."""
        return NullSpace(moment, self.threshold, self.penalty)


def _check(above_zero: dict[str, float], from_zero: dict[str, float] | None = None) -> None:
    for name, value in above_zero.items():
        if not (math.isfinite(value) and value > 0):
            raise EditError(f"{name} must be a number above 0, got {value!r}.")
    for name, value in (from_zero or {}).items():
        if not (math.isfinite(value) and value >= 0):
            raise EditError(f"{name} must be a number from 0 up, got {value!r}.")
