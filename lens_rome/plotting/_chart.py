"""What a chart of lines or bars over layers shows, before any plotting library is involved."""

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
    """As matplotlib names it."""
    line: str = "-"
    """As matplotlib names it."""
    hatch: str = ""
    """Of bars, as matplotlib names it."""


@dataclass(frozen=True)
class Series:
    """One line, or one bar a layer."""

    name: str
    layers: Float[np.ndarray, " point"]
    values: Float[np.ndarray, " point"]
    low: Float[np.ndarray, " point"]
    """Lower end of the interval; NaN for none."""
    high: Float[np.ndarray, " point"]

    @property
    def has_interval(self) -> Float[np.ndarray, " point"]:
        """1 where both ends of the interval are known, else 0."""
        return (np.isfinite(self.low) & np.isfinite(self.high)).astype(float)


@dataclass(frozen=True)
class ChartPanel:
    """One pair of axes."""

    title: str
    series: list[Series]
    ticks: list[int]
    y_caption: str | None = None
    """Of its own scale; None where all panels share the scale of the chart."""
    log: bool = False
    """Whether its own scale is logarithmic; values must be above 0 then."""
    y_range: tuple[float, float] | None = None
    """Of its own scale; None for as much as is needed."""


@dataclass(frozen=True)
class Chart:
    """Panels side by side that share the scale of their values, unless each panel has a `y_caption`."""

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

    def bar_places(self, series: Series) -> Float[np.ndarray, " point"]:
        """Middles of a series' bars: each name keeps its place beside the others, also where those are missing."""
        slot = list(self.styles).index(series.name)
        return series.layers + (slot - (len(self.styles) - 1) / 2) * self.bar_width

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
        return BAR_GROUP / len(self.styles)

    @property
    def has_legend(self) -> bool:
        """Whether there is more than one thing to tell apart."""
        return len(self.styles) > 1
