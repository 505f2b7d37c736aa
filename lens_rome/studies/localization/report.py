"""What a study of localization and editing found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class LocalizationReport:
    """Scores of edits and effects of layers, ready for `regressions` and the plots."""

    scores: "pd.DataFrame"
    """One row a record, problem, method and layer (the middle of a window): id, problem, method, layer, the scores of
    `SCORES` as fractions, seconds (of the edit, a share where edits are made together), change (norm relative to the
    parameters'), prob_before and prob_after (of the problem's target after the rewrite prompt), missing (why there are
    no scores, else empty).
    """
    effects: "pd.DataFrame"
    """One row a record, measure, window and layer: id, measure, window, layer, effect, effect_abs, effect_last,
    effect_last_fraction.
    """
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What the edits depend on."""
    left: int = 0
    """Edits that are still to be done."""
    untraced: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Records that could not be traced, with the reason."""

    @property
    def seconds(self) -> "pd.DataFrame":
        """Mean seconds an edit, a row a method and a column a problem."""
        return self.scores.pivot_table("seconds", "method", "problem", sort=False)

    def __repr__(self) -> str:
        told = [f"{self.scores[name].nunique()} {name}s" for name in ("problem", "method", "layer")]
        left = f", {self.left} edits still to be done" if self.left else ""
        return f"LocalizationReport({self.scores['id'].nunique()} records, {', '.join(told)}{left})"
