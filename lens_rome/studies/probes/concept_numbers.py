"""The matrices of related subjects, edited by tested, and the numbers that are read off them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lens_rome.errors import EditError
from lens_rome.studies.probes.finding import Answer, Value
from lens_rome.studies.probes.intervals import LEAST, bootstrap

_SUBJECTS, _PAIRS = "edited subjects", "pairs"


@dataclass(frozen=True, eq=False)
class RelatedChanges:
    """What every edit did to every subject, in nats; rows are edited, columns tested. NaN where nothing was asked."""

    names: tuple[str, ...]
    true: Float[np.ndarray, "edited tested template"]
    """A: change of the old object's log-probability."""
    new: Float[np.ndarray, "edited tested template"]
    """B: that of the new one's."""
    before: Float[np.ndarray, "edited tested template"]
    """log p(new) - log p(old) of the unedited model."""
    margin: Float[np.ndarray, "edited tested template"]
    """C: the same after the edit; the answer is flipped where it is above 0."""
    cosine: Float[np.ndarray, "edited tested"]
    """Of the keys of both subjects."""

    @property
    def shift(self) -> Float[np.ndarray, "edited tested template"]:
        """B - A: how far the edit moved the answer towards the new object."""
        return self.new - self.true

    @property
    def flips(self) -> Float[np.ndarray, "edited tested"]:
        """Share of the tests after which the new object is the likelier one."""
        return np.where(np.isnan(self.margin), np.nan, self.margin > 0).mean(axis=2)


def related_changes(rows: Sequence[Mapping[str, Value]]) -> RelatedChanges:
    """The matrices of the rows of `concept`.

    Raises:
        EditError: no rows, or rows of another probe.
    """
    if not rows or "tested" not in rows[0]:
        raise EditError("these are no rows of the probe `concept`. Give Finding.rows of one.")
    names = tuple(dict.fromkeys(str(row["tested"]) for row in rows))
    place = {name: index for index, name in enumerate(names)}
    templates = 1 + max(int(row["template"] or 0) for row in rows)
    shape = (len(names), len(names), templates)
    told = {(phase, role): np.full(shape, np.nan) for phase in ("before", "after") for role in ("true", "new")}
    cosine = np.full(shape[:2], np.nan)
    for row in rows:
        edited, tested = place[str(row["case"])], place[str(row["tested"])]
        table = told[str(row["phase"]), str(row["role"])]
        table[edited, tested, int(row["template"] or 0)] = float(row["logprob"] or 0.0)
        cosine[edited, tested] = row["key_cosine"]
    true, new = (told["after", role] - told["before", role] for role in ("true", "new"))
    before, after = (told[phase, "new"] - told[phase, "true"] for phase in ("before", "after"))
    return RelatedChanges(names, true, new, before, after, cosine)


def answer_of(changes: RelatedChanges, seed: int) -> Answer:
    """The leak ratio of B - A over all tests."""
    pairs = _own_and_other(changes.shift.mean(axis=2))
    value, low, high = bootstrap(pairs, _ratio, seed=seed)
    return Answer("leak ratio (not edited over edited subject)", value, low, high, len(pairs), _reading(value, pairs))


def _reading(value: float, pairs: Float[np.ndarray, "edited two"]) -> str:
    own = float(pairs[:, 0].mean())
    if math.isnan(value):
        return f"The edits moved their own subjects by {own:.2g} nats on average, so there is nothing that could leak."
    share = f"A related subject that was not edited moves {value:.0%} as far as the edited one ({own:.1f} nats)"
    if value < 0.25:
        return f"{share}: the edit is of the name."
    return f"{share}: {'what is related is edited with it' if value > 0.75 else 'the edit reaches it in part'}."


def summary_of(changes: RelatedChanges, seed: int) -> tuple[dict[str, Value], ...]:
    """Each measure `of` the old object's change ("true"), the new one's ("new"), their difference ("shift") or the
    margin after the edit, with its interval, what that is drawn `over`, and how many of those (`n`).
    """
    rows: list[dict[str, Value]] = []

    def add(measure: str, of: str, template: str, found: tuple[float, float, float], n: int, over: str) -> None:
        mean, low, high = found
        told: dict[str, Value] = {"measure": measure, "of": of, "template": template}
        rows.append({**told, "mean": mean, "low": low, "high": high, "n": n, "over": over})

    tests = changes.shift.shape[2]
    changed = {"true": changes.true, "new": changes.new, "shift": changes.shift, "margin": changes.margin}
    for name, values in changed.items():
        pairs = _own_and_other(values.mean(axis=2))
        for measure, of in _MEASURES.items():
            if name != "margin" or of is not _ratio:
                add(measure, name, "all", bootstrap(pairs, of, seed=seed), len(pairs), _SUBJECTS)
    for template in range(tests if tests > 1 else 0):
        pairs = _own_and_other(changes.shift[:, :, template])
        add("leak ratio", "shift", str(template), bootstrap(pairs, _ratio, seed=seed), len(pairs), _SUBJECTS)
    for measure, values in (("flipped", changes.margin), ("flipped before", changes.before)):
        pairs = _own_and_other(np.where(np.isnan(values), np.nan, values > 0).mean(axis=2))
        for side, of in list(_MEASURES.items())[:2]:
            add(f"{measure}, {side}", "margin", "all", bootstrap(pairs, of, seed=seed), len(pairs), _SUBJECTS)
    gaps = _asymmetries(changes.true.mean(axis=2))
    add("asymmetry", "true", "all", bootstrap(gaps, seed=seed), len(gaps), _PAIRS)
    several = _others(changes.shift.std(axis=2))
    add("spread over tests", "shift", "all", bootstrap(several, seed=seed), len(several), _PAIRS)
    shift = changes.shift.mean(axis=2)
    # Where there are no keys there is no cosine, but there are changes.
    both = np.stack([changes.cosine, shift], axis=2)[~np.eye(len(shift), dtype=bool) & ~np.isnan(shift)]
    add("correlation with key cosine", "shift", "all", bootstrap(both, _correlation, seed=seed), len(both), _PAIRS)
    return tuple(rows)


def _own_and_other(matrix: Float[np.ndarray, "edited tested"]) -> Float[np.ndarray, "edited two"]:
    """Of each subject that was edited: its own value, and the mean over the others that were asked for."""
    rows = [
        (matrix[index, index], np.nanmean(np.delete(row, index)))
        for index, row in enumerate(matrix)
        if not np.isnan(matrix[index, index])
    ]
    return np.array(rows, dtype=float).reshape(-1, 2)


def _ratio(pairs: Float[np.ndarray, "edited two"]) -> float:
    own, other = pairs.mean(axis=0)
    return float(other / own) if abs(own) >= LEAST else math.nan


_MEASURES: Mapping[str, Callable[[Float[np.ndarray, "edited two"]], float]] = {
    "diagonal": lambda pairs: float(pairs[:, 0].mean()),
    "off-diagonal": lambda pairs: float(pairs[:, 1].mean()),
    "leak ratio": _ratio,
}


def _others(matrix: Float[np.ndarray, "edited tested"]) -> Float[np.ndarray, " pair"]:
    """All that was asked of subjects that were not edited."""
    away = matrix[~np.eye(len(matrix), dtype=bool)]
    return away[~np.isnan(away)]


def _asymmetries(matrix: Float[np.ndarray, "edited tested"]) -> Float[np.ndarray, " pair"]:
    """|A_ij - A_ji| of each pair that was edited both ways."""
    gaps = np.abs(matrix - matrix.T)[np.triu_indices(len(matrix), 1)]
    return gaps[~np.isnan(gaps)]


def _correlation(pairs: Float[np.ndarray, "pair two"]) -> float:
    """Pearson's; NaN where one of both is constant."""
    if len(pairs) < 3 or np.isnan(pairs).any() or np.ptp(pairs, axis=0).min() < 1e-9:
        return math.nan
    return float(np.corrcoef(pairs.T)[0, 1])
