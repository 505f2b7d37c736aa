"""The matrices of related subjects, edited by tested."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from lens_rome.errors import EditError
from lens_rome.studies.probes.finding import Value

PerTest = Float[np.ndarray, "edited tested template"]
PerPair = Float[np.ndarray, "edited tested"]


@dataclass(frozen=True, eq=False)
class RelatedChanges:
    """What every edit did to every subject, in nats; rows are edited, columns tested. NaN where nothing was asked: for
    subjects of other groups, and for tests that a group does not have.
    """

    names: tuple[str, ...]
    true: PerTest
    """A: change of the old object's log-probability."""
    new: PerTest
    """B: that of the new one's."""
    before: PerTest
    """log p(new) - log p(old) of the unedited model."""
    margin: PerTest
    """C: the same after the edit; the answer is flipped where it is above 0."""
    cosine: PerPair
    """Of the keys of both subjects."""
    same_token: Bool[np.ndarray, "edited tested"]
    """Whether both names end in the same token."""
    things: tuple[str, ...]
    """What each subject is a name of; names of one thing are one unit of intervals."""

    @property
    def shift(self) -> PerTest:
        """B - A: how far the edit moved the answer towards the new object."""
        return self.new - self.true

    @property
    def flips(self) -> PerPair:
        """Share of the tests after which the new object is the likelier one."""
        return mean_of_tests(above_0(self.margin))


def mean_of_tests(values: PerTest) -> PerPair:
    """Mean over the tests that there are; NaN where there is none."""
    asked = ~np.isnan(values)
    count = asked.sum(axis=2)
    return np.where(count > 0, np.where(asked, values, 0.0).sum(axis=2) / np.maximum(count, 1), np.nan)


def spread_of_tests(values: PerTest) -> PerPair:
    """Standard deviation over the tests that there are; NaN where there is none."""
    return np.sqrt(mean_of_tests((values - mean_of_tests(values)[:, :, None]) ** 2))


def above_0(values: PerTest) -> PerTest:
    """1 where a number is above 0, else 0; NaN stays."""
    return np.where(np.isnan(values), np.nan, (values > 0).astype(float))


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
    cosine, same, things = np.full(shape[:2], np.nan), np.zeros(shape[:2], dtype=bool), list(names)
    for row in rows:
        edited, tested = place[str(row["case"])], place[str(row["tested"])]
        table = told[str(row["phase"]), str(row["role"])]
        table[edited, tested, int(row["template"] or 0)] = float(row["logprob"] or 0.0)
        cosine[edited, tested] = row["key_cosine"]
        same[edited, tested] = bool(row.get("same_token"))
        things[tested] = str(row.get("thing") or names[tested])
    true, new = (told["after", role] - told["before", role] for role in ("true", "new"))
    before, after = (told[phase, "new"] - told[phase, "true"] for phase in ("before", "after"))
    return RelatedChanges(names, true, new, before, after, cosine, same, tuple(things))
