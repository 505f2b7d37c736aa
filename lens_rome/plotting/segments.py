"""`plot_segments`: effects rolled up by segment of the prompt."""

from typing import Any, Literal, Unpack, overload

import numpy as np

from lens_rome.plotting._draw import draw
from lens_rome.plotting._figure import Figure, Frame, MplFigure, PlotError, PlotlyFigure
from lens_rome.plotting._frames import Needs, check_frame, layer_range, over_layers
from lens_rome.plotting._heat import COLOURS, PLAIN, Picture, effects_panel, effects_scale
from lens_rome.plotting._labels import kind_label, titled, visible
from lens_rome.plotting._words import SegmentWords

_STATISTICS = {"mean": "Mean", "max": "Largest"}


@overload
def plot_segments(
    effects: Frame, *, backend: Literal["matplotlib"] = "matplotlib", **words: Unpack[SegmentWords]
) -> MplFigure: ...
@overload
def plot_segments(effects: Frame, *, backend: Literal["plotly"], **words: Unpack[SegmentWords]) -> PlotlyFigure: ...
def plot_segments(
    effects: Frame,
    *,
    statistic: str = "mean",
    kind: str | None = None,
    title: str | None = None,
    measure: str = "p(answer)",
    backend: str = "matplotlib",
) -> Figure:
    """Effect of each segment of a prompt (subject, relation, …) by layer: segments from top to bottom.

    The palest colour is no effect, the darkest the largest one; where most effects are below zero, dark is the lowest.
    Where both signs matter, white is no effect, blue above and red below zero. Grey cells have no value.

    Args:
        effects: columns `segment` (rows appear in the order of the frame), `layer`, `effect` (the mean or the largest
            change over the segment's tokens), `n_tokens` (the same in all rows of a segment).
        statistic: `"mean"` or `"max"`: what `effect` is over the tokens of a segment. A mean of a long segment is small
            where one of its tokens matters; a maximum is large where one is.
        kind: what was restored (`resid`, `mlp`, …), for the colours and the title.
        title: which prompt or facts; put after the statement of what is shown.
        measure: what the effects are changes of, with its unit, e.g. `"log p(answer), nats"`.
        backend: `"matplotlib"` or `"plotly"`.

    Raises:
        PlotError: missing columns, no rows or values, two rows for one cell, a segment of two lengths, an unknown
            statistic or backend, or values that are not numbers.
        MissingLibraryError: the library is not installed.
    """
    frame, segments = _check(effects, statistic)
    layers = layer_range(frame)
    values = over_layers(frame, "segment", list(segments), "effect", layers)
    change = f"indirect effect, {statistic}\n(change of {visible(measure)})"
    colours = COLOURS.get(kind or "", PLAIN)
    panel = effects_panel("", values, effects_scale(values, colours), change, layers[0])
    labels = [f"{visible(str(name))} ({n} token{'s' * (n != 1)})" for name, n in segments.items()]
    notes = ["Grey: no value."] if bool(np.isnan(values).any()) else []
    site = f" of restoring {kind_label(kind)}" if kind else ""
    statement = f"{_STATISTICS[statistic]} indirect effect{site} over the tokens of each segment"
    return draw(Picture(titled(statement, title), notes, labels, [panel]), backend)


def _check(effects: Any, statistic: str) -> tuple[Any, dict[Any, int]]:
    """The frame, if it can be drawn, and each segment's number of tokens, in order of appearance."""
    if statistic not in _STATISTICS:
        raise PlotError(f"unknown statistic {statistic!r}; use 'mean' or 'max'.")
    key = ("segment", "layer")
    check_frame(effects, Needs("plot_segments", key, ("effect", "n_tokens"), key, "effect", ("layer", "n_tokens")))
    lengths: dict[Any, int] = {}
    for name, rows in effects.groupby("segment", sort=False):
        found = sorted(set(rows["n_tokens"].dropna()))
        if len(found) != 1:
            given = " and ".join(f"{n:g}" for n in found) or "no number of"
            raise PlotError(f"the segment {name!r} has {given} tokens. Give each segment one number of tokens.")
        lengths[name] = int(found[0])
    return effects, lengths
