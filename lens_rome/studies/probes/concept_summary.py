"""The numbers that are read off the matrices of related subjects."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from lens_rome.studies.probes.concept_numbers import (
    PerPair,
    RelatedChanges,
    above_0,
    mean_of_tests,
    spread_of_tests,
)
from lens_rome.studies.probes.finding import Answer, Value
from lens_rome.studies.probes.intervals import bootstrap, pair_bootstrap, transfer
from lens_rome.studies.probes.tables import line

_OwnAndOther = Float[np.ndarray, "own two"]
_Pairs = Float[np.ndarray, "pair measure"]
_Weights = Float[np.ndarray, " pair"]


def answer_of(changes: RelatedChanges, seed: int) -> Answer:
    """The leak ratio of B - A over all tests."""
    shift = mean_of_tests(changes.shift)
    pairs, things = _own_and_other(shift, changes.things)
    value, low, high = bootstrap(pairs, _ratio, seed=seed, units=things)
    reading = _reading(value, pairs) + _by_token(changes, shift)
    return Answer("leak ratio (not edited over edited subject)", value, low, high, len(pairs), reading)


def _reading(value: float, pairs: _OwnAndOther) -> str:
    own = float(pairs[:, 0].mean())
    if math.isnan(value):
        return f"The edits moved their own subjects by {own:.2g} nats on average, so there is nothing that could leak."
    share = f"A related subject that was not edited moves {value:.0%} as far as the edited one ({own:.1f} nats)"
    if value < 0.25:
        return f"{share}: the edit is of the name."
    return f"{share}: {'what is related is edited with it' if value > 0.75 else 'the edit reaches it in part'}."


def _by_token(changes: RelatedChanges, shift: PerPair) -> str:
    """How far subjects move that share the edited one's last token, and the others; nothing where none shares it."""
    sides = (changes.same_token, ~changes.same_token)
    found = [_own_and_other(shift, changes.things, side)[0] for side in sides]
    same, other = (_ratio(pairs) if len(pairs) else math.nan for pairs in found)
    if math.isnan(same):
        return ""
    rest = "" if math.isnan(other) else f", the others {other:.0%}"
    return f" Names that end in the same token as the edited one move {same:.0%} as far{rest}."


def summary_of(changes: RelatedChanges, seed: int) -> tuple[dict[str, Value], ...]:
    """Each measure `of` the old object's change ("true"), the new one's ("new"), their difference ("shift") or the
    margin after the edit, with its interval, what is drawn for that (`over`), and how many of those (`n`).

    Drawn are edited subjects, or things where several names are of one. Of pairs (asymmetry, spread over tests,
    correlation) both subjects are drawn. Where some tested subject shares the edited one's last token, the leak ratio
    is told of such and of the others too.
    """
    return tuple(_Lines(changes, seed).all())


@dataclass(frozen=True, eq=False)
class _Lines:
    changes: RelatedChanges
    seed: int

    def all(self) -> Iterator[dict[str, Value]]:
        """The lines, in order."""
        changes, ratio = self.changes, "leak ratio"
        shift = mean_of_tests(changes.shift)
        changed = {"true": changes.true, "new": changes.new, "shift": changes.shift, "margin": changes.margin}
        for name, values in changed.items():
            for measure, of in _MEASURES.items():
                if name != "margin" or measure != ratio:
                    yield self._edited(measure, name, mean_of_tests(values), of)
        if (changes.same_token & ~np.eye(len(shift), dtype=bool)).any():
            for side, where in (("same", changes.same_token), ("other", ~changes.same_token)):
                yield self._edited(f"{ratio}, {side} last token", "shift", shift, _ratio, where=where)
        tests = changes.shift.shape[2]
        for test in range(tests if tests > 1 else 0):
            yield self._edited(ratio, "shift", changes.shift[:, :, test], _ratio, str(test))
        for measure, values in (("flipped", changes.margin), ("flipped before", changes.before)):
            for side, of in list(_MEASURES.items())[:2]:
                yield self._edited(f"{measure}, {side}", "margin", mean_of_tests(above_0(values)), of)
        true = mean_of_tests(changes.true)
        yield self._of_pairs("asymmetry", "true", np.abs(true - true.T)[:, :, None], _mean)
        yield self._of_pairs("spread over tests", "shift", spread_of_tests(changes.shift)[:, :, None], _mean)
        both = np.stack([changes.cosine, shift], axis=2)
        yield self._of_pairs("correlation with key cosine", "shift", both, _correlation)

    def _edited(
        self,
        measure: str,
        of: str,
        matrix: PerPair,
        number: Callable[[_OwnAndOther], float],
        template: str = "all",
        where: Bool[np.ndarray, "edited tested"] | None = None,
    ) -> dict[str, Value]:
        pairs, things = _own_and_other(matrix, self.changes.things, where)
        found = bootstrap(pairs, number, seed=self.seed, units=things)
        return self._line(found, len(set(things)), measure, of, template)

    def _of_pairs(
        self,
        measure: str,
        of: str,
        values: Float[np.ndarray, "edited tested measure"],
        number: Callable[[_Pairs, _Weights], float],
    ) -> dict[str, Value]:
        things = self.changes.things
        found = pair_bootstrap(values, number, seed=self.seed, units=things)
        return self._line(found, len(set(things)), measure, of, "all")

    def _line(self, found: tuple[float, float, float], n: int, measure: str, of: str, test: str) -> dict[str, Value]:
        things = self.changes.things
        over = "subjects" if len(set(things)) == len(things) else "things"
        return {**line(found, n, measure=measure, of=of, template=test), "over": over}


def _own_and_other(
    matrix: PerPair, things: Sequence[str], where: Bool[np.ndarray, "edited tested"] | None = None
) -> tuple[_OwnAndOther, list[str]]:
    """Of each subject that was edited: its own value and the mean over the others that were asked for, and its thing.

    Args:
        where: the others that count; None for all. Subjects that have none are left out.
    """
    rows, of = [], []
    for index, row in enumerate(matrix):
        chosen = ~np.isnan(row) if where is None else ~np.isnan(row) & where[index]
        chosen[index] = False
        if not np.isnan(row[index]) and chosen.any():
            rows.append((row[index], row[chosen].mean()))
            of.append(things[index])
    return np.array(rows, dtype=float).reshape(-1, 2), of


def _ratio(pairs: _OwnAndOther) -> float:
    return transfer(pairs[:, ::-1])


_MEASURES: Mapping[str, Callable[[_OwnAndOther], float]] = {
    "diagonal": lambda pairs: float(pairs[:, 0].mean()),
    "off-diagonal": lambda pairs: float(pairs[:, 1].mean()),
    "leak ratio": _ratio,
}


def _mean(pairs: _Pairs, weights: _Weights) -> float:
    return float(pairs[:, 0] @ weights / weights.sum()) if weights.any() else math.nan


def _correlation(pairs: _Pairs, weights: _Weights) -> float:
    """Pearson's of two measures; NaN for fewer than three pairs, or where one of both is constant."""
    there = weights > 0
    pairs, weights = pairs[there], weights[there]
    if len(pairs) < 3 or np.ptp(pairs, axis=0).min() < 1e-9:
        return math.nan
    first, second = (pairs - weights @ pairs / weights.sum()).T
    return float((weights * first) @ second / math.sqrt(((weights * first) @ first) * ((weights * second) @ second)))
