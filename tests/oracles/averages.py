"""Averages over traces as their definitions read: plain loops over facts, positions and layers.

A trace is given by its numbers alone: scores `[layer][pos]`, the corrupted score, the clean one and the subject's span.
Uses nothing of the package.
"""

from dataclasses import dataclass
from math import isnan, nan, sqrt
from statistics import fmean, stdev

import numpy as np

ROLES = ["subject_first", "subject_middle", "subject_last", "after_subject", "further", "last"]


@dataclass(frozen=True)
class Numbers:
    """What a trace is made of."""

    scores: list[list[float]]
    corrupted: float
    clean: float
    span: tuple[int, int]

    @property
    def n_positions(self) -> int:
        return len(self.scores[0])


def has_role(pos: int, role: str, span: tuple[int, int], n_positions: int) -> bool:
    """The table of ROME's roles, with b the first subject token, e the first after it, T the length."""
    b, e = span
    return {
        "subject_first": pos == b,
        "subject_middle": b + 1 <= pos <= e - 2,
        "subject_last": pos == e - 1,
        "after_subject": pos == e,
        "further": e + 1 <= pos <= n_positions - 2,
        "last": pos == n_positions - 1,
    }[role]


def tokens_by_loop(facts: list[Numbers], role: str, layer: int) -> list[tuple[float, float]]:
    """Score and own indirect effect of each traced token of a role, at one layer."""
    found = []
    for fact in facts:
        for pos in range(fact.n_positions):
            score = fact.scores[layer][pos]
            if has_role(pos, role, fact.span, fact.n_positions) and not isnan(score):
                found.append((score, score - fact.corrupted))
    return found


def average_by_loop(facts: list[Numbers], role: str, layer: int, weighting: str) -> tuple[int, float]:
    """Samples and mean effect; NaN without samples."""
    found = tokens_by_loop(facts, role, layer)
    if not found:
        return 0, nan
    if weighting == "token":
        return len(found), fmean(effect for _, effect in found)
    return len(found), fmean(score for score, _ in found) - fmean(fact.corrupted for fact in facts)


def normal_band_by_loop(values: list[float]) -> tuple[float, float]:
    """Mean ± 1.96 s / √n; NaN for fewer than two values."""
    if len(values) < 2:
        return nan, nan
    half = 1.96 * stdev(values) / sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


def redrawn_facts(facts: list[Numbers], draws: int, seed: int) -> list[list[Numbers]]:
    """Sets of as many facts, drawn with replacement: the draws of NumPy's generator, written out."""
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(len(facts), [1 / len(facts)] * len(facts), size=draws)
    return [[fact for fact, count in zip(facts, row, strict=True) for _ in range(count)] for row in counts]


def bootstrap_by_loop(redrawn: list[list[Numbers]], role: str, layer: int, weighting: str) -> tuple[float, float]:
    """2.5 and 97.5 percentiles of the averages of the redrawn sets that have any sample."""
    means = [average_by_loop(facts, role, layer, weighting)[1] for facts in redrawn]
    low, high = np.percentile([mean for mean in means if not isnan(mean)], [2.5, 97.5])
    return float(low), float(high)


def layer_effects_by_loop(fact: Numbers, layer: int, high: str) -> tuple[float, float, float, float] | None:
    """Effect, absolute effect, that of the last subject token and its fraction; None where nothing was traced."""
    b, e = fact.span
    absolute = {
        (pos, at): fact.scores[at][pos] - fact.corrupted
        for at in range(len(fact.scores))
        for pos in range(b, fact.n_positions)
        if not isnan(fact.scores[at][pos])
    }
    p_high = fact.clean
    if high == "max":
        p_high = max(fact.clean, *[value + fact.corrupted for value in absolute.values()], fact.clean)
    gap = abs(fact.corrupted - p_high)
    here = [value for (_, at), value in absolute.items() if at == layer]
    if not here:
        return None
    last = absolute.get((e - 1, layer), nan)
    return max(max(0.0, value / gap) for value in here), max(here), last, last / gap


def peak_layers_by_loop(facts: list[Numbers], role: str | None = None) -> list[int]:
    """How many facts have their largest effect at each layer, at tokens of `role` or (None) from the subject on; ties
    count at each.
    """
    counts = [0] * len(facts[0].scores)
    for fact in facts:
        cells = {
            (pos, layer): fact.scores[layer][pos] - fact.corrupted
            for layer in range(len(fact.scores))
            for pos in range(fact.span[0], fact.n_positions)
            if not isnan(fact.scores[layer][pos]) and (role is None or has_role(pos, role, fact.span, fact.n_positions))
        }
        best = {layer for (_, layer), value in cells.items() if value == max(cells.values())}
        for layer in best:
            counts[layer] += 1
    return counts


def is_concentrated_by_loop(fact: Numbers, share: float, at_most: int) -> bool:
    """At most `at_most` layers besides the largest have `share` of its effect; all layers are traced."""
    found = [layer_effects_by_loop(fact, layer, "clean") for layer in range(len(fact.scores))]
    effects = [effect[0] for effect in found if effect is not None]
    largest = max(effects)
    others = [effect for layer, effect in enumerate(effects) if layer != effects.index(largest)]
    return largest > 0 and sum(effect >= share * largest for effect in others) <= at_most
