"""The study's scores of one edit, from the probabilities of its prompts (Hase et al., App. B)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from lens_rome.editing.problems import EditingProblem
from lens_rome.editing.scores import neighborhood_score
from lens_rome.evaluation import PromptScore

SCORES = ("rewrite", "paraphrase", "neighborhood", "essence", "overall", "overall_essence")
"""Names of the scores. The last two are means of the first three and four."""


@dataclass(frozen=True)
class CellScores:
    """Scores of one record under one edit; NaN for what was not asked or is not defined."""

    rewrite: float
    paraphrase: float
    neighborhood: float
    essence: float = math.nan

    @property
    def overall(self) -> float:
        """Mean of rewrite, paraphrase and neighbourhood; NaN if one is."""
        return fmean((self.rewrite, self.paraphrase, self.neighborhood))

    @property
    def overall_essence(self) -> float:
        """Mean of all four; NaN if one is."""
        return fmean((self.rewrite, self.paraphrase, self.neighborhood, self.essence))

    @classmethod
    def of(
        cls,
        problem: EditingProblem,
        rows: Iterable[PromptScore],
        essence: float | None = None,
        *,
        clipped: bool = True,
    ) -> "CellScores":
        """The scores of a record's prompts, which know the unedited model's probabilities.

        Args:
            clipped: rewrite and paraphrase scores are never below 0, as in the released code: a fact of probability
                0.999 that falls to 0.9 would count as -99 otherwise.
        """
        told: dict[str, list[float]] = {"rewrite": [], "paraphrase": [], "neighborhood": []}
        for row in rows:
            if row.group in told and row.before_new is not None:
                told[row.group].append(_score(problem, row.group, row.before_new.prob, row.new.prob, clipped))
        means = {group: _mean(values) for group, values in told.items()}
        return cls(**means, essence=math.nan if essence is None else essence)


def _score(problem: EditingProblem, group: str, before: float, after: float, clipped: bool) -> float:
    if math.isnan(before) or math.isnan(after):
        return math.nan
    if group == "neighborhood":
        return neighborhood_score(before, after)
    return problem.score(before, after, clipped=clipped)


def _mean(values: list[float]) -> float:
    """Of the defined ones."""
    there = [value for value in values if not math.isnan(value)]
    return fmean(there) if there else math.nan
