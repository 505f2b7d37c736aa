"""What `average_effects` found."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from lens_rome.errors import TraceError
from lens_rome.tracing.comparable import gain_sign
from lens_rome.tracing.result import TraceSettings
from lens_rome.tracing.roles import ROLES, check_role

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Mean:
    """A mean over facts with its 95% band (NaN for a single fact)."""

    mean: float
    low: float
    high: float
    n: int
    """Facts."""

    def __str__(self) -> str:
        return _with_band(self.mean, self.low, self.high)


class Peak(NamedTuple):
    """The layer with the largest average effect of a role, the effect and its band."""

    layer: int
    effect: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class KindAverage:
    """Averages over all traces of one kind; roles in the order of `ROLES`, in units of the traced metric."""

    kind: str
    settings: TraceSettings
    """Of all traces; the noise level is None where facts have their own."""
    effect: Float[np.ndarray, "role layer"]
    """Mean indirect effect; NaN where no cell was traced."""
    low: Float[np.ndarray, "role layer"]
    high: Float[np.ndarray, "role layer"]
    n: Int[np.ndarray, "role layer"]
    """Tokens averaged; facts where positions were restored together."""
    n_facts: Int[np.ndarray, "role layer"]
    """Facts that these tokens are of."""
    n_tokens: Int[np.ndarray, " role"]
    """Tokens of the role that the prompts have, traced or not."""
    clean: Mean
    corrupted: Mean
    total_effect: Mean
    """Mean of clean minus corrupted: the average total effect (ATE)."""

    def is_whole(self, role: str) -> bool:
        """Whether all tokens of the role that the prompts have were traced, in some layer.

        Where positions were chosen, a role that was not may still have some tokens: those that are another role's too.
        """
        row = ROLES.index(check_role(role))
        return bool(0 < self.n_tokens[row] == self.n[row].max())

    def counted(self, role: str, layer: int) -> str:
        """Over what the mean of a role and layer is, in words, such as `95 tokens of 80 facts`."""
        row = ROLES.index(check_role(role))
        return counted(int(self.n[row, layer]), int(self.n_facts[row, layer]))

    def peak(self, role: str) -> Peak:
        """The layer whose average effect at `role` is largest, the lowest of equal ones.

        Largest means: brings back most of the answer or, where clean states were replaced, takes most of it away.
        """
        row = ROLES.index(check_role(role))
        gains = gain_sign(self.settings) * self.effect[row]
        if np.isnan(gains).all():
            raise TraceError(
                f"no {self.kind} trace has a traced token of role {role!r}. Choose another role, or trace all "
                "positions."
            )
        layer = int(np.nanargmax(gains))
        return Peak(layer, float(self.effect[row, layer]), float(self.low[row, layer]), float(self.high[row, layer]))


@dataclass(frozen=True, eq=False)
class AverageEffects:
    """Average indirect effects by kind, role and layer, and average total effects by kind, with 95% bands."""

    averages: tuple[KindAverage, ...]
    """One a kind."""
    band: str
    """How the bands were made: `normal` or `bootstrap`."""
    weighting: str
    """`token` or `released`; see `average_effects`."""
    known_only: bool
    draws: int
    """Of the bootstrap."""
    seed: int
    """Of the bootstrap."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that were averaged."""
        return tuple(average.kind for average in self.averages)

    def of_kind(self, kind: str) -> KindAverage:
        """The averages of one kind; `TraceError` where it was not traced."""
        for average in self.averages:
            if average.kind == kind:
                return average
        raise TraceError(f"no average of kind {kind!r}; there are {', '.join(self.kinds)}. Trace that kind too.")

    def peak(self, kind: str, role: str = "subject_last") -> Peak:
        """`(layer, effect, low, high)` of the layer that matters most at `role`; see `KindAverage.peak`.

        The band is that of this one layer's mean; that the layer was chosen for its height is not in it.
        `suggest_layers` says how sure the layer itself is.
        """
        return self.of_kind(kind).peak(role)

    def to_dataframe(self) -> "pd.DataFrame":
        """One row a kind, role and layer with traced tokens: kind, window, layer, role, n (tokens; facts where
        positions were restored together), n_facts (facts that these are of), effect, low, high.
        """
        import pandas as pd

        rows = [
            (
                a.kind,
                a.settings.window,
                layer,
                role,
                int(a.n[i, layer]),
                int(a.n_facts[i, layer]),
                *(x[i, layer] for x in (a.effect, a.low, a.high)),
            )
            for a in self.averages
            for i, role in enumerate(ROLES)
            for layer in range(a.n.shape[1])
            if a.n[i, layer] > 0
        ]
        return pd.DataFrame(rows, columns=["kind", "window", "layer", "role", "n", "n_facts", "effect", "low", "high"])

    def summary(self) -> "pd.DataFrame":
        """Three rows a kind, with quantity `clean`, `corrupted` or `total_effect`: kind, window, quantity, n (facts),
        mean, low, high.
        """
        import pandas as pd

        rows = [
            (average.kind, average.settings.window, quantity, value.n, value.mean, value.low, value.high)
            for average in self.averages
            for quantity, value in (
                ("clean", average.clean),
                ("corrupted", average.corrupted),
                ("total_effect", average.total_effect),
            )
        ]
        return pd.DataFrame(rows, columns=["kind", "window", "quantity", "n", "mean", "low", "high"])

    def __repr__(self) -> str:
        band = "bootstrap over facts" if self.band == "bootstrap" else "normal"
        only = ", known facts only" if self.known_only else ""
        lines = [f"AverageEffects({self.weighting} weighting, 95% bands: {band}{only})"]
        for average in self.averages:
            lines += [
                f"  {average.settings.summary()}: {average.clean.n} facts",
                f"    {average.settings.metric}: clean {average.clean.mean:.3f}, corrupted "
                f"{average.corrupted.mean:.3f}, average total effect {average.total_effect}",
            ]
            for row, role in enumerate(ROLES):
                if average.n[row].any():
                    peak = average.peak(role)
                    effect = _with_band(peak.effect, peak.low, peak.high, "+")
                    over = average.counted(role, peak.layer)
                    lines.append(f"    {role} ({over}): peak at layer {peak.layer}, {effect}")
        return "\n".join(lines)


def counted(n: int, n_facts: int) -> str:
    """`n` tokens of `n_facts` facts in words; facts alone where each has one.

    >>> counted(120, 120), counted(95, 80), counted(1, 1)
    ('120 facts', '95 tokens of 80 facts', '1 fact')
    """
    facts = f"{n_facts} fact{'s' * (n_facts != 1)}"
    return facts if n == n_facts else f"{n} tokens of {facts}"


def _with_band(value: float, low: float, high: float, sign: str = "") -> str:
    band = "" if math.isnan(low) else f" [{low:{sign}.3f}, {high:{sign}.3f}]"
    return f"{value:{sign}.3f}{band}"
