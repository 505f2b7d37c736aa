"""`plot_peak_layers`: where the largest effect lies, fact by fact, which averages hide."""

from typing import Any, Literal, Unpack, overload

import numpy as np

from lens_rome.plotting._chart import Chart, ChartPanel, Series, Style
from lens_rome.plotting._draw import draw
from lens_rome.plotting._figure import BLUE, Figure, Frame, MplFigure, PlotError, PlotlyFigure
from lens_rome.plotting._frames import Needs, check_frame
from lens_rome.plotting._labels import kind_label, layer_ticks, role_label, titled
from lens_rome.plotting._words import PeakWords

_MAX_FACETS = 4
_NAME = "facts"


@overload
def plot_peak_layers(
    peaks: Frame, *, backend: Literal["matplotlib"] = "matplotlib", **words: Unpack[PeakWords]
) -> MplFigure: ...
@overload
def plot_peak_layers(peaks: Frame, *, backend: Literal["plotly"], **words: Unpack[PeakWords]) -> PlotlyFigure: ...
def plot_peak_layers(
    peaks: Frame,
    *,
    title: str | None = None,
    band: tuple[int, int] | None = None,
    line: int | None = None,
    n_layers: int | None = None,
    backend: str = "matplotlib",
) -> Figure:
    """Histogram of the layer at which each fact's effect is largest.

    Args:
        peaks: columns `layer` and `count` (facts whose largest effect lies there), as of `peak_layers`; layers without
            a row count 0. Columns `kind` and `role`, where they are there with one value, go into the title; a column
            `window` makes a panel of each size of window, on one scale.
        title: what was traced, e.g. `"120 facts"`; put after the statement of what is shown.
        band: first and last layer of a shaded range, such as the layers that MEMIT edits.
        line: a layer to mark by a dashed line, such as the one that ROME edits.
        n_layers: layers of the model, so that the axis shows all of them; None for as many as are needed.
        backend: `"matplotlib"` or `"plotly"`.

    Raises:
        PlotError: missing columns, no rows, no counts above 0, two rows for one bar, counts that are not whole numbers,
            more than four windows, a layer beyond `n_layers`, a band that is no range, or an unknown backend.
        MissingLibraryError: the library is not installed.

    Reference: "Does localization inform editing?", https://arxiv.org/abs/2301.04213, figure 1.
    """
    frame, windows = _check(peaks, band)
    marks = [*(band or ()), *([line] if line is not None else [])]
    last = max([int(frame["layer"].max()), *marks])
    if n_layers is not None and last >= n_layers:
        raise PlotError(f"layer {last} does not exist in a model of {n_layers} layers. Give its own number of layers.")
    count = n_layers if n_layers is not None else last + 1
    panels = [_panel(window, frame, count) for window in windows]
    notes = [f"Shaded: layers {band[0]} to {band[1]}."] if band is not None else []
    notes += [f"Dashed line: layer {line}."] if line is not None else []
    chart = Chart(
        titled(_statement(frame), title),
        [" ".join(notes)] if notes else [],
        panels,
        {_NAME: Style(BLUE)},
        "number of facts",
        _NAME,
        bars=True,
        panel_width=min(max(4.2, 0.16 * count), 6.5) if len(panels) == 1 else 3.6,
        x_range=(-0.6, count - 0.4),
        shade=None if band is None else (float(band[0]), float(band[1])),
        rule=None if line is None else float(line),
        counts=True,
    )
    return draw(chart, backend)


def _check(peaks: Any, band: tuple[int, int] | None) -> tuple[Any, list[Any]]:
    """The frame, if it can be drawn, and the sizes of window in it, or one None."""
    faceted = "window" in peaks.columns
    names = ("layer", "window") if faceted else ("layer",)
    check_frame(peaks, Needs("plot_peak_layers", names, ("count",), names, "count", (*names, "count")))
    if peaks["count"].isna().any() or peaks["count"].sum() == 0:
        raise PlotError("plot_peak_layers needs counts, with one above 0. Give each layer's number of facts.")
    windows = sorted(set(peaks["window"])) if faceted else [None]
    if len(windows) > _MAX_FACETS:
        raise PlotError(f"plot_peak_layers draws one to {_MAX_FACETS} windows, got {len(windows)}. Choose some rows.")
    if band is not None and not 0 <= band[0] <= band[1]:
        raise PlotError(f"band={band} is no range of layers. Give the first and the last, such as (4, 9).")
    return peaks, windows


def _statement(peaks: Any) -> str:
    """What is shown, of which states at which token, as far as the frame says so."""
    told = {name: set(peaks[name]) for name in ("kind", "role") if name in peaks.columns}
    kind, role = (next(iter(told[name])) if len(told.get(name, ())) == 1 else None for name in ("kind", "role"))
    of = f" of {kind_label(str(kind))}" if kind else ""
    if role == "pooled":
        at = ", over all tokens from the subject on"
    else:
        at = f" at the {role_label(str(role))}" if role else ""
    return f"Layer of the largest indirect effect{of}{at}, fact by fact"


def _panel(window: Any, peaks: Any, n_layers: int) -> ChartPanel:
    rows = peaks if window is None else peaks[peaks["window"] == window]
    rows = rows.sort_values("layer")
    none = np.full(len(rows), np.nan)
    series = Series(_NAME, rows["layer"].to_numpy(dtype=float), rows["count"].to_numpy(dtype=float), none, none)
    total = f"n = {int(rows['count'].sum())}"
    name = "" if window is None else "window of 1 layer, " if window == 1 else f"window of {window:g} layers, "
    return ChartPanel(name + total, [series], layer_ticks(n_layers))
