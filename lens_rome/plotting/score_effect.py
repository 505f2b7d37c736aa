"""`plot_score_effect`: does editing work better where tracing finds more? One point a record, one panel a layer."""

import math
from collections.abc import Sequence
from typing import Any, Literal, Unpack, overload

import numpy as np

from lens_rome.plotting._chart import Chart, ChartPanel, Series, Style, grid_columns
from lens_rome.plotting._draw import draw
from lens_rome.plotting._figure import BLUE, Figure, Frame, MplFigure, PlotError, PlotlyFigure
from lens_rome.plotting._fit import fit_line
from lens_rome.plotting._frames import Needs, check_frame
from lens_rome.plotting._labels import visible
from lens_rome.plotting._study import (
    SCORES,
    check_scores,
    effect_caption,
    effects_of,
    rows_with,
    the_one,
    window_name,
)
from lens_rome.plotting._words import ScoreEffectWords

_FUNCTION = "plot_score_effect"
_MAX_PANELS = 20
_POINTS, _BORDER = "record", "record outside the axes, drawn at their border"
_FIT, _SAME = "least squares, with 95% band of its mean", "score = effect (as if tracing told)"
_STYLES = {
    _POINTS: Style(BLUE, "o", "", opacity=0.45),
    _BORDER: Style("#cc79a7", "X", "", opacity=0.8),
    _FIT: Style("#d55e00", "", "-"),
    _SAME: Style("#595959", "", "--"),
}
_BEYOND = 0.25
"""How far axes may go beyond 0 and 1, so that a single outlier does not press all others together."""
_MARGIN = 0.04
Ends = tuple[float, float]


@overload
def plot_score_effect(
    scores: Frame,
    effects: Frame,
    *,
    problem: str,
    method: str,
    backend: Literal["matplotlib"] = "matplotlib",
    **words: Unpack[ScoreEffectWords],
) -> MplFigure: ...
@overload
def plot_score_effect(
    scores: Frame,
    effects: Frame,
    *,
    problem: str,
    method: str,
    backend: Literal["plotly"],
    **words: Unpack[ScoreEffectWords],
) -> PlotlyFigure: ...
def plot_score_effect(
    scores: Frame,
    effects: Frame,
    *,
    problem: str,
    method: str,
    score: str = "rewrite",
    by: str = "effect",
    measure: str = "tracing",
    window: int | None = None,
    layers: int | Sequence[int] | None = None,
    title: str | None = None,
    backend: str = "matplotlib",
) -> Figure:
    """Score of an edit against the effect found at the edited layer: one point a record, one panel an edited layer.

    Each panel has the least-squares line of its points with the 95% band of its mean (1.96 standard errors, cut off at
    the ends of the axis), the dashed line on which score and effect would be equal, as if tracing told how well an edit
    works, and Pearson's r above it. Both axes run from 0 to 1, so that
    pictures can be compared, and up to a quarter further where points lie there. Points still further out are drawn at
    the border with another mark and counted above the picture, while line and r are of their true values.

    Args:
        scores: one row a record, problem, method and layer: columns `id`, `problem`, `method`, `layer` (the middle one
            where several were edited) and the score.
        effects: one row a record, measure, window and layer, as for `plot_layer_effects`.
        problem: one of the frame's editing problems, such as `"error injection"`.
        method: one of the frame's methods, such as `"ROME"`.
        score: `"rewrite"`, `"paraphrase"`, `"neighborhood"`, `"essence"`, `"overall"` or `"overall_essence"`.
        by: the column of effects.
        measure: `"tracing"` or `"zeroing"`.
        window: the size of window; None where the effects have one.
        layers: edited layers to draw, a panel each; one number for a single panel, None for all.
        title: what was measured, e.g. `"120 facts of the atlas"`; put after the statement of what is shown.
        backend: `"matplotlib"` or `"plotly"` (each point tells its record and its numbers).

    Raises:
        PlotError: missing columns, no rows or values, two rows for one point, an unknown problem, method, score,
            measure, window or layer, no record in both frames, more than 20 layers, or an unknown backend.
        MissingLibraryError: the library is not installed.

    Reference: "Does localization inform editing?", https://arxiv.org/abs/2301.04213, figures 3 and 4.
    """
    rows, size = _pairs(scores, effects, problem, method, score, by, measure, window, layers)
    shown = sorted(set(rows["layer"]))
    if len(shown) > _MAX_PANELS:
        raise PlotError(f"{_FUNCTION} draws one to {_MAX_PANELS} layers, got {len(shown)}. Choose layers=.")
    ends = _ends(rows[by]), _ends(rows[score])
    outside = int((~(rows[by].between(*ends[0]) & rows[score].between(*ends[1]))).sum())
    panels = [_panel(layer, rows[rows["layer"] == layer], score, by, ends) for layer in shown]
    statement = f"{SCORES[score].capitalize()} of an edit against the effect at the edited layer"
    of = f"{visible(problem)}, {visible(method)}, {window_name(size)}"
    beyond = f"{outside} of {len(rows)} points lie outside the axes; lines and r are of their true values."
    chart = Chart(
        f"{statement}: {of}" + (f", {visible(title)}" if title else ""),
        [beyond] if outside else [],
        panels,
        {name: style for name, style in _STYLES.items() if name != _BORDER or outside},
        SCORES[score],
        "score",
        x_caption=effect_caption(measure, by, _FUNCTION),
        panel_width=4.6 if len(panels) == 1 else 3.4 if len(panels) <= 8 else 2.7,
        x_range=_with_margin(ends[0]),
        columns=grid_columns(len(panels)),
    )
    return draw(chart, backend)


def _pairs(
    scores: Any,
    effects: Any,
    problem: str,
    method: str,
    score: str,
    by: str,
    measure: str,
    window: int | None,
    layers: int | Sequence[int] | None,
) -> tuple[Any, int]:
    """One row a record and layer with score and effect, and the size of window."""
    check_scores([score], _FUNCTION)
    names = ("id", "problem", "method", "layer")
    check_frame(scores, Needs(_FUNCTION, names, (score,), names, score))
    scored = rows_with(scores, "problem", [problem], _FUNCTION)
    scored = rows_with(scored, "method", [method], _FUNCTION)
    if layers is not None:
        scored = rows_with(scored, "layer", [layers] if isinstance(layers, int) else list(layers), _FUNCTION)
    found = effects_of(effects, by, measure, None if window is None else [window], _FUNCTION)
    size = the_one(found, "window", window, _FUNCTION)
    pairs = scored[["id", "layer", score]].merge(found[["id", "layer", by]], on=["id", "layer"])
    pairs = pairs[pairs[score].notna() & pairs[by].notna()]
    if pairs.empty:
        raise PlotError(
            f"{_FUNCTION} finds no record and layer with both a {score} score and an {by}. "
            "Give scores and effects of the same study."
        )
    return pairs.sort_values(["layer", "id"]), int(size)


def _ends(values: Any) -> Ends:
    """From 0 to 1, and as much further as the values need, but not too far."""
    return max(-_BEYOND, min(0.0, float(values.min()))), min(1 + _BEYOND, max(1.0, float(values.max())))


def _with_margin(ends: Ends) -> Ends:
    return ends[0] - _MARGIN, ends[1] + _MARGIN


def _panel(layer: Any, rows: Any, score: str, by: str, ends: tuple[Ends, Ends]) -> ChartPanel:
    x, y = rows[by].to_numpy(dtype=float), rows[score].to_numpy(dtype=float)
    line = fit_line(x, y)
    texts = [f"{visible(name)}\neffect {a:.4f}\n{SCORES[score]} {b:.4f}" for name, a, b in zip(rows["id"], x, y,
             strict=True)]  # fmt: skip
    shown_x, shown_y = np.clip(x, *ends[0]), np.clip(y, *ends[1])
    outside = (shown_x != x) | (shown_y != y)
    same = np.array([max(ends[0][0], ends[1][0]), min(ends[0][1], ends[1][1])])
    series = [_plain(_SAME, same, same)]
    for name, chosen in ((_POINTS, ~outside), (_BORDER, outside)):
        if chosen.any():
            told = [text for text, keep in zip(texts, chosen, strict=True) if keep]
            series.append(_plain(name, shown_x[chosen], shown_y[chosen], told))
    if len(line.x):
        # Cut off at the axes: a band beyond the largest score that there can be says nothing.
        series.append(Series(_FIT, line.x, line.y, np.clip(line.low, *ends[1]), np.clip(line.high, *ends[1])))
    r = "r undefined" if math.isnan(line.r) else f"r = {line.r:.2f}".replace("-", "\u2212")
    title = f"layer {layer:g}: {r}, n = {len(rows)}"
    ticks = [tick / 4 for tick in range(-1, 6) if ends[0][0] <= tick / 4 <= ends[0][1]]
    return ChartPanel(title, series, ticks, y_range=_with_margin(ends[1]))


def _plain(name: str, x: Any, y: Any, texts: Sequence[str] = ()) -> Series:
    none = np.full(len(x), np.nan)
    return Series(name, x, y, none, none, texts=texts)
