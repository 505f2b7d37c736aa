"""Heat maps by Plotly: interactive, each cell shows its numbers."""

import html
from typing import Any

import numpy as np

from lens_rome.plotting._figure import PlotlyFigure, import_library
from lens_rome.plotting._labels import shorten, wrap
from lens_rome.plotting._picture import Panel, Picture

_NOT_TRACED = "#b8b8b8"
_ROW, _LINE = 26, 17
_PANEL_WIDTH = 380
_LEFT, _BETWEEN, _BOTTOM = 150, 110, 60
"""Pixels; `_BETWEEN` holds a panel's colour bar."""


def draw_plotly(picture: Picture) -> PlotlyFigure:
    """The picture as a Plotly figure."""
    n_panels = len(picture.panels)
    panel_width = max(_PANEL_WIDTH, 13 * picture.n_layers)
    plot_width = n_panels * panel_width + (n_panels - 1) * _BETWEEN
    width = _LEFT + plot_width + _BETWEEN
    heading = [line for text in (picture.title, *picture.notes) for line in wrap(text, int(width / 7.5)).split("\n")]
    titles = [_titled(panel, panel_width) for panel in picture.panels]
    title_height = _LINE * max(title.count("<br>") + 1 for title in titles) + 8
    top = _LINE * (len(heading) + 1) + title_height
    height = top + max(_ROW * len(picture.tokens), 120) + _BOTTOM
    figure: PlotlyFigure = import_library("plotly.subplots").make_subplots(
        rows=1,
        cols=n_panels,
        shared_yaxes=True,
        subplot_titles=titles,
        horizontal_spacing=_BETWEEN / plot_width if n_panels > 1 else 0,
    )
    for column, panel in enumerate(picture.panels, start=1):
        _add_panel(figure, picture, panel, column, column * (panel_width + _BETWEEN) - _BETWEEN, plot_width)
    figure.update_annotations(font_size=12)
    figure.update_yaxes(autorange="reversed", showgrid=False, zeroline=False, ticks="")
    figure.update_yaxes(
        tickmode="array", tickvals=list(range(len(picture.tokens))), ticktext=_row_labels(picture), row=1, col=1
    )
    figure.update_layout(
        title={"text": "<br>".join(map(safe, heading)), "font_size": 13, "x": 0.5, "xanchor": "center",
               "y": 1 - 1.3 * _LINE / height, "yanchor": "top"},
        width=width, height=height, margin={"l": _LEFT, "r": _BETWEEN, "t": top, "b": _BOTTOM},
        plot_bgcolor=_NOT_TRACED,
    )  # fmt: skip
    return figure


def _add_panel(figure: Any, picture: Picture, panel: Panel, column: int, right: int, plot_width: int) -> None:
    n_rows, n_layers = panel.values.shape
    numbers = np.stack([panel.spread, panel.values - panel.floor], axis=-1)
    figure.add_heatmap(
        z=panel.values, x=list(range(n_layers)), y=list(range(n_rows)), zmin=panel.floor, zmax=panel.ceiling,
        colorscale=panel.colours, customdata=numbers, text=[[safe(token)] * n_layers for token in picture.tokens],
        hovertemplate="%{text}, layer %{x}<br>p = %{z:.4f} ± %{customdata[0]:.4f} over samples<br>"
        "indirect effect %{customdata[1]:+.4f}<extra></extra>",
        # Gaps show the grey behind them, and nothing is claimed about them.
        hoverongaps=False,
        colorbar={"title": {"text": f"p({safe(shorten(panel.answer, 16))})", "side": "right"}, "thickness": 12,
                  "x": right / plot_width, "xanchor": "left", "xpad": 6, "outlinewidth": 0},
        row=1, col=column,
    )  # fmt: skip
    figure.update_xaxes(
        title_text=panel.layer_caption, tickmode="array", tickvals=panel.layer_ticks, showgrid=False, zeroline=False,
        row=1, col=column,
    )  # fmt: skip


def _titled(panel: Panel, width: int) -> str:
    return "<br>".join(safe(part) for line in panel.title.split("\n") for part in wrap(line, width // 7).split("\n"))


def _row_labels(picture: Picture) -> list[str]:
    labels = [safe(shorten(token, 24)) for token in picture.tokens]
    return [f"<b>{label}</b>" if inside else label for label, inside in zip(labels, picture.is_subject, strict=True)]


def safe(text: str) -> str:
    """`text` as Plotly shows it literally: it would read `<|endoftext|>` as markup and dollar signs as formulas.

    >>> safe("<b> $5")
    '&lt;b&gt; &#36;5'
    """
    return html.escape(text, quote=False).replace("$", "&#36;")
