"""How much of the success of edits the edited layer explains, and how much the localization of the fact adds to it."""

from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd

from lens_rome.studies.localization.fits import NUMBERS, compared
from lens_rome.studies.localization.frames import MAIN_SCORES, beside, by_problem_and_method, complete, why_none

_COLUMNS = ("problem", "method", "score", "measure", "window", "predictor", "subset")
_COUNTS = ("n_facts", "n_rows", "n_layers")
REGRESSION_COLUMNS = (*_COLUMNS, *_COUNTS, *NUMBERS, "missing")


def regressions(
    scores: pd.DataFrame,
    effects: pd.DataFrame,
    *,
    measure: str = "tracing",
    window: int,
    predictor: str = "effect",
    score_names: Sequence[str] = MAIN_SCORES,
    layers: Collection[int] | None = None,
    ids: Collection[str] | None = None,
    subset: str | None = None,
) -> pd.DataFrame:
    """One row a problem, method and score: three regressions of the score over records and edited layers, compared.

    Columns: problem, method, score, measure, window, predictor, subset; n_facts, n_rows, n_layers (of rows that have a
    score and an effect; others are left out); r2_layer, r2_effect, r2_both; difference (both - layer: what the effect
    adds to knowing the layer); chance (what an effect without any relation to the score would add on average, so that a
    difference near it says nothing); f, df1, df2, p (the test of that addition); rmse_… and mae_… of the three, in
    units of the score; missing (why numbers are NaN, else ""). The module `fits` has the models and the test
    (Hase et al., https://arxiv.org/abs/2301.04213).

    What cannot be computed is a row that says why: fewer than two layers, too few rows, a score or an effect that is
    the same everywhere, no rows at all.

    Args:
        scores: one row a record, problem, method and edited layer.
        effects: one row a record, measure, window and layer.
        measure: tracing or zeroing.
        window: width in layers of the window that was restored or zeroed; the paper's is 5 for GPT-J.
        predictor: effect (of the best token, a share), effect_abs, effect_last or effect_last_fraction.
        score_names: of rewrite, paraphrase, neighborhood, overall, essence, overall_essence.
        layers: edited layers to take; None for all.
        ids: records to take, such as `concentrated_ids` gives; None for all.
        subset: what the column of that name says; None for "all" without `ids`, and "concentrated" with them.

    Raises:
        StudyError: columns, names, layers, records or a window that are not there, rows that are there twice, or no
            record that both tables have.
        MissingLibraryError: statsmodels is not installed.
    """
    frame = beside(
        scores,
        effects,
        measure=measure,
        window=window,
        predictors=(predictor,),
        score_names=score_names,
        layers=layers,
        ids=ids,
    )
    named = subset if subset is not None else "all" if ids is None else "concentrated"
    rows = []
    for problem, method, of_both in by_problem_and_method(frame):
        for score in score_names:
            about = (problem, method, score, measure, window, predictor, named)
            rows.append(dict(zip(_COLUMNS, about, strict=True)) | _row(of_both, score, predictor))
    return pd.DataFrame(rows, columns=list(REGRESSION_COLUMNS))


def _row(frame: pd.DataFrame, score: str, predictor: str) -> dict[str, Any]:
    rows = complete(frame, score, predictor)
    numbers, missing = compared(
        rows[score].to_numpy(float), rows[predictor].to_numpy(float), rows["layer"].to_numpy(int)
    )
    if rows.empty:
        missing += why_none(frame, score)
    counts = dict(zip(_COUNTS, (rows["id"].nunique(), len(rows), rows["layer"].nunique()), strict=True))
    return {**counts, **numbers, "missing": missing}
