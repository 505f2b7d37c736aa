"""Lines and bars by Plotly: interactive, each point shows its numbers."""

import math
from typing import Any

import numpy as np

from lens_rome.plotting._chart import Chart, Series
from lens_rome.plotting._figure import ORANGE, PlotlyFigure, import_library
from lens_rome.plotting._labels import shorten, visible, visible_lines, wrap
from lens_rome.plotting._plotly_text import LINE, heading_layout, heading_lines, safe

_INCH = 100
_PLOT_HEIGHT = 300
_LEFT, _RIGHT, _BETWEEN, _BOTTOM = 60, 30, 40, 60
"""Pixels."""
_OWN_SCALE = 40
"""Further pixels between panels that each have a caption and numbers."""
_ROW_GAP = 40
"""Pixels between two rows of panels, beside the titles."""
_LEGEND_CHARACTERS = 60
_MAX_MARKERS = 12
_SYMBOLS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
}
_DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}
_PATTERNS = {"": "", "//": "/", "..": "."}


def draw_chart_plotly(chart: Chart) -> PlotlyFigure:
    """The chart as a Plotly figure."""
    columns, rows, panel_width = chart.n_columns, chart.n_rows, _panel_width(chart)
    between = _BETWEEN + (_OWN_SCALE if chart.own_scales else 0)
    plot_width = columns * panel_width + (columns - 1) * between
    left = _LEFT + LINE * len(chart.y_lines)
    width = int(left + plot_width + _RIGHT)
    heading = heading_lines([chart.title, *chart.notes], width)
    titles = ["<br>".join(map(safe, wrap(p.title, int(panel_width / 7.5)).split("\n"))) for p in chart.panels]
    title_height = LINE * max(title.count("<br>") + 1 for title in titles)
    top = LINE * (len(heading) + 1) + title_height + 8
    below = title_height + _ROW_GAP
    plot_height = rows * _PLOT_HEIGHT + (rows - 1) * below
    height = top + plot_height + _BOTTOM + LINE * (len(_x_lines(chart)) - 1) + _legend_height(chart, width)
    figure: PlotlyFigure = import_library("plotly.subplots").make_subplots(
        rows=rows,
        cols=columns,
        shared_yaxes=not chart.own_scales and (True if rows == 1 else "all"),
        subplot_titles=titles,
        horizontal_spacing=between / plot_width if columns > 1 else 0,
        vertical_spacing=below / plot_height if rows > 1 else 0,
    )
    named: set[str] = set()
    for index in range(len(chart.panels)):
        _add_panel(figure, chart, index, named)
    figure.update_annotations(font_size=12)
    if chart.counts:
        figure.update_yaxes(tickformat="d", rangemode="tozero")
    figure.update_layout(
        title=heading_layout(heading, height),
        width=width, height=height, margin={"l": left, "r": _RIGHT, "t": top, "b": height - top - plot_height},
        template="plotly_white", barmode="overlay", showlegend=chart.has_legend,
        legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": 0, "yref": "container", "yanchor": "bottom"},
    )  # fmt: skip
    return figure


def _panel_width(chart: Chart) -> float:
    return max(_INCH * chart.panel_width, 320 if chart.n_rows == 1 else 210)


def _x_lines(chart: Chart) -> list[str]:
    """The caption of the layers, in lines that fit the width of a panel."""
    characters = int(_panel_width(chart) / 7.5)
    return [part for line in chart.x_caption.split("\n") for part in wrap(line, characters).split("\n")]


def _legend_height(chart: Chart, width: int) -> int:
    if not chart.has_legend:
        return 0
    entry = 55 + 7 * max(len(_shown(name)) for name in chart.styles)
    return 22 * math.ceil(len(chart.styles) / max(1, width // entry))


def _add_panel(figure: Any, chart: Chart, index: int, named: set[str]) -> None:
    panel = chart.panels[index]
    place = {"row": index // chart.n_columns + 1, "col": index % chart.n_columns + 1}
    for series in panel.series:
        traces = _bars(chart, series) if chart.bars else _line(chart, series)
        for trace in traces:
            # The legend has each name once; a click on it hides the series in all panels.
            first = trace.pop("named") and series.name not in named
            figure.add_trace(
                {**trace, "name": safe(_shown(series.name)), "legendgroup": safe(series.name), "showlegend": first},
                **place,
            )
        named.add(series.name)
    # Plotly drops shapes of a panel that has no series yet.
    if chart.shade is not None:
        low, high = chart.shade[0] - 0.5, chart.shade[1] + 0.5
        figure.add_vrect(x0=low, x1=high, fillcolor="#dddddd", line_width=0, layer="below", **place)
    if chart.rule is not None:
        figure.add_vline(x=chart.rule, line={"color": ORANGE, "dash": "dash", "width": 2}, **place)
    _dress(figure, chart, index, place)


def _dress(figure: Any, chart: Chart, index: int, place: dict[str, int]) -> None:
    panel = chart.panels[index]
    bounds, scale = panel.y_range, {}
    if panel.log:
        # Plotly takes the exponents.
        bounds = bounds and tuple(map(math.log10, bounds))
        scale = {"type": "log", "dtick": 1, "exponentformat": "power"}
    if panel.y_caption is not None:
        figure.update_yaxes(title_text=safe(panel.y_caption), **scale, **place)
    elif place["col"] == 1:
        figure.update_yaxes(title_text="<br>".join(map(safe, chart.y_lines)), **place)
    if bounds is not None:
        figure.update_yaxes(range=bounds, **place)
    figure.update_xaxes(tickmode="array", tickvals=list(panel.ticks), range=chart.x_range, **place)
    if panel.tick_labels is not None:
        labels = ["<br>".join(map(safe, visible_lines(label).split("\n"))) for label in panel.tick_labels]
        figure.update_xaxes(ticktext=labels, **place)
    if chart.is_lowest(index):
        figure.update_xaxes(title_text="<br>".join(map(safe, _x_lines(chart))), **place)


def _line(chart: Chart, series: Series) -> list[dict[str, Any]]:
    style, known = chart.styles[series.name], series.has_interval > 0
    layers, low, high = series.layers[known], series.low[known], series.high[known]
    band = {
        "type": "scatter", "mode": "lines", "fill": "toself", "fillcolor": _faint(style.colour), "hoverinfo": "skip",
        "x": np.concatenate([layers, layers[::-1]]), "y": np.concatenate([high, low[::-1]]),
        "line": {"width": 0}, "named": False,
    }  # fmt: skip
    line = {
        "type": "scatter", "mode": "lines+markers", "x": series.layers, "y": series.values,
        "line": {"color": style.colour, "dash": _DASHES[style.line or "-"], "width": 2},
        "marker": {"symbol": _SYMBOLS[style.marker or "o"], "size": 7, "maxdisplayed": _MAX_MARKERS},
        **_numbers(chart, series), "named": True,
    }  # fmt: skip
    if not style.line:
        line |= {"mode": "markers", "opacity": style.opacity}
        line["marker"] = {"symbol": _SYMBOLS[style.marker], "size": 6, "color": style.colour}
    elif not style.marker:
        line |= {"mode": "lines", "hoverinfo": "skip", "hovertemplate": None}
    return [band, line] if known.any() else [line]


def _bars(chart: Chart, series: Series) -> list[dict[str, Any]]:
    style, known, places = chart.styles[series.name], series.has_interval > 0, chart.bar_places(series)
    gap = np.full(int(known.sum()), np.nan)
    bars = {
        "type": "bar", "x": places, "y": series.values, "base": series.base, "width": chart.bar_width,
        "marker": {"color": style.colour, "line": {"color": "white", "width": 0.5},
                   "pattern": {"shape": _PATTERNS[style.hatch], "fgcolor": "white", "size": 6}},
        **_numbers(chart, series), "named": True,
    }  # fmt: skip
    intervals = {
        "type": "scatter", "mode": "lines", "hoverinfo": "skip", "line": {"color": "#262626", "width": 1.3},
        "x": np.stack([places[known], places[known], gap], 1).ravel(),
        "y": np.stack([series.low[known], series.high[known], gap], 1).ravel(), "named": False,
    }  # fmt: skip
    written = {
        "type": "scatter", "mode": "text", "x": places, "y": series.bases + series.values, "hoverinfo": "skip",
        "text": list(map(safe, series.written)), "textposition": "top center", "textfont": {"size": 10},
        "named": False,
    }  # fmt: skip
    return [bars, *([intervals] if known.any() else []), *([written] if series.written else [])]


def _numbers(chart: Chart, series: Series) -> dict[str, Any]:
    form = ".0f" if chart.counts else chart.number
    interval = "" if chart.counts else f"<br>from %{{customdata[1]:{form}}} to %{{customdata[2]:{form}}}"
    text = safe(_shown(series.name)) + ", " if chart.has_legend else ""
    if series.texts:
        lines = [safe(each).replace("\n", "<br>") for each in series.texts]
        return {
            "text": lines, "hovertemplate": "%{text}<extra></extra>",
            "textposition": "none" if chart.bars else None,
        }  # fmt: skip
    return {
        "customdata": np.stack([series.layers, series.low, series.high], axis=-1),
        # A name could hold a "%{", which a template reads as a place; the text of points is taken as it is.
        "text": [text] * len(series.layers),
        "textposition": "none" if chart.bars else None,
        "hovertemplate": f"%{{text}}{chart.x_name} %{{customdata[0]}}<br>{chart.value_name} %{{y:{form}}}"
        f"{interval if (series.has_interval > 0).any() else ''}<extra></extra>",
    }


def _shown(name: str) -> str:
    return shorten(visible(name), _LEGEND_CHARACTERS)


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"
