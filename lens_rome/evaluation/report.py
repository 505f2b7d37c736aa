"""What an evaluation found, prompt by prompt, and the scores that the papers print."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from lens_rome.evaluation.likelihood import Likelihood

if TYPE_CHECKING:
    import pandas as pd

GROUPS = {"rewrite": "new", "paraphrase": "new", "neighborhood": "true", "attribute": "new"}
"""Kinds of prompts, and which of the two objects is right there after the edit."""


@dataclass(frozen=True)
class PromptScore:
    """One prompt of one record under one model."""

    case_id: int
    group: str
    """rewrite, paraphrase, neighborhood or attribute."""
    prompt: str
    new: Likelihood
    """Of the new object."""
    true: Likelihood | None = None
    """Of the object that held before; None where none is known."""
    before_new: Likelihood | None = None
    """Of the new object under the unedited model; None where it was not asked."""
    before_true: Likelihood | None = None

    @property
    def nll_new(self) -> float:
        """Mean negative log-likelihood per token of the new object, in nats."""
        return self.new.nll

    @property
    def nll_true(self) -> float:
        """The same of the object that held before; NaN without one."""
        return math.nan if self.true is None else self.true.nll

    @property
    def margin(self) -> float:
        """How much more likely the object that is right here is than the other: difference of per-token probabilities
        (geometric means).
        """
        sign = 1 if GROUPS[self.group] == "new" else -1
        return sign * (self.new.mean_prob - math.exp(-self.nll_true))

    @property
    def success(self) -> bool:
        """Whether the object that is right here is strictly more likely; a tie fails."""
        return self.nll_new < self.nll_true if GROUPS[self.group] == "new" else self.nll_true < self.nll_new


@dataclass(frozen=True)
class Score:
    """A mean over records with the half width of its 95% interval (normal approximation)."""

    mean: float
    half_width: float
    n: int

    def __str__(self) -> str:
        width = "" if math.isnan(self.half_width) else f" ± {100 * self.half_width:.1f}"
        return f"{100 * self.mean:.1f}{width}"


@dataclass(frozen=True)
class EvalReport:
    """Scores of many prompts; summaries average within each record first, as the papers do (ROME, §3.3)."""

    scores: tuple[PromptScore, ...]
    label: str = ""

    def _score(self, group: str, attribute: str) -> Score:
        by_case: dict[int, list[float]] = {}
        for score in self.scores:
            if score.group == group:
                by_case.setdefault(score.case_id, []).append(float(getattr(score, attribute)))
        means = [fmean(values) for values in by_case.values()]
        if not means:
            return Score(math.nan, math.nan, 0)
        spread = stdev(means) if len(means) > 1 else math.nan
        return Score(fmean(means), 1.96 * spread / len(means) ** 0.5, len(means))

    @property
    def efficacy(self) -> Score:
        """ES: the new object is likelier than the old one after the rewritten prompt."""
        return self._score("rewrite", "success")

    @property
    def paraphrase(self) -> Score:
        """PS: the same after paraphrases."""
        return self._score("paraphrase", "success")

    @property
    def neighborhood(self) -> Score:
        """NS: the old object is still likelier for neighbours of the subject."""
        return self._score("neighborhood", "success")

    @property
    def magnitudes(self) -> dict[str, Score]:
        """EM, PM, NM: mean probability margins, by group."""
        return {group: self._score(group, "margin") for group in ("rewrite", "paraphrase", "neighborhood")}

    @property
    def overall(self) -> float:
        """S: harmonic mean of ES, PS and NS; 0 if one of them is 0."""
        means = [self.efficacy.mean, self.paraphrase.mean, self.neighborhood.mean]
        return 0.0 if min(means) == 0 else 3 / sum(1 / mean for mean in means)

    def to_dataframe(self) -> "pd.DataFrame":
        """One row a prompt: case_id, group, prompt, nll_new, nll_true, prob_new, prob_true (geometric means),
        success.
        """
        import pandas as pd

        rows = [
            {
                "case_id": score.case_id,
                "group": score.group,
                "prompt": score.prompt,
                "nll_new": score.nll_new,
                "nll_true": score.nll_true,
                "prob_new": score.new.mean_prob,
                "prob_true": math.exp(-score.nll_true),
                "success": score.success,
            }
            for score in self.scores
        ]
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        cells = [
            f"ES {self.efficacy}",
            f"PS {self.paraphrase}",
            f"NS {self.neighborhood}",
            f"S {100 * self.overall:.1f}",
            f"({self.efficacy.n} records)",
        ]
        return " ".join([self.label or "model", *cells])


def table(reports: Sequence[EvalReport]) -> str:
    """The reports as lines of a Markdown table, in percent with 95% intervals."""
    lines = ["| | records | ES | PS | NS | S |", "|---|---|---|---|---|---|"]
    for report in reports:
        lines.append(
            f"| {report.label} | {report.efficacy.n} | {report.efficacy} | {report.paraphrase} | "
            f"{report.neighborhood} | {100 * report.overall:.1f} |"
        )
    return "\n".join(lines)
