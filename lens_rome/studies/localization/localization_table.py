"""Regressions in the paper's layout, the published ones of GPT-J beside them."""

import math
from typing import Any

import pandas as pd

from lens_rome.studies.localization.errors import StudyError
from lens_rome.studies.localization.frames import check_columns, check_unique, chosen, records_of
from lens_rome.studies.localization.layout import NONE, Layout, Notes, check_format, shown
from lens_rome.studies.localization.published import published_regressions

_ONE = ("measure", "window", "predictor", "subset")
_NUMBERS = ("r2_layer", "r2_effect", "r2_both", "difference")
_HERE, _THERE = "here", "GPT-J, published"


def localization_table(
    regressions: pd.DataFrame, *, score: str = "rewrite", format: str = "text", published: bool = True
) -> str:
    """A row a problem and method: R² of the score from the edited layer, from the effect of that layer, and from both.

    Difference is both - layer, and p tests it. n is the number of records. Numbers that could not be computed are –,
    with the reason below the table (Hase et al., https://arxiv.org/abs/2301.04213).

    Args:
        regressions: as `regressions` gives it, of one measure, window, predictor and subset.
        format: text, markdown or latex (with booktabs).
        published: put the published numbers of GPT-J (CounterFact, window 5) beside one's own, where the frame is of
            tracing with predictor "effect" and the paper has the score for any problem and method of the frame; their
            heading tells the window where it is not the frame's.

    Raises:
        StudyError: an unknown format, columns or a score that are not there, several analyses in one frame, or a
            problem and method twice.
    """
    check_format(format)
    check_columns("regressions", regressions, ("problem", "method", "score", *_ONE, "n_facts", *_NUMBERS, "p"))
    rows = chosen(regressions, "score", [score])
    about = _about(rows)
    theirs = _published(about, score, set(zip(rows["problem"], rows["method"], strict=True))) if published else {}
    notes, lines, before = Notes(), [], ""
    for row in records_of(rows):
        method = f"{row['method']}{notes.mark(str(row.get('missing') or ''))}"
        cells = ["" if row["problem"] == before else row["problem"], method, *_cells(row)]
        lines.append([*cells, *_cells(theirs.get((row["problem"], row["method"]), {}))] if theirs else cells)
        before = row["problem"]
    heads = _heads(about["measure"], short=format == "text")
    over = {_HERE: heads, _there(about, theirs): heads} if theirs else {"": heads}
    return shown(Layout(_caption(about, score), ("problem", "method"), over, lines, notes.lines), format)


def _about(rows: pd.DataFrame) -> dict[str, Any]:
    """The one measure, window, predictor and subset of all rows."""
    for column in _ONE:
        found = list(dict.fromkeys(rows[column]))
        if len(found) > 1:
            raise StudyError(
                f"a table is of one {column}, and the frame has {', '.join(map(repr, found))}. Choose one: "
                f"regressions[regressions.{column} == {found[0]!r}]."
            )
    check_unique("regressions", rows, ["problem", "method"])
    return {column: rows[column].iloc[0] for column in _ONE}


def _published(about: dict[str, Any], score: str, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], dict]:
    """The published rows that stand beside, by problem and method; none if the paper has no such analysis."""
    if (about["measure"], about["predictor"]) != ("tracing", "effect"):
        return {}
    frame = published_regressions()
    same = (frame["data"] == "counterfact") & (frame["subset"] == about["subset"]) & (frame["score"] == score)
    found = {(row["problem"], row["method"]): row for row in records_of(frame.loc[same])}
    return {key: row for key, row in found.items() if key in wanted}


def _there(about: dict[str, Any], theirs: dict[tuple[str, str], dict]) -> str:
    """The heading of the published numbers, with their window where it is not ours."""
    window = next(iter(theirs.values()))["window"]
    return _THERE if window == about["window"] else f"{_THERE}, window {window}"


def _heads(measure: str, short: bool) -> tuple[str, ...]:
    if short:
        return ("n", "Layer", measure.capitalize(), "Both", "Diff", "p")
    return ("n", "Layer", f"{measure.capitalize()} effect", "Both", "Difference", "p")


def _caption(about: dict[str, Any], score: str) -> str:
    records = "" if about["subset"] == "all" else f", {about['subset']} records"
    predictor = "" if about["predictor"] == "effect" else f", {about['predictor']}"
    return (
        f"R² of the {score.replace('_', ' ')} score from the edited layer, from its {about['measure']} effect (window "
        f"{about['window']}{predictor}), and from both{records}. The p value is of what the effect adds to the layer."
    )


def _cells(row: dict[str, Any]) -> list[str]:
    """The cells of one's own row or a published one; {} for none."""
    n = row.get("n_facts", math.nan)
    p = row.get("p_text") or _p(row.get("p", math.nan))
    return [NONE if math.isnan(n) else f"{n:.0f}", *(_r2(row.get(name, math.nan)) for name in _NUMBERS), p]


def _r2(value: float) -> str:
    return NONE if math.isnan(value) else f"{round(value, 3) + 0.0:.3f}"  # + 0.0: no minus before a zero


def _p(value: float) -> str:
    if math.isnan(value):
        return NONE
    return "<1e-4" if value < 1e-4 else f"{value:.4f}" if value < 1e-3 else f"{value:.3f}"
