"""`plot_heads`: the effect of each attention head, as a grid of heads and layers."""

from typing import Literal, Unpack, overload

import numpy as np

from lens_rome.plotting._draw import draw
from lens_rome.plotting._figure import Figure, Frame, MplFigure, PlotlyFigure
from lens_rome.plotting._frames import Needs, check_frame, layer_range, over_layers
from lens_rome.plotting._heat import Picture, effects_panel, two_sided
from lens_rome.plotting._labels import titled, visible
from lens_rome.plotting._words import Words


@overload
def plot_heads(
    effects: Frame, *, backend: Literal["matplotlib"] = "matplotlib", **words: Unpack[Words]
) -> MplFigure: ...
@overload
def plot_heads(effects: Frame, *, backend: Literal["plotly"], **words: Unpack[Words]) -> PlotlyFigure: ...
def plot_heads(
    effects: Frame, *, title: str | None = None, measure: str = "p(answer)", backend: str = "matplotlib"
) -> Figure:
    """Effect of each attention head: heads from top to bottom, layers left to right.

    White is no effect, blue above and red below zero, both to the size of the largest effect of either sign. Grey cells
    have no value. The three largest are named above the picture.

    Args:
        effects: columns `layer`, `head`, `effect` (change of what was measured).
        title: what was done to the heads, e.g. `"restored at the last token"`; put after the statement.
        measure: what the effects are changes of, with its unit, e.g. `"logit difference"`.
        backend: `"matplotlib"` or `"plotly"`.

    Raises:
        PlotError: missing columns, no rows or values, two rows for one head, values that are not numbers, or an unknown
            backend.
        MissingLibraryError: the library is not installed.
    """
    key = ("layer", "head")
    frame = check_frame(effects, Needs("plot_heads", key, ("effect",), key, "effect", ("layer", "head")))
    heads, layers = list(range(int(frame["head"].max()) + 1)), layer_range(frame)
    values = over_layers(frame, "head", heads, "effect", layers)
    notes = [_largest(values, layers[0])]
    notes += ["Grey: no value."] if bool(np.isnan(values).any()) else []
    change = f"indirect effect\n(change of {visible(measure)})"
    panel = effects_panel("", values, two_sided(values), change, layers[0])
    statement = titled("Indirect effect of each attention head", title)
    return draw(Picture(statement, notes, [str(head) for head in heads], [panel], row_caption="head"), backend)


def _largest(values: np.ndarray, first: int) -> str:
    sizes = np.nan_to_num(np.abs(values), nan=-1.0)
    order = np.argsort(-sizes, axis=None, kind="stable")[: min(3, int((sizes >= 0).sum()))]
    places = [np.unravel_index(index, values.shape) for index in order]
    named = (
        f"layer\u00a0{first + layer}\u00a0head\u00a0{head}\u00a0({values[head, layer]:+.3f})" for head, layer in places
    )
    return f"Largest: {', '.join(named)}."
