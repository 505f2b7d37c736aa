"""Figures without global state: made, shown in notebooks and written to files without `matplotlib.pyplot`."""

import io
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lens_rome._installed import import_extra
from lens_rome.errors import LensRomeError

# Names for type checkers only: importing this package must not import a plotting library or pandas.
if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as MplFigure
    from plotly.graph_objects import Figure as PlotlyFigure

    Figure = MplFigure | PlotlyFigure
    Frame = pd.DataFrame
else:
    Figure = MplFigure = PlotlyFigure = Frame = Any

DPI = 120
BLUE, ORANGE = "#0072b2", "#d55e00"
"""Two colours that colour-blind people can tell apart (Okabe and Ito); never the only cue."""


class PlotError(LensRomeError, ValueError):
    """A picture was asked for that cannot be drawn from these results."""


def import_library(name: str) -> ModuleType:
    """The module `name`, of matplotlib or Plotly.

    Raises:
        MissingLibraryError: it is not installed.
    """
    return import_extra(name, "this picture", "plot")


def new_figure(width: float, height: float) -> MplFigure:
    """An empty matplotlib figure of that many inches, drawn by Agg, that notebooks show as PNG."""
    figure: MplFigure = import_library("matplotlib.figure").Figure((width, height), dpi=DPI, layout="constrained")
    import_library("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    # IPython knows how to show a figure only once pyplot is imported; this asks nothing of pyplot.
    figure._repr_png_ = partial(_png, figure)  # pyright: ignore[reportAttributeAccessIssue]
    return figure


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a picture as the suffix says; the file appears whole or not at all. Returns the path.

    Args:
        figure: what a `plot_…` function returned.
        path: ends in `.png`, `.pdf`, `.svg` or `.html` for a matplotlib figure, `.html` for a Plotly one (an
            interactive page of about 5 MB that needs no network).

    Raises:
        PlotError: an unknown suffix, one that the figure's library cannot write, or a folder that does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise PlotError(f"cannot write {path}: the folder {path.parent} does not exist. Create it first.")
    # A Plotly figure has `write_html`; asking for the class would import the library.
    writers = _plotly_writers(figure) if hasattr(figure, "write_html") else _matplotlib_writers(figure)
    suffix = path.suffix.lower()
    if suffix not in writers:
        hint = " Draw it with backend='matplotlib' for other formats." if suffix in (".png", ".pdf", ".svg") else ""
        raise PlotError(f"cannot write this figure as {path.name!r}; end the name in {', '.join(writers)}.{hint}")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(writers[suffix]())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _plotly_writers(figure: Any) -> dict[str, Callable[[], bytes]]:
    # The library is written into the page so that it opens offline; a fixed id makes equal figures equal files.
    return {".html": lambda: figure.to_html(include_plotlyjs=True, full_html=True, div_id="lens_rome").encode()}


def _matplotlib_writers(figure: Any) -> dict[str, Callable[[], bytes]]:
    if not hasattr(figure, "savefig"):
        raise PlotError(f"save_figure takes a matplotlib or Plotly figure, got {type(figure).__name__}.")
    return {
        ".png": partial(_png, figure),
        ".pdf": lambda: _render(figure, "pdf", metadata={"CreationDate": None}),
        ".svg": lambda: _svg(figure),
        ".html": lambda: _page(_svg(figure)),
    }


def _png(figure: Any) -> bytes:
    return _render(figure, "png", dpi=figure.dpi)


def _svg(figure: Any) -> bytes:
    return _render(figure, "svg", metadata={"Date": None})


def _render(figure: Any, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    # Equal figures give equal files: no dates, and ids in SVG from a fixed salt. The settings end with the block.
    with import_library("matplotlib").rc_context({"svg.hashsalt": "lens_rome", "pdf.fonttype": 42}):
        figure.savefig(buffer, format=kind, **options)
    return buffer.getvalue()


def _page(svg: bytes) -> bytes:
    head = b'<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>lens_rome</title></head><body>\n'
    # What stands before the element is an XML declaration, which HTML does not allow in a body.
    return head + svg[svg.index(b"<svg") :] + b"</body></html>\n"
