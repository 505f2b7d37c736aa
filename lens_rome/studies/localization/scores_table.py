"""Mean scores by method and edited layer."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from lens_rome.evaluation.summary import mean_score
from lens_rome.studies.localization.errors import StudyError
from lens_rome.studies.localization.frames import SCORES, check_columns, chosen, why_none
from lens_rome.studies.localization.layout import NONE, Layout, Notes, check_format, shown


def scores_table(
    scores: pd.DataFrame,
    *,
    score: str = "rewrite",
    problem: str | None = None,
    layers: Collection[int] | None = None,
    format: str = "text",
) -> str:
    """A row a method, a column an edited layer: mean score over records in percent, with the half width of its 95%
    interval in brackets (1.96 · sd / √n, the sd divided by n, as published tables have it).

    n is the number of records that have the score, over the layers that were edited. Scores that are missing are
    counted below the table, with the most frequent reason.

    Args:
        scores: one row a record, problem, method and layer.
        score: rewrite, paraphrase, neighborhood, overall, essence or overall_essence.
        problem: of the table; None for the only one that there is.
        layers: edited layers to show, counted from 0; None for all.
        format: text, markdown or latex (with booktabs).

    Raises:
        StudyError: an unknown format or score, columns, a problem or layers that are not there, or several problems.
    """
    check_format(format)
    if score not in SCORES:
        raise StudyError(f"unknown score {score!r}; choose one of {', '.join(SCORES)}.")
    check_columns("scores", scores, ("problem", "method", "layer", score))
    there = list(dict.fromkeys(scores["problem"]))
    if problem is None and len(there) > 1:
        raise StudyError(f"a table is of one problem, and there are {', '.join(there)}. Name one of them.")
    problem = problem or there[0]
    rows = chosen(chosen(scores, "problem", [problem]), "layer", layers)
    shown_layers, notes, lines = sorted(rows["layer"].unique()), Notes(), []
    for method, of_method in rows.groupby("method", sort=False):
        by_layer = {layer: of_layer[score].dropna().tolist() for layer, of_layer in of_method.groupby("layer")}
        found = [by_layer.get(layer, []) for layer in shown_layers]
        label = f"{method}{notes.mark(_missing(of_method, score))}"
        lines.append([label, _counted([len(values) for values in by_layer.values()]), *map(_cell, found)])
    heads = {"": ("n",), "edited layer": tuple(str(layer) for layer in shown_layers)}
    caption = (
        f"Mean {score.replace('_', ' ')} score of {problem} in percent, with half its 95% interval, by edited layer "
        "from 0."
    )
    return shown(Layout(caption, ("method",), heads, lines, notes.lines), format)


def _cell(values: list[float]) -> str:
    found = mean_score(values)
    if np.isnan(found.mean):
        return NONE
    # + 0.0: no minus before a zero
    mean = f"{round(100 * found.mean, 1) + 0.0:.1f}"
    return mean if np.isnan(found.half_width) else f"{mean} ({100 * found.half_width:.1f})"


def _counted(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low}–{high}"


def _missing(rows: pd.DataFrame, score: str) -> str:
    """How many scores are missing, and what is said most often of why; "" where none is."""
    n_missing = int(np.isnan(rows[score].to_numpy(float)).sum())
    if not n_missing:
        return ""
    return f"{n_missing} of {len(rows)} scores missing{why_none(rows, score)}"
