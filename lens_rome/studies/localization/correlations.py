"""How the score of an edit and the effect of the edited layer go together, layer by layer."""

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from lens_rome.studies.localization.errors import import_statistics
from lens_rome.studies.localization.fits import Row, is_constant
from lens_rome.studies.localization.frames import MAIN_SCORES, beside, by_problem_and_method, complete, why_none

CORRELATION_COLUMNS = (
    *("problem", "method", "score", "measure", "window", "predictor", "layer"),
    *("n_facts", "r", "p", "missing"),
)


def correlations(
    scores: pd.DataFrame,
    effects: pd.DataFrame,
    *,
    measure: str = "tracing",
    window: int,
    predictors: Sequence[str] = ("effect", "effect_last"),
    score_names: Sequence[str] = MAIN_SCORES,
    layers: Collection[int] | None = None,
    ids: Collection[str] | None = None,
) -> pd.DataFrame:
    """One row a problem, method, score, predictor and edited layer: Pearson's correlation over records.

    Columns: problem, method, score, measure, window, predictor, layer, n_facts (records with both values), r, p (of
    no correlation, two-sided), missing (why r and p are NaN, else ""): a value that is the same for all records, or
    fewer than three of them. The effect is the one of the layer that was edited (Hase et al.,
    https://arxiv.org/abs/2301.04213).

    Args, errors: as `regressions`.
    """
    frame = beside(
        scores,
        effects,
        measure=measure,
        window=window,
        predictors=predictors,
        score_names=score_names,
        layers=layers,
        ids=ids,
    )
    rows = []
    for problem, method, of_both in by_problem_and_method(frame):
        for score in score_names:
            for predictor in predictors:
                about = (problem, method, score, measure, window, predictor)
                by_layer = of_both.groupby("layer", sort=True)
                rows += [(*about, layer, *_correlated(rows_, score, predictor)) for layer, rows_ in by_layer]
    return pd.DataFrame(rows, columns=list(CORRELATION_COLUMNS))


def _correlated(frame: pd.DataFrame, score: str, predictor: str) -> tuple[int, float, float, str]:
    """How many records, r, p, and why the last two are NaN."""
    rows = complete(frame, score, predictor)
    x, y = rows[predictor].to_numpy(float), rows[score].to_numpy(float)
    reason = _why_not(x, y)
    if reason:
        return len(rows), np.nan, np.nan, reason + (why_none(frame, score) if rows.empty else "")
    found = import_statistics("scipy.stats").pearsonr(x, y)
    return len(rows), float(found.statistic), float(found.pvalue), ""


def _why_not(effect: Row, score: Row) -> str:
    if len(effect) < 3:
        return f"a correlation needs 3 records at least, and {len(effect)} have both a score and an effect"
    if is_constant(score):
        return "the score is the same for all records"
    return "the effect is the same for all records" if is_constant(effect) else ""
