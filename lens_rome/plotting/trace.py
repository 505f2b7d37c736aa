"""`plot_trace`: the heat map of a causal trace, as people know it from the ROME paper (figure 1)."""

from typing import Literal, overload

from lens_rome.plotting._draw import draw
from lens_rome.plotting._figure import Figure, MplFigure, PlotlyFigure
from lens_rome.plotting._picture import Results, make_picture


@overload
def plot_trace(results: Results, *, backend: Literal["matplotlib"] = "matplotlib") -> MplFigure: ...
@overload
def plot_trace(results: Results, *, backend: Literal["plotly"]) -> PlotlyFigure: ...
def plot_trace(results: Results, *, backend: str = "matplotlib") -> Figure:
    """Heat map of a trace: tokens from top to bottom (`*` on the subject), layers left to right, the score as colour.

    The palest colour is the score of the run that states are put into, the darkest the cell farthest from it on the
    side that matters. Where clean states are restored that is the corrupted score and the largest cell; where states
    are corrupted or zeroed, the clean score and the smallest cell; for a divergence from the clean run the other way
    round. Colours of two panels are not comparable, their colour bars are. Grey cells were not traced. A `†` marks
    corrupted tokens where these are not the subject's.

    Args:
        results: one result, or up to three of the same prompt, usually of the kinds `resid`, `mlp`, `attn`. The keys of
            a mapping that are not kinds (such as `"after the edit"`) are put before the titles.
        backend: `"matplotlib"` for files on paper, `"plotly"` for an interactive page that shows each cell's numbers.

    Raises:
        PlotError: nothing to draw, more than three results, results of different prompts, or an unknown backend.
        MissingLibraryError: the library is not installed.

    Reference: ROME, https://arxiv.org/abs/2202.05262, figure 1.
    """
    return draw(make_picture(results), backend)
