"""What a chart of lines, points or bars over layers shows, before any plotting library is involved."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from lens_rome.plotting._labels import wrap

_CAPTION_CHARACTERS = 34
BAR_GROUP = 0.84
"""Share of a layer's width that its bars take together."""


@dataclass(frozen=True)
class Style:
    """How one series is told from the others: colour and at least one further cue."""

    colour: str
    marker: str = "o"
    """As matplotlib names it; empty for a line without points."""
    line: str = "-"
    """As matplotlib names it; empty for points without a line."""
    hatch: str = ""
    """Of bars, as matplotlib names it."""
    opacity: float = 1.0
    """Of points, so that many on one place look darker than one."""


LOOKS = (
    Style("#d55e00", "o", "-"),
    Style("#0072b2", "s", "--"),
    Style("#009e73", "^", "-."),
    Style("#cc79a7", "D", ":"),
    Style("#e69f00", "v", "-"),
    Style("#56b4e9", "P", "--"),
)
"""For series without a look of their own: colours that colour-blind people can tell apart (Okabe and Ito), and a
further cue each.
"""


@dataclass(frozen=True)
class Series:
    """One line, one cloud of points, or one bar a layer."""

    name: str
    layers: Float[np.ndarray, " point"]
    values: Float[np.ndarray, " point"]
    low: Float[np.ndarray, " point"]
    """Lower end of the interval; NaN for none."""
    high: Float[np.ndarray, " point"]
    base: Float[np.ndarray, " point"] | None = None
    """Where bars begin; None for 0."""
    texts: Sequence[str] = ()
    """What is said of each point where one can point at it, instead of its numbers; may have several lines."""
    written: Sequence[str] = ()
    """What stands above each bar."""

    @property
    def bases(self) -> Float[np.ndarray, " point"]:
        """Where bars begin."""
        return np.zeros_like(self.values) if self.base is None else self.base

    @property
    def has_interval(self) -> Float[np.ndarray, " point"]:
        """1 where both ends of the interval are known, else 0."""
        return (np.isfinite(self.low) & np.isfinite(self.high)).astype(float)


@dataclass(frozen=True)
class ChartPanel:
    """One pair of axes."""

    title: str
    series: list[Series]
    ticks: Sequence[int | float]
    y_caption: str | None = None
    """Of its own scale; None where all panels share the scale of the chart."""
    log: bool = False
    """Whether its own scale is logarithmic; values must be above 0 then."""
    y_range: tuple[float, float] | None = None
    """Of the scale; None for as much as is needed."""
    tick_labels: Sequence[str] | None = None
    """What stands at the ticks, in a line or more each; None for their numbers."""


@dataclass(frozen=True)
class Chart:
    """Panels side by side, in rows of `columns`, that share the scale of their values, unless each panel has a
    `y_caption`.
    """

    title: str
    notes: list[str]
    panels: list[ChartPanel]
    styles: dict[str, Style]
    """By name of series, in the order of the legend; one name needs no legend."""
    y_caption: str
    """May have several lines."""
    value_name: str
    """What a value is, in a word or two."""
    bars: bool = False
    x_caption: str = "layer"
    x_name: str = "layer"
    """What a place is, in a word or two."""
    number: str = "+.4f"
    """How a value is written."""
    panel_width: float = 3.9
    """Inches."""
    x_range: tuple[float, float] | None = None
    shade: tuple[float, float] | None = None
    """Layers, both ends included, drawn on grey ground."""
    rule: float | None = None
    """A layer marked by a dashed line."""
    counts: bool = field(default=False)
    """Whether values are counts, so that the axis has whole numbers only."""
    columns: int | None = None
    """Panels in a row; None for all of them."""
    stacks: Sequence[Sequence[str]] = ()
    """Names whose bars stand on one another; none for each in its own place."""

    @property
    def n_columns(self) -> int:
        """Panels in the first row."""
        return len(self.panels) if self.columns is None else min(self.columns, len(self.panels))

    @property
    def n_rows(self) -> int:
        """Rows of panels."""
        return math.ceil(len(self.panels) / self.n_columns)

    def is_lowest(self, index: int) -> bool:
        """Whether no panel stands below that one."""
        return index + self.n_columns >= len(self.panels)

    def bar_places(self, series: Series) -> Float[np.ndarray, " point"]:
        """Middles of a series' bars: each name keeps its place beside the others, also where those are missing."""
        slot = next(slot for slot, names in enumerate(self._slots) if series.name in names)
        return series.layers + (slot - (len(self._slots) - 1) / 2) * self.bar_width

    @property
    def _slots(self) -> Sequence[Sequence[str]]:
        return self.stacks or [(name,) for name in self.styles]

    @property
    def own_scales(self) -> bool:
        """Whether each panel has a scale of its own."""
        return all(panel.y_caption is not None for panel in self.panels)

    @property
    def y_lines(self) -> list[str]:
        """The caption of the values, in lines that fit the height of the axes."""
        return [part for line in self.y_caption.split("\n") for part in wrap(line, _CAPTION_CHARACTERS).split("\n")]

    @property
    def bar_width(self) -> float:
        """Width of a bar, in layers."""
        return BAR_GROUP / len(self._slots)

    @property
    def has_legend(self) -> bool:
        """Whether there is more than one thing to tell apart."""
        return len(self.styles) > 1


def grid_columns(n_panels: int) -> int:
    """Panels in a row, so that a figure is wider than high but no wider than a page can show.

    >>> [grid_columns(n) for n in (1, 3, 4, 5, 6, 8, 14)]
    [1, 3, 2, 3, 3, 4, 5]
    """
    if n_panels <= 3:
        return max(1, n_panels)
    return next(columns for limit, columns in ((4, 2), (6, 3), (8, 4), (n_panels, 5)) if n_panels <= limit)
