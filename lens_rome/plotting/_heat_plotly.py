"""Heat maps by Plotly: interactive, each cell shows its numbers."""

from typing import Any

import numpy as np

from lens_rome.plotting._figure import PlotlyFigure, import_library
from lens_rome.plotting._heat import Panel, Picture
from lens_rome.plotting._labels import shorten, wrap
from lens_rome.plotting._plotly_text import LINE, heading_layout, heading_lines, safe

_NO_VALUE = "#b8b8b8"
_ROW = 26
_PANEL_WIDTH = 380
_LEFT, _BETWEEN, _BOTTOM = 150, 110, 60
"""Pixels; `_BETWEEN` holds a panel's colour bar."""


def draw_heat_plotly(picture: Picture) -> PlotlyFigure:
    """The picture as a Plotly figure."""
    n_panels = len(picture.panels)
    labels = [shorten(row, picture.row_characters) for row in picture.rows]
    panel_width = max(_PANEL_WIDTH, 13 * picture.n_layers)
    plot_width = n_panels * panel_width + (n_panels - 1) * _BETWEEN
    left = max(_LEFT, 60 + 7 * max(map(len, labels)))
    width = left + plot_width + _BETWEEN
    heading = heading_lines([picture.title, *picture.notes], width)
    titles = [_broken(panel.title, panel_width) for panel in picture.panels]
    top = LINE * (len(heading) + 1) + LINE * max(title.count("<br>") + 1 for title in titles) + 8
    plot_height = max(_ROW * len(labels), 160)
    bottom = _BOTTOM + 4 * max((min(len(name), 24) for panel in picture.panels for name in panel.names), default=0)
    height = top + plot_height + bottom
    figure: Any = import_library("plotly.subplots").make_subplots(
        rows=1,
        cols=n_panels,
        shared_yaxes=True,
        subplot_titles=titles,
        horizontal_spacing=_BETWEEN / plot_width if n_panels > 1 else 0,
    )
    for column, panel in enumerate(picture.panels, start=1):
        right = column * (panel_width + _BETWEEN) - _BETWEEN
        title = {"text": _broken(panel.bar, plot_height), "side": "right"}
        _add_panel(figure, picture, panel, column, {"title": title, "x": right / plot_width})
    figure.update_annotations(font_size=12)
    figure.update_yaxes(autorange="reversed", showgrid=False, zeroline=False, ticks="")
    figure.update_yaxes(
        tickmode="array", tickvals=list(range(len(labels))), ticktext=_row_labels(picture, labels),
        title_text=picture.row_caption, row=1, col=1,
    )  # fmt: skip
    figure.update_layout(
        title=heading_layout(heading, height),
        width=width, height=height, margin={"l": left, "r": _BETWEEN, "t": top, "b": bottom},
        plot_bgcolor=_NO_VALUE,
    )  # fmt: skip
    return figure


def _add_panel(figure: Any, picture: Picture, panel: Panel, column: int, bar: dict[str, Any]) -> None:
    n_rows, n_layers = panel.values.shape
    details = [detail.values for detail in panel.details]
    figure.add_heatmap(
        z=panel.values, x=[panel.first + i for i in range(n_layers)], y=list(range(n_rows)),
        zmin=panel.scale.low, zmax=panel.scale.high, colorscale=panel.scale.colours,
        customdata=np.stack(details, axis=-1) if details else None,
        text=[_cell_texts(safe(row), panel) for row in picture.rows], hovertemplate=_hover(panel),
        # Gaps show the grey behind them, and nothing is claimed about them.
        hoverongaps=False,
        colorbar={**bar, "thickness": 12, "xanchor": "left", "xpad": 6, "outlinewidth": 0},
        row=1, col=column,
    )  # fmt: skip
    figure.update_xaxes(
        title_text=panel.caption, tickmode="array", tickvals=panel.ticks,
        ticktext=[safe(shorten(label, 24)) for label in panel.tick_labels], tickangle=-40 if panel.names else None,
        showgrid=False, zeroline=False,
        row=1, col=column,
    )  # fmt: skip


def _cell_texts(row: str, panel: Panel) -> list[str]:
    """What each cell of a row is called: by its row, and its column where that has a name."""
    return [f"{row}, {safe(name)}" for name in panel.names] or [row] * panel.values.shape[1]


def _hover(panel: Panel) -> str:
    # Only our own words and places go into the template: an answer with a "%{" in it would be read as a place.
    lines = ["%{text}" if panel.names else f"%{{text}}, {panel.column} %{{x}}", f"{panel.short} = %{{z:.4f}}"]
    lines += [f"{d.name} %{{customdata[{index}]:{d.form}}}" for index, d in enumerate(panel.details)]
    return "<br>".join(lines) + "<extra></extra>"


def _broken(text: str, room: int) -> str:
    """`text` in lines of at most `room` pixels."""
    return "<br>".join(safe(part) for line in text.split("\n") for part in wrap(line, room // 7).split("\n"))


def _row_labels(picture: Picture, labels: list[str]) -> list[str]:
    return [f"<b>{safe(label)}</b>" if picture.is_row_bold(row) else safe(label) for row, label in enumerate(labels)]
