"""`plot_scores_by_layer`: how well each method edits at each layer, on average over records."""

from collections.abc import Sequence
from typing import Any, Literal, Unpack, overload

from lens_rome.plotting._chart import Chart, ChartPanel, grid_columns
from lens_rome.plotting._draw import draw
from lens_rome.plotting._figure import Figure, Frame, MplFigure, PlotError, PlotlyFigure
from lens_rome.plotting._frames import Needs, check_frame
from lens_rome.plotting._labels import titled, visible
from lens_rome.plotting._study import (
    BANDS,
    PROBLEMS,
    SCORES,
    check_scores,
    counted,
    edited_caption,
    in_order,
    mean_series,
    method_styles,
    on_scale,
    rows_with,
    ticks_of,
)
from lens_rome.plotting._words import ScoreWords

_FUNCTION = "plot_scores_by_layer"
_MAX_PANELS = 8
_ERASURE = "fact erasure"


@overload
def plot_scores_by_layer(
    scores: Frame, *, backend: Literal["matplotlib"] = "matplotlib", **words: Unpack[ScoreWords]
) -> MplFigure: ...
@overload
def plot_scores_by_layer(scores: Frame, *, backend: Literal["plotly"], **words: Unpack[ScoreWords]) -> PlotlyFigure: ...
def plot_scores_by_layer(
    scores: Frame,
    *,
    problem: str | None = None,
    names: str | Sequence[str] | None = None,
    title: str | None = None,
    backend: str = "matplotlib",
) -> Figure:
    """Mean score by edited layer, one line and 95% band a method.

    With one problem, one panel a score; with one score and several problems, one panel a problem. All panels share one
    scale. Each of the paper's methods has one colour, marker and line in every picture.

    Args:
        scores: one row a record, problem, method and layer: columns `id`, `problem`, `method`, `layer` (the middle one
            where several were edited) and the scores. Rows without a score (NaN) are left out and counted above the
            picture; a score that no row has is named there.
        problem: the editing problem to draw; None for all of the frame.
        names: one score or several of `"rewrite"`, `"paraphrase"`, `"neighborhood"`, `"essence"`, `"overall"`,
            `"overall_essence"`; None for all that the frame has.
        title: what was edited, e.g. `"120 facts of the atlas"`; put after the statement of what is shown.
        backend: `"matplotlib"` or `"plotly"`.

    Raises:
        PlotError: missing columns, no rows or values, two rows for one point, an unknown problem or score, several
            scores of several problems, more methods than can be told apart, more than eight problems, or an unknown
            backend.
        MissingLibraryError: the library is not installed.

    Reference: "Does localization inform editing?", https://arxiv.org/abs/2301.04213, figure 9.
    """
    chosen = [names] if isinstance(names, str) else list(names) if names is not None else _there(scores)
    check_scores(chosen, _FUNCTION)
    rows = _rows(scores, problem, chosen)
    problems = in_order(list(rows["problem"]), PROBLEMS)
    if len(problems) > 1 and len(chosen) > 1:
        raise PlotError(
            f"{_FUNCTION} draws several scores of one problem or one score of several, got {len(chosen)} of "
            f"{len(problems)}. Choose problem= or names=."
        )
    if len(problems) > _MAX_PANELS:
        raise PlotError(f"{_FUNCTION} draws one to {_MAX_PANELS} problems, got {len(problems)}. Choose problem=.")
    styles = method_styles(list(rows["method"]), _FUNCTION)
    cells = [(each, name) for each in problems for name in chosen if rows[rows["problem"] == each][name].notna().any()]
    ticks = ticks_of([int(layer) for layer in rows["layer"]])
    panels = [_panel(rows[rows["problem"] == each], each, name, list(styles), ticks, len(problems) > 1)
              for each, name in cells]  # fmt: skip
    shared = SCORES[chosen[0]] if len(problems) > 1 or len(chosen) == 1 else "score"
    of = f" of {visible(problems[0])}" if len(problems) == 1 else ""
    chart = Chart(
        titled(f"Mean {shared}{of} by edited layer", title),
        _notes(rows, cells, problems, chosen),
        on_scale(panels, 0.0, 1.0),  # scores lie there by definition
        styles,
        f"mean {shared}",
        "mean score",
        x_caption=edited_caption(list(styles)),
        panel_width=5.4 if len(panels) == 1 else 3.9,
        columns=grid_columns(len(panels)),
    )
    return draw(chart, backend)


def _there(scores: Any) -> list[str]:
    """The scores that the frame has; at least one, so that a frame without any is refused by name."""
    return [name for name in SCORES if name in scores.columns] or ["rewrite"]


def _rows(scores: Any, problem: str | None, chosen: list[str]) -> Any:
    """The frame's rows of the problem, or all; one of the chosen scores has a value."""
    key = ("id", "problem", "method", "layer")
    known = next((name for name in chosen if name in scores.columns and scores[name].notna().any()), chosen[0])
    check_frame(scores, Needs(_FUNCTION, key, tuple(chosen), key, known))
    rows = scores if problem is None else rows_with(scores, "problem", [problem], _FUNCTION)
    if rows[chosen].isna().all(axis=None):
        raise PlotError(
            f"every score of {problem!r} is NaN: {_FUNCTION} has nothing to draw. See the column `missing`."
        )
    return rows


def _panel(rows: Any, problem: str, name: str, methods: list[str], ticks: list[int], by_problem: bool) -> ChartPanel:
    known = rows[rows[name].notna()]
    series = [mean_series(method, known[known["method"] == method], name) for method in methods]
    label = visible(problem) if by_problem else SCORES[name]
    if problem == _ERASURE and name in ("rewrite", "paraphrase"):
        label += ", erasure form"
    counts = known.groupby(["method", "layer"])["id"].nunique()
    return ChartPanel(f"{label} ({counted(counts)})", [each for each in series if len(each.layers)], ticks)


def _notes(rows: Any, cells: list[tuple[str, str]], problems: list[str], chosen: list[str]) -> list[str]:
    notes = [f"Bands: {BANDS}."]
    missing = int(sum(rows.loc[rows["problem"] == each, name].isna().sum() for each, name in cells))
    if missing:
        whole = sum(int((rows["problem"] == each).sum()) for each, _ in cells)
        notes.append(f"Left out: {missing} of {whole} scores that are missing.")
    absent = [visible(each) if len(problems) > 1 else SCORES[name] for each in problems for name in chosen
              if (each, name) not in cells]  # fmt: skip
    if absent:
        notes.append(f"Not measured: {', '.join(absent)}.")
    return notes
