"""`suggest_layers`: where the average trace peaks, how sure that is, and which layers one might try to edit first."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from lens_rome.errors import TraceError
from lens_rome.tracing.average_result import Peak
from lens_rome.tracing.bands import check_band, draw_facts, percentile_band
from lens_rome.tracing.buckets import Bucket
from lens_rome.tracing.comparable import comparable_traces, gain_sign, shared_settings
from lens_rome.tracing.result import TraceSettings
from lens_rome.tracing.trace_set import TraceSet

_FEWEST_FACTS = 10
"""With fewer, the bootstrap's own facts are too few to stand for others."""

_CAVEAT = (
    "Localization does not predict how well an edit at a layer works (Hase et al., https://arxiv.org/abs/2301.04213): "
    "sweep layers and measure the edits instead."
)


@dataclass(frozen=True)
class LayerSuggestion:
    """Layers at which the average trace is strong. A description of the traces, no promise about edits."""

    kind: str
    role: str
    settings: TraceSettings
    """Of all traces; the noise level is None where facts have their own."""
    n_facts: int
    """Facts with a traced token of the role."""
    peak: Peak
    """Layer with the largest average effect (the lowest of equal ones), that effect in units of the metric, and its
    bootstrap band, 95% over facts.
    """
    peak_interval: tuple[int, int]
    """First and last layer of the middle 95% of the peak layers of facts drawn anew."""
    peak_shares: tuple[float, ...]
    """By layer: how often it is the peak among those draws."""
    near_peak: tuple[int, int]
    """First and last layer of the smallest range that holds every layer whose band overlaps the peak's."""
    memit_layers: tuple[int, ...]
    """Consecutive layers ending at the peak; see `suggest_layers`."""
    share: float
    """Part of the peak's effect that each of `memit_layers` has at least."""
    draws: int
    seed: int

    def __repr__(self) -> str:
        layer, effect, low, high = self.peak
        lines = [
            f"LayerSuggestion({self.settings.summary()}, {self.role}, {self.n_facts} facts)",
            f"  peak of the average effect: layer {layer}, {effect:+.3f} [{low:+.3f}, {high:+.3f}]",
            f"  peak in 95% of resampled sets of facts: {_span(*self.peak_interval)}",
            f"  layers whose band overlaps the peak's: {_span(*self.near_peak)}",
            f"  consecutive layers up to the peak with at least {self.share:.0%} of its effect, as for MEMIT: "
            f"{_span(self.memit_layers[0], self.memit_layers[-1])}",
        ]
        if low <= 0 <= high:
            lines.append("  The effect at the peak is not distinguishable from 0: these layers mean nothing.")
        if self.settings.window > 1:
            lines.append(f"  Each layer stands for a window of {self.settings.window} layers around it.")
        return "\n".join([*lines, _CAVEAT])


def suggest_layers(
    traces: TraceSet,
    kind: str = "mlp",
    role: str = "subject_last",
    *,
    share: float = 0.5,
    draws: int = 2000,
    seed: int = 0,
) -> LayerSuggestion:
    """Layers at which the average effect of a role is large, with how sure the peak is. Never a promise about edits.

    * `peak`: the layer with the largest average effect, as in `average_effects` with token weighting.
    * `peak_interval`: facts are drawn anew with replacement `draws` times, each draw has its own peak layer; the
      interval runs from the 2.5 to the 97.5 percentile of these layers.
    * `near_peak`: the smallest range of consecutive layers that holds every layer whose 95% bootstrap band overlaps the
      peak's. Layers within it may have a smaller effect.
    * `memit_layers`: going down from the peak, layers are taken as long as each has at least `share` of the peak's
      effect and a band that is all on the side of 0 where restoring helps; the peak is always in it. MEMIT spreads an
      edit over such a range, which ends where the effect of MLPs at the subject's last token begins to fall. Its
      authors chose five or six layers from traces with and without severed MLPs; this needs no severed traces and
      sets no limit.

    Layers in which fewer than 10 facts have a traced token of the role are passed over; they end `memit_layers`.

    Args:
        role: one of the roles of `token_roles`.
        share: part of the peak's effect that counts as still there; above 0 and up to 1.
        draws: samples of facts for the bootstrap.
        seed: of the bootstrap.

    Raises:
        TraceError: no traces of this kind, settings that differ, an unknown role, fewer than 10 facts with a traced
            token of this role, or a `share`, `draws` or `seed` out of range.

    Reference: MEMIT, https://arxiv.org/abs/2210.07229, §4; against it as a guide, Hase et al.,
    https://arxiv.org/abs/2301.04213.
    """
    check_band("bootstrap", draws, seed)
    if not 0 < share <= 1:
        raise TraceError(f"share must be above 0 and up to 1, got {share!r}.")
    results = list(comparable_traces(traces, kind).values())
    bucket = Bucket.of(results, role)
    enough = _layers_with_enough_facts(bucket, kind, role)
    settings = shared_settings(results)
    sign = gain_sign(settings)
    gains = np.where(enough, sign * bucket.mean(), np.nan)
    resampled = np.where(enough, sign * bucket.means(draw_facts(len(results), draws, seed)), np.nan)
    low, high = percentile_band(resampled)
    top = int(np.nanargmax(gains))
    peaks = _peaks(resampled)
    first, last = np.percentile(peaks, [2.5, 97.5], method="inverted_cdf")
    near = np.flatnonzero((high >= low[top]) & (low <= high[top]))
    return LayerSuggestion(
        kind=kind,
        role=role,
        settings=settings,
        n_facts=int(bucket.n_facts.max()),
        peak=Peak(top, sign * float(gains[top]), *sorted((sign * float(low[top]), sign * float(high[top])))),
        peak_interval=(int(first), int(last)),
        peak_shares=tuple(float(x) for x in np.bincount(peaks, minlength=len(gains)) / len(peaks)),
        near_peak=(int(near[0]), int(near[-1])),
        memit_layers=_memit_layers(gains, low, top, share),
        share=share,
        draws=draws,
        seed=seed,
    )


def _layers_with_enough_facts(bucket: Bucket, kind: str, role: str) -> Bool[np.ndarray, " layer"]:
    most = int(bucket.n_facts.max())
    if most < _FEWEST_FACTS:
        raise TraceError(
            f"{most} facts have a traced {kind} cell of role {role!r}; a suggestion needs at least {_FEWEST_FACTS}. "
            "Trace more facts."
        )
    return bucket.n_facts >= _FEWEST_FACTS


def _peaks(means: Float[np.ndarray, "draw layer"]) -> np.ndarray:
    """Peak layer of each draw that has any token of the role."""
    there = means[~np.isnan(means).all(1)]
    return np.where(np.isnan(there), -math.inf, there).argmax(1)


def _memit_layers(
    gains: Float[np.ndarray, " layer"], low: Float[np.ndarray, " layer"], peak: int, share: float
) -> tuple[int, ...]:
    first = peak
    while first > 0 and gains[first - 1] >= share * gains[peak] and low[first - 1] > 0:  # NaN ends it too
        first -= 1
    return tuple(range(first, peak + 1))


def _span(first: int, last: int) -> str:
    return f"layer {first}" if first == last else f"layers {first} to {last}"
