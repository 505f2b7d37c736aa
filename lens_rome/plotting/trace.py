"""`plot_trace`: the heat map of a causal trace, as people know it from the ROME paper (figure 1)."""

from typing import Literal, overload

from lens_rome.plotting._figure import Figure, MplFigure, PlotError, PlotlyFigure
from lens_rome.plotting._picture import Results, make_picture
from lens_rome.plotting._trace_matplotlib import draw_matplotlib
from lens_rome.plotting._trace_plotly import draw_plotly


@overload
def plot_trace(results: Results, *, backend: Literal["matplotlib"] = "matplotlib") -> MplFigure: ...
@overload
def plot_trace(results: Results, *, backend: Literal["plotly"]) -> PlotlyFigure: ...
def plot_trace(results: Results, *, backend: str = "matplotlib") -> Figure:
    """Heat map of a trace: tokens from top to bottom (`*` on the subject), layers left to right, p(answer) as colour.

    The palest colour is the corrupted probability, the darkest the largest cell of the panel: colours of two panels
    are not comparable, their colour bars are. Grey cells were not traced.

    Args:
        results: one result, or up to three of the same prompt, usually of the kinds `resid`, `mlp`, `attn`. The keys of
            a mapping that are not kinds (such as `"after the edit"`) are put before the titles.
        backend: `"matplotlib"` for files on paper, `"plotly"` for an interactive page that shows each cell's numbers.

    Raises:
        PlotError: nothing to draw, more than three results, results of different prompts, or an unknown backend.
        MissingLibraryError: the library is not installed.

    Reference: ROME, https://arxiv.org/abs/2202.05262, figure 1.
    """
    picture = make_picture(results)
    if backend == "matplotlib":
        return draw_matplotlib(picture)
    if backend == "plotly":
        return draw_plotly(picture)
    raise PlotError(f"unknown backend {backend!r}; use 'matplotlib' or 'plotly'.")
