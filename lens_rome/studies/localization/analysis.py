"""All regressions and correlations of a study."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lens_rome.studies.localization.concentrated import concentrated_ids
from lens_rome.studies.localization.correlations import correlations
from lens_rome.studies.localization.regressions import regressions
from lens_rome.studies.localization.report import LocalizationReport

if TYPE_CHECKING:
    import pandas as pd

_PREDICTORS = {"tracing": ("effect", "effect_last"), "zeroing": ("effect",)}
_FEWEST = 5
"""Concentrated records below which their regressions would say nothing."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """Tables of the study, of every measure and window."""

    regressions: "pd.DataFrame"
    """With the predictors `effect` and `effect_last`, and again of the concentrated records where there are some."""
    correlations: "pd.DataFrame"

    def of(self, measure: str, window: int, *, predictor: str = "effect", subset: str = "all") -> "pd.DataFrame":
        """The regressions of one measure, window, predictor and subset: what a table or a picture takes."""
        asked = {"measure": measure, "window": window, "predictor": predictor, "subset": subset}
        found: Any = self.regressions
        for name, value in asked.items():
            found = found[found[name] == value]
        return found


def analysis(report: LocalizationReport) -> Analysis:
    """Every regression and correlation that the effects of a study allow.

    Raises:
        StudyError: scores and effects have no record in common.  MissingLibraryError: statsmodels is not installed.
    """
    import pandas as pd

    found, together = [], []
    scores, effects = report.scores, report.effects
    for measure, window in effects[["measure", "window"]].drop_duplicates().itertuples(index=False):
        predictors = _PREDICTORS[measure]
        for predictor in predictors:
            found.append(regressions(scores, effects, measure=measure, window=window, predictor=predictor))
        together.append(correlations(scores, effects, measure=measure, window=window, predictors=predictors))
        if measure == "tracing":
            own = set(concentrated_ids(effects, window=window)) & set(scores["id"])
            if len(own) >= _FEWEST:
                found.append(regressions(scores, effects, measure=measure, window=window, ids=own))
    return Analysis(pd.concat(found, ignore_index=True), pd.concat(together, ignore_index=True))
