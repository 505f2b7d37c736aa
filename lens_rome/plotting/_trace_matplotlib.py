"""Heat maps by matplotlib, for files and notebooks."""

from typing import Any

import numpy as np

from lens_rome.plotting._figure import MplFigure, import_library, new_figure
from lens_rome.plotting._labels import shorten, wrap
from lens_rome.plotting._picture import Panel, Picture

_NOT_TRACED = "#b8b8b8"
_TITLE, _TEXT, _SMALL = 11.0, 9.0, 8.0
_ANSWER_CHARACTERS = 20
_TOKEN_CHARACTERS = 24


def draw_matplotlib(picture: Picture) -> MplFigure:
    """The picture as a matplotlib figure."""
    n_panels, n_rows = len(picture.panels), len(picture.tokens)
    # A cell is wide enough to be seen in a deep model and not absurdly wide in a shallow one; a panel holds its title.
    panel_width = min(max(0.36 * picture.n_layers, 3.4), 4.8)
    row_height = min(0.24, 40 / n_rows)
    width = n_panels * (panel_width + 0.75) + 1.5
    figure = new_figure(width, row_height * n_rows + 1.75 + 0.18 * len(picture.notes))
    figure.suptitle(_heading(picture, width), fontsize=_TEXT, parse_math=False)
    axes = figure.subplots(1, n_panels, sharey=True, squeeze=False)[0]
    for axis, panel in zip(axes, picture.panels, strict=True):
        _draw_panel(figure, axis, panel, panel_width)
    _label_rows(axes, picture, min(_TEXT, 0.7 * 72 * row_height))
    return figure


def _heading(picture: Picture, width: float) -> str:
    # About 15 characters of this size fit an inch.
    return "\n".join(wrap(line, int(15 * width)) for line in (picture.title, *picture.notes))


def _draw_panel(figure: MplFigure, axis: Any, panel: Panel, width: float) -> None:
    colours = import_library("matplotlib").colormaps[panel.colours].with_extremes(bad=_NOT_TRACED)
    masked = np.ma.masked_invalid(panel.values)
    # An explicit norm of pale to dark; cells are vector graphics in PDF, and "face" edges hide the seams between them.
    mesh = axis.pcolormesh(masked, cmap=colours, vmin=panel.floor, vmax=panel.ceiling, edgecolors="face", linewidth=0.2)
    axis.set_xticks(
        [layer + 0.5 for layer in panel.layer_ticks], [str(layer) for layer in panel.layer_ticks], fontsize=_SMALL
    )
    axis.set_xlabel(panel.layer_caption, fontsize=_TEXT)
    title = "\n".join(wrap(line, int(15 * width)) for line in panel.title.split("\n"))
    axis.set_title(title, fontsize=_TEXT, parse_math=False)
    axis.spines[:].set(color="0.75", linewidth=0.6)
    bar = figure.colorbar(mesh, ax=axis, extend="min" if panel.has_lower else "neither", fraction=0.08, pad=0.03)
    bar.ax.tick_params(labelsize=_SMALL)
    bar.outline.set_visible(False)
    bar.set_label(f"p({shorten(panel.answer, _ANSWER_CHARACTERS)})", fontsize=_TEXT, parse_math=False)


def _label_rows(axes: Any, picture: Picture, size: float) -> None:
    labels = [shorten(token, _TOKEN_CHARACTERS) for token in picture.tokens]
    rows = [row + 0.5 for row in range(len(labels))]
    # Tokens may contain dollar signs, which matplotlib would set as formulas.
    axes[0].set_yticks(rows, labels, fontsize=size, parse_math=False)
    for label, inside in zip(axes[0].get_yticklabels(), picture.is_subject, strict=True):
        label.set_fontweight("bold" if inside else "normal")
    # The axes share their rows, so one inversion puts the first token on top in all.
    axes[0].invert_yaxis()
    for axis in axes:
        axis.tick_params(axis="y", length=0)
