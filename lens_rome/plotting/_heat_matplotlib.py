"""Heat maps by matplotlib, for files and notebooks."""

from typing import Any

import numpy as np

from lens_rome.plotting._figure import MplFigure, import_library, new_figure
from lens_rome.plotting._heat import Panel, Picture
from lens_rome.plotting._labels import shorten, wrap

_NO_VALUE = "#b8b8b8"
_TEXT, _SMALL = 9.0, 8.0
_NAME_CHARACTERS = 18


def draw_heat_matplotlib(picture: Picture) -> MplFigure:
    """The picture as a matplotlib figure."""
    n_panels, n_rows = len(picture.panels), len(picture.rows)
    labels = [shorten(row, picture.row_characters) for row in picture.rows]
    # A cell is wide enough to be seen in a deep model and not absurdly wide in a shallow one; a panel holds its title.
    panel_width = min(max(0.36 * picture.n_layers, 3.4), 4.8)
    row_height = min(0.24, 40 / n_rows)
    # About 14 characters of a row's label fit an inch.
    width = n_panels * (panel_width + 0.75) + 0.7 + max(0.8, max(map(len, labels)) / 14)
    # The colour bar's label needs some height too.
    plot_height = max(row_height * n_rows, 1.5)
    # Names of columns stand slanted below them.
    longest = max((len(name) for panel in picture.panels for name in panel.names), default=0)
    below = 0.055 * min(longest, _NAME_CHARACTERS)
    figure = new_figure(width, plot_height + 1.75 + below + 0.18 * len(picture.notes))
    figure.suptitle(_heading(picture, width), fontsize=_TEXT, parse_math=False)
    axes = figure.subplots(1, n_panels, sharey=True, squeeze=False)[0]
    for axis, panel in zip(axes, picture.panels, strict=True):
        _draw_panel(figure, axis, panel, panel_width, plot_height)
    _label_rows(axes, picture, labels, min(_TEXT, 0.7 * 72 * row_height))
    return figure


def _heading(picture: Picture, width: float) -> str:
    # At least 13 characters of this size fit an inch.
    return "\n".join(wrap(line, int(13 * width)) for line in (picture.title, *picture.notes))


def _draw_panel(figure: MplFigure, axis: Any, panel: Panel, width: float, height: float) -> None:
    scale = panel.scale
    colours = import_library("matplotlib").colormaps[scale.colours].with_extremes(bad=_NO_VALUE)
    masked = np.ma.masked_invalid(panel.values)
    # Cells are vector graphics in PDF, and "face" edges hide the seams between them.
    mesh = axis.pcolormesh(masked, cmap=colours, vmin=scale.low, vmax=scale.high, edgecolors="face", linewidth=0.2)
    # A column's label stands in its middle.
    places = [layer - panel.first + 0.5 for layer in panel.ticks]
    if panel.names:
        labels = [shorten(name, _NAME_CHARACTERS) for name in panel.tick_labels]
        slanted = {"rotation": 40, "ha": "right", "rotation_mode": "anchor", "parse_math": False}
        axis.set_xticks(places, labels, fontsize=_SMALL, **slanted)
    else:
        axis.set_xticks(places, panel.tick_labels, fontsize=_SMALL)
    axis.set_xlabel(panel.caption, fontsize=_TEXT)
    title = "\n".join(wrap(line, int(15 * width)) for line in panel.title.split("\n"))
    axis.set_title(title, fontsize=_TEXT, parse_math=False)
    axis.spines[:].set(color="0.75", linewidth=0.6)
    bar = figure.colorbar(mesh, ax=axis, extend=panel.extend, fraction=0.08, pad=0.03)
    bar.ax.tick_params(labelsize=_SMALL)
    bar.outline.set_visible(False)
    # It may be a little longer than the bar: above stand titles, below the layers.
    label = "\n".join(wrap(line, int(13 * height) + 6) for line in panel.bar.split("\n"))
    bar.set_label(label, fontsize=_TEXT, parse_math=False)


def _label_rows(axes: Any, picture: Picture, labels: list[str], size: float) -> None:
    rows = [row + 0.5 for row in range(len(labels))]
    # Tokens may contain dollar signs, which matplotlib would set as formulas.
    axes[0].set_yticks(rows, labels, fontsize=size, parse_math=False)
    for row, label in enumerate(axes[0].get_yticklabels()):
        label.set_fontweight("bold" if picture.is_row_bold(row) else "normal")
    axes[0].set_ylabel(picture.row_caption, fontsize=_TEXT)
    # The axes share their rows, so one inversion puts the first row on top in all.
    axes[0].invert_yaxis()
    for axis in axes:
        axis.tick_params(axis="y", length=0)
