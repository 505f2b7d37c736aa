"""`plot_explained`: how much of an edit's success the edited layer explains, and how much tracing adds to it."""

from typing import Any, Literal, Unpack, overload

import numpy as np

from lens_rome.plotting._chart import Chart, ChartPanel, Series, Style, grid_columns
from lens_rome.plotting._draw import draw
from lens_rome.plotting._figure import BLUE, ORANGE, Figure, Frame, MplFigure, PlotError, PlotlyFigure
from lens_rome.plotting._frames import Needs, check_frame
from lens_rome.plotting._labels import titled, visible
from lens_rome.plotting._study import (
    METHODS,
    PROBLEMS,
    SCORES,
    check_scores,
    counted,
    effect_caption,
    in_order,
    rows_with,
    the_one,
    window_name,
)
from lens_rome.plotting._words import ExplainedWords

_FUNCTION = "plot_explained"
_MAX_PANELS = 8
_NUMBERS = ("r2_layer", "difference")
_LAYER, _MORE = "edited layer alone", "added by the effect"
_OURS = (Style(BLUE), Style(ORANGE, hatch="//"))
_PUBLISHED = (Style("#8c8c8c", hatch=".."), Style("#cc79a7", hatch="//"))
_SUBSETS = {"all": "", "concentrated": ", records with a concentrated effect"}
_TOLD = 3
"""Reasons named above the picture."""


@overload
def plot_explained(
    regressions: Frame, *, backend: Literal["matplotlib"] = "matplotlib", **words: Unpack[ExplainedWords]
) -> MplFigure: ...
@overload
def plot_explained(
    regressions: Frame, *, backend: Literal["plotly"], **words: Unpack[ExplainedWords]
) -> PlotlyFigure: ...
def plot_explained(
    regressions: Frame,
    *,
    score: str = "rewrite",
    published: Frame | None = None,
    measure: str | None = None,
    window: int | None = None,
    predictor: str | None = None,
    subset: str | None = None,
    title: str | None = None,
    backend: str = "matplotlib",
) -> Figure:
    """Explained variance of a score: R² of the edited layer alone and, on top of it, what the effect adds.

    One panel a problem, one bar a method; the number above a bar is what the effect adds. Bars of a published table
    stand to the right of ours.

    Args:
        regressions: one row a problem, method, score, measure, window, predictor and subset, with the columns of these
            names, `r2_layer` and `difference` (R² of layer and effect together less that of the layer alone). `n_facts`
            goes into the titles; `missing` (why a row has no numbers) above the picture.
        score: the score that is explained.
        published: another such frame, of which `problem`, `method`, `r2_layer` and `difference` are enough; `score`,
            `measure`, `predictor` and `subset` choose rows where they are there, and `model` goes into the legend. Only
            problems and methods of `regressions` are drawn.
        measure: `"tracing"` or `"zeroing"`; this and the next three may be None where the frame has one.
        window: the size of window.
        predictor: the column of effects that was used, such as `"effect"`.
        subset: `"all"` or `"concentrated"`.
        title: what was measured, e.g. `"120 facts of the atlas"`; put after the statement of what is shown.
        backend: `"matplotlib"` or `"plotly"`.

    Raises:
        PlotError: missing columns, no rows or values, two rows for one bar, an unknown score, several measures,
            windows, predictors or subsets of which none was chosen, R² that is none, more than eight problems, a
            published frame without such rows, or an unknown backend.
        MissingLibraryError: the library is not installed.

    Reference: "Does localization inform editing?", https://arxiv.org/abs/2301.04213, figure 6 and table 1.
    """
    asked = {"measure": measure, "window": window, "predictor": predictor, "subset": subset}
    rows, found = _rows(regressions, score, asked)
    problems, methods = in_order(list(rows["problem"]), PROBLEMS), in_order(list(rows["method"]), list(METHODS))
    if len(problems) > _MAX_PANELS:
        raise PlotError(f"{_FUNCTION} draws one to {_MAX_PANELS} problems, got {len(problems)}. Choose some rows.")
    tables = [(rows, (_LAYER, _MORE), _OURS)]
    if published is not None:
        tables.append(_published(published, rows, score, found))
    effect = " ".join(effect_caption(found["measure"], found["predictor"], _FUNCTION).split("\n"))
    chart = Chart(
        titled(f"Variance of the {SCORES[score]} that layer and effect explain", title),
        [f"Effect: {effect}, {window_name(found['window'])}{_SUBSETS.get(found['subset'], ', ' + found['subset'])}. "
         "Numbers: what it adds to R².", *_absent(rows)],
        [_panel(problem, methods, tables) for problem in problems],
        {name: style for _, names, styles in tables for name, style in zip(names, styles, strict=True)},
        "R² (share of variance explained)",
        "R²",
        bars=True,
        x_caption="editing method",
        panel_width=max(3.9, 0.5 + 0.42 * len(methods) * len(tables)),
        x_range=(-0.6, len(methods) - 0.4),
        columns=grid_columns(len(problems)),
        stacks=[names for _, names, _ in tables],
    )  # fmt: skip
    return draw(chart, backend)


def _rows(regressions: Any, score: str, asked: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The rows of the score and of what was asked for, and the measure, window, predictor and subset that they have."""
    check_scores([score], _FUNCTION)
    key = ("problem", "method", "score", *asked)
    check_frame(regressions, Needs(_FUNCTION, key, _NUMBERS, key, "r2_layer", ("window",)))
    rows, found = rows_with(regressions, "score", [score], _FUNCTION), {}
    for column, value in asked.items():
        found[column] = the_one(rows, column, value, _FUNCTION)
        rows = rows_with(rows, column, [found[column]], _FUNCTION)
    if rows[list(_NUMBERS)].isna().any(axis=1).all():
        raise PlotError(f"every R² of the {score} score is NaN: {_FUNCTION} has nothing to draw. See `missing`.")
    _check_shares(rows)
    return rows, found


def _check_shares(rows: Any) -> None:
    ends = rows["r2_layer"], rows["r2_layer"] + rows["difference"]
    if any((end < -1e-6).any() or (end > 1 + 1e-6).any() for end in ends) or (rows["difference"] < -1e-6).any():
        raise PlotError("r2_layer and difference must be shares of variance from 0 to 1. Give fractions, not percent.")


def _published(published: Any, rows: Any, score: str, found: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The published rows of our bars, with their names and styles."""
    function = f"{_FUNCTION}(published=)"
    key = ("problem", "method")
    chosen = {"score": score, **{name: found[name] for name in ("measure", "predictor", "subset")}}
    missing = [name for name in (*key, *_NUMBERS) if name not in published.columns]
    if not missing:
        for column, value in chosen.items():
            if column in published.columns:
                published = published[published[column] == value]
        published = published[published[list(_NUMBERS)].notna().all(axis=1)].merge(rows[[*key]].drop_duplicates())
        if published.empty:
            raise PlotError(f"{function} has no rows of {chosen} for these problems and methods. Leave it out.")
    check_frame(published, Needs(function, key, _NUMBERS, key, "r2_layer", ()))
    _check_shares(published)
    models = sorted(set(published["model"])) if "model" in published.columns else []
    of = f", published ({visible(str(models[0]))})" if len(models) == 1 else ", published"
    return published, (_LAYER + of, _MORE + of), _PUBLISHED


def _panel(problem: str, methods: list[str], tables: list[tuple[Any, Any, Any]]) -> ChartPanel:
    series: list[Series] = []
    for frame, (layer_name, more_name), _ in tables:
        rows = frame[(frame["problem"] == problem) & frame[list(_NUMBERS)].notna().all(axis=1)]
        places = np.array([methods.index(method) for method in rows["method"]], dtype=float)
        layer, more = (rows[name].to_numpy(dtype=float) for name in _NUMBERS)
        none = np.full(len(rows), np.nan)
        told = [f"{visible(method)}\nR² of the edited layer {a:.4f}\nof layer and effect {a + b:.4f} ({b:+.4f})"
                for method, a, b in zip(rows["method"], layer, more, strict=True)]  # fmt: skip
        series.append(Series(layer_name, places, layer, none, none, texts=told))
        written = [f"{max(b, 0):+.3f}".replace("0.", ".", 1) for b in more]
        series.append(Series(more_name, places, more, none, none, base=layer, texts=told, written=written))
    ours = tables[0][0]
    counts = ours.loc[ours["problem"] == problem, "n_facts"].dropna() if "n_facts" in ours.columns else []
    title = visible(problem) + (f" ({counted(counts)})" if len(counts) else "")
    return ChartPanel(title, series, list(range(len(methods))), y_range=(0.0, 1.12), tick_labels=methods)


def _absent(rows: Any) -> list[str]:
    """Which bars are missing, and why as far as the frame says so."""
    gaps = rows[rows[list(_NUMBERS)].isna().any(axis=1)]
    reasons = gaps["missing"] if "missing" in gaps.columns else [""] * len(gaps)
    told = [f"{visible(problem)}, {visible(method)}" + (f" ({visible(reason)})" if reason else "")
            for problem, method, reason in zip(gaps["problem"], gaps["method"], reasons, strict=True)]  # fmt: skip
    further = f"; and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    return [f"No bar: {'; '.join(told[:_TOLD])}{further}."] if told else []
