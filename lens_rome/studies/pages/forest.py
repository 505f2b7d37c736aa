"""Means with their intervals, one below the other on one axis."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lens_rome.studies.pages.elements import Markup, join, tag


@dataclass(frozen=True)
class Interval:
    """One line."""

    label: str
    mean: float
    low: float
    """NaN for none."""
    high: float
    shown: str
    """The figure as text."""
    muted: bool = False
    """Whether it stands back, as the unedited model does."""


def forest_plot(groups: Mapping[str, Sequence[Interval]], *, caption: str, percent: bool = True) -> Markup:
    """A picture of numbers, with the figures beside it.

    The axis goes from 0 to 1, further where a mean lies outside; an interval that leaves it is cut there.

    Args:
        groups: lines below their heading; their means are finite.
        percent: whether the numbers are shares, which the axis shows in percent. The axis of other numbers reaches
            their intervals' ends.
    """
    lines = [line for each in groups.values() for line in each]
    reached = [line.mean for line in lines]
    if not percent:
        reached += [end for line in lines for end in (line.low, line.high) if math.isfinite(end)]
    if percent:
        axis = _Axis(min(0, *map(math.floor, reached)), max(1, *map(math.ceil, reached)), 4, 100)
    else:
        axis = _round_axis(min(0.0, *reached), max(0.0, *reached))
    bodies = [
        tag("tbody", tag("tr", tag("th", name, colspan=3, scope="rowgroup")), *(axis.line(line) for line in lines))
        for name, lines in groups.items()
    ]
    foot = tag("tfoot", tag("tr", tag("td"), tag("td", axis.ticks()), tag("td")))
    return tag("table", tag("caption", caption), *bodies, foot, class_="forest")


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    steps: int
    scale: int

    def _place(self, value: float) -> str:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return f"{100 * share:.2f}%"

    def _steps(self) -> list[float]:
        return [self.low + (self.high - self.low) * step / self.steps for step in range(self.steps + 1)]

    def _shown(self, at: float) -> str:
        return f"{self.scale * at:.6g}".replace("-", "\N{MINUS SIGN}")

    def line(self, line: Interval) -> Markup:
        """Name, picture and figure."""
        parts = [
            tag("line", x1=self._place(at), x2=self._place(at), y1="0", y2="100%", class_="grid")
            for at in self._steps()
        ]
        if math.isfinite(line.low) and math.isfinite(line.high):
            ends = {"x1": self._place(line.low), "x2": self._place(line.high)}
            parts.append(tag("line", **ends, y1="50%", y2="50%", class_="interval"))
        parts.append(tag("circle", cx=self._place(line.mean), cy="50%", r=5))
        picture = tag("svg", *parts, aria_hidden="true")
        cells = [tag("th", line.label, scope="row"), tag("td", picture), tag("td", line.shown, class_="number")]
        return tag("tr", *cells, class_="muted" if line.muted else None)

    def ticks(self) -> Markup:
        """The numbers below."""
        marks = [tag("text", self._shown(at), x=self._place(at), y=14, text_anchor="middle") for at in self._steps()]
        return tag("svg", join(marks), class_="ticks", aria_hidden="true")


def _round_axis(low: float, high: float) -> _Axis:
    """An axis with round numbers at about four steps, that holds both ends."""
    rough = (high - low) / 4 or 0.25
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return _Axis(first * step, max(last, first + 1) * step, max(last, first + 1) - first, 1)
