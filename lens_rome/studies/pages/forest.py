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


def forest_plot(groups: Mapping[str, Sequence[Interval]], *, caption: str) -> Markup:
    """A picture of shares, with the figures beside it.

    The axis goes from 0 to 1, further where a mean lies outside; an interval that leaves it is cut there.

    Args:
        groups: lines below their heading.
    """
    means = [line.mean for lines in groups.values() for line in lines]
    axis = _Axis(min(0, *map(math.floor, means)), max(1, *map(math.ceil, means)))
    bodies = [
        tag("tbody", tag("tr", tag("th", name, colspan=3, scope="rowgroup")), *(axis.line(line) for line in lines))
        for name, lines in groups.items()
    ]
    foot = tag("tfoot", tag("tr", tag("td"), tag("td", axis.ticks()), tag("td")))
    return tag("table", tag("caption", caption), *bodies, foot, class_="forest")


@dataclass(frozen=True)
class _Axis:
    low: int
    high: int

    def _place(self, value: float) -> str:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return f"{100 * share:.2f}%"

    def _steps(self) -> list[float]:
        return [self.low + (self.high - self.low) * step / 4 for step in range(5)]

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
        marks = [tag("text", f"{100 * at:.0f}", x=self._place(at), y=14, text_anchor="middle") for at in self._steps()]
        return tag("svg", join(marks), class_="ticks", aria_hidden="true")
