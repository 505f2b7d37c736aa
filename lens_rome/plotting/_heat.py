"""What a heat map shows, before any plotting library is involved: rows of one kind over layers."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from lens_rome.plotting._labels import layer_ticks, visible

COLOURS = {
    "resid": "Purples",
    "resid_pre": "BuPu",
    "resid_mid": "RdPu",
    "mlp": "Greens",
    "post": "BuGn",
    "attn": "Reds",
    "head": "Oranges",
}
"""Colour maps by kind, from pale to dark: the paper's, and near ones for further kinds; names of both libraries."""
PLAIN = "Blues"
"""For anything else."""
DIVERGING = "RdBu"
"""Red below zero, white at zero, blue above: colour-blind people tell the two ends apart."""
_NARROWEST = 0.01
"""Least width of a scale: the total effect below which a trace counts as weak, so that noise does not look like a find.
"""

_SMALL = 0.1
"""Effects of the other sign up to this share of the largest may be drawn like no effect; the colour bar says so."""


@dataclass(frozen=True)
class Scale:
    """The ends of a colour scale, and the map between them."""

    low: float
    high: float
    colours: str


@dataclass(frozen=True)
class Detail:
    """A further number of each cell, shown where one can point at it."""

    name: str
    values: Float[np.ndarray, "row layer"]
    form: str
    """A format specification, such as `.4f`."""


@dataclass(frozen=True)
class Panel:
    """One heat map, ready to draw by any library."""

    title: str
    values: Float[np.ndarray, "row layer"]
    """NaN where there is nothing to show."""
    scale: Scale
    bar: str
    """What the colours are, with the unit: the label of the colour bar."""
    short: str
    """The same in a word or two."""
    caption: str
    """Of the layer axis."""
    first: int = 0
    """The layer of the leftmost column."""
    details: Sequence[Detail] = ()
    names: Sequence[str] = ()
    """Of the columns, where they are no layers."""
    column: str = "layer"
    """What a column is, in a word, where it has no name."""

    @property
    def ticks(self) -> list[int]:
        """Columns to label: all that have names."""
        if self.names:
            return list(range(self.first, self.first + len(self.names)))
        return layer_ticks(self.values.shape[1], self.first)

    @property
    def tick_labels(self) -> list[str]:
        """What stands at the ticks."""
        return [visible(name) for name in self.names] or [str(tick) for tick in self.ticks]

    @property
    def extend(self) -> str:
        """Where cells lie visibly outside the scale: `"min"`, `"max"`, `"both"` or `"neither"`."""
        return _outside(self.values, self.scale)


@dataclass(frozen=True)
class Picture:
    """One to three panels over the same rows."""

    title: str
    notes: list[str]
    rows: list[str]
    """Labels of the rows, top to bottom."""
    panels: list[Panel]
    is_bold: list[bool] = field(default_factory=list[bool])
    """Rows whose labels are bold; empty for none."""
    row_caption: str = ""
    row_characters: int = 44
    """Longer labels lose their middle."""

    @property
    def n_layers(self) -> int:
        """Columns of the widest panel."""
        return max(panel.values.shape[1] for panel in self.panels)

    def is_row_bold(self, row: int) -> bool:
        """Whether the label of that row is bold."""
        return bool(self.is_bold) and self.is_bold[row]


def effects_panel(
    title: str,
    values: Float[np.ndarray, "row layer"],
    scale: Scale,
    bar: str,
    first: int,
    details: Sequence[Detail] = (),
) -> Panel:
    """A heat map of effects over layers. Its colour bar says where cells of the other sign are drawn like no effect."""
    clipped = {
        "min": f"\n(below 0 drawn as 0; lowest {np.nanmin(values, initial=0):+.3f})",
        "max": f"\n(above 0 drawn as 0; highest {np.nanmax(values, initial=0):+.3f})",
    }
    return Panel(
        title, values, scale, bar + clipped.get(_outside(values, scale), ""), "effect", "layer", first, details
    )


def _outside(values: Float[np.ndarray, "row layer"], scale: Scale) -> str:
    margin = 0.01 * (scale.high - scale.low)
    lower = bool(np.nanmin(values, initial=scale.low) < scale.low - margin)
    higher = bool(np.nanmax(values, initial=scale.high) > scale.high + margin)
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get((lower, higher), "neither")


def one_sided(values: Float[np.ndarray, "..."], baseline: float, colours: str, *, falls: bool) -> Scale:
    """Pale at `baseline`, dark at the value farthest from it on the side that matters: below it where `falls`.

    What lies on the other side is drawn like the baseline.
    """
    if falls:
        # Nothing below (a trace that shows nothing) still needs a scale.
        low = min(float(np.nanmin(values, initial=baseline)), baseline - _NARROWEST)
        return Scale(low, baseline, f"{colours}_r")
    high = max(float(np.nanmax(values, initial=baseline)), baseline + _NARROWEST)
    return Scale(baseline, high, colours)


def effects_scale(values: Float[np.ndarray, "..."], colours: str) -> Scale:
    """A scale for effects: pale at 0, dark at the largest of the sign that is the larger.

    With zero in the middle instead where effects of the other sign are not small beside these.
    """
    rise, fall = float(np.nanmax(values, initial=0)), float(np.nanmax(-values, initial=0))
    if min(rise, fall) > max(_SMALL * max(rise, fall), _SMALL * _NARROWEST):
        return two_sided(values)
    return one_sided(values, 0.0, colours, falls=fall > rise)


def two_sided(values: Float[np.ndarray, "..."]) -> Scale:
    """A diverging scale with zero in its middle."""
    reach = max(float(np.nanmax(np.abs(values), initial=0)), _NARROWEST)
    return Scale(-reach, reach, DIVERGING)
