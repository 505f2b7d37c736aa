"""Lines and bars by matplotlib, for files and notebooks."""

import math
from typing import Any

from lens_rome.plotting._chart import Chart, ChartPanel, Series, Style
from lens_rome.plotting._figure import ORANGE, MplFigure, import_library, new_figure
from lens_rome.plotting._labels import shorten, visible, visible_lines, wrap

_MAX_MARKERS = 12
_SHADE = "0.88"
_LEGEND_CHARACTERS = 60
_FURTHER_ROW = 3.0
"""Inches of each row of panels below the first."""


def draw_chart_matplotlib(chart: Chart) -> MplFigure:
    """The chart as a matplotlib figure."""
    width = 1.2 + chart.panel_width * chart.n_columns
    # A legend of many lines must not take its room from the axes.
    height = 4.3 + 0.18 * max(0, _legend_rows(chart, width) - 2) + _FURTHER_ROW * (chart.n_rows - 1)
    figure = new_figure(width, height)
    heading = "\n".join(wrap(line, int(13 * width)) for line in (chart.title, *chart.notes))
    figure.suptitle(heading, fontsize=10, parse_math=False)
    grid = figure.subplots(chart.n_rows, chart.n_columns, sharey=not chart.own_scales, squeeze=False)
    axes = list(grid.flat)
    for spare in axes[len(chart.panels) :]:
        spare.remove()
    for index, panel in enumerate(chart.panels):
        for series in panel.series:
            (_draw_bars if chart.bars else _draw_line)(axes[index], chart, series)
        _dress(axes[index], chart, panel)
        if chart.is_lowest(index):
            axes[index].set_xlabel(chart.x_caption, fontsize=9, parse_math=False)
        if not chart.own_scales and index % chart.n_columns == 0:
            axes[index].set_ylabel("\n".join(chart.y_lines), fontsize=9, parse_math=False)
    if chart.has_legend:
        _add_legend(figure, chart, width)
    return figure


def _draw_line(axis: Any, chart: Chart, series: Series) -> None:
    style = chart.styles[series.name]
    every = max(1, len(series.layers) // _MAX_MARKERS) if style.line else 1
    axis.fill_between(series.layers, series.low, series.high, color=style.colour, alpha=0.15, linewidth=0)
    axis.plot(series.layers, series.values, **_line_look(style), markevery=every)


def _draw_bars(axis: Any, chart: Chart, series: Series) -> None:
    style, places = chart.styles[series.name], chart.bar_places(series)
    axis.bar(places, series.values, chart.bar_width, series.base, label=visible(series.name), **_bar_look(style))
    for place, top, text in zip(places, series.bases + series.values, series.written, strict=False):
        axis.text(place, top, text, fontsize=7, ha="center", va="bottom", parse_math=False)
    known = series.has_interval > 0
    axis.vlines(places[known], series.low[known], series.high[known], color="0.15", linewidth=1.0, zorder=3)


def _dress(axis: Any, chart: Chart, panel: ChartPanel) -> None:
    if panel.log:
        axis.set_yscale("log")
        axis.yaxis.set_minor_formatter(import_library("matplotlib.ticker").NullFormatter())
    else:
        axis.axhline(0, color="0.4", linewidth=0.8, zorder=0)
    if panel.y_range is not None:
        axis.set_ylim(*panel.y_range)
    if panel.y_caption is not None:
        axis.set_ylabel(panel.y_caption, fontsize=9, parse_math=False)
    if chart.shade is not None:
        axis.axvspan(chart.shade[0] - 0.5, chart.shade[1] + 0.5, color=_SHADE, linewidth=0, zorder=-1)
    if chart.rule is not None:
        axis.axvline(chart.rule, color=ORANGE, linestyle="--", linewidth=1.4, zorder=4)
    if chart.x_range is not None:
        axis.set_xlim(*chart.x_range)
    title = wrap(panel.title, int(13.5 * chart.panel_width)) if panel.title else ""
    axis.set_title(title, fontsize=10, parse_math=False)
    if panel.tick_labels is None:
        axis.set_xticks(panel.ticks)
    else:
        axis.set_xticks(panel.ticks, [visible_lines(label) for label in panel.tick_labels], parse_math=False)
    if chart.counts:
        axis.yaxis.set_major_locator(import_library("matplotlib.ticker").MaxNLocator(integer=True, nbins="auto"))
    axis.tick_params(labelsize=8.5, labelleft=True)
    axis.grid(alpha=0.3, linewidth=0.6, axis="y" if chart.bars else "both")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def _line_look(style: Style) -> dict[str, Any]:
    return {
        "color": style.colour,
        "marker": style.marker,
        "linestyle": style.line,
        "alpha": None if style.opacity == 1 else style.opacity,
        "linewidth": 1.6,
        "markersize": 4.5,
    }


def _bar_look(style: Style) -> dict[str, Any]:
    # White hatching on the colour, and a white edge so that neighbours do not run together.
    return {"facecolor": style.colour, "hatch": style.hatch, "edgecolor": "white", "linewidth": 0.5}


def _shown(name: str) -> str:
    return shorten(visible(name), _LEGEND_CHARACTERS)


def _legend_rows(chart: Chart, width: float) -> int:
    """Lines of the legend in a figure of that many inches."""
    if not chart.has_legend:
        return 0
    # An entry takes its mark and a gap, and about 17 characters an inch.
    entry = 0.55 + max(len(_shown(name)) for name in chart.styles) / 17
    return math.ceil(len(chart.styles) / max(1, int(width / entry)))


def _add_legend(figure: MplFigure, chart: Chart, width: float) -> None:
    names = {name: _shown(name) for name in chart.styles}
    if chart.bars:
        patch: Any = import_library("matplotlib.patches").Patch
        handles = [patch(label=names[name], **_bar_look(style)) for name, style in chart.styles.items()]
    else:
        line: Any = import_library("matplotlib.lines").Line2D
        handles = [line([], [], label=names[name], **_line_look(style)) for name, style in chart.styles.items()]
    # Rows of about equal length.
    columns = math.ceil(len(names) / _legend_rows(chart, width))
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8.5, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
