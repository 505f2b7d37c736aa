"""Numbers of layers and tokens as colours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lens_rome.studies.pages.elements import Markup, join, tag

_ROW, _FOOT = 22, 34  # pixels
_GUTTER = 30
"""Percent of the width that the names of the rows take."""
_LONGEST = 13  # characters of a row's name


@dataclass(frozen=True)
class HeatRow:
    """One line of a heat map."""

    label: str
    values: Sequence[float]
    """From left to right; NaN for a cell that is not known."""
    strong: bool = False
    """Whether its name stands out."""


def heat_map(
    rows: Sequence[HeatRow], columns: Sequence[str], *, caption: str, axis: str, told: str, top: float, unit: str
) -> Markup:
    """A picture with a name for each row and each column that has one; each cell tells its number where the pointer
    rests, and the largest has a frame.

    Args:
        columns: names below the columns; empty for none.
        axis: what the columns are.
        told: what the picture shows, for those who do not see it.
        top: the number of the full colour, of either sign; several pictures can share one.
        unit: of the numbers as the cells tell them.
    """
    tall = _ROW * len(rows)
    best = max(
        ((value, y, x) for y, row in enumerate(rows) for x, value in enumerate(row.values) if math.isfinite(value)),
        default=(0.0, -1, -1),
    )
    cells = [
        _cell(row, value, y, x, len(columns), axis=axis, column=str(x), top=top, unit=unit)
        for y, row in enumerate(rows)
        for x, value in enumerate(row.values)
        if math.isfinite(value)
    ]
    if best[0] > 0:
        cells.append(tag("rect", **_box(best[1], best[2], len(columns)), class_="best"))
    frame = tag("rect", x=f"{_GUTTER}%", y=0, width=f"{100 - _GUTTER}%", height=tall, class_="frame")
    picture = tag(
        "svg",
        tag("title", caption),
        tag("desc", told),
        frame,
        *cells,
        *(_row_name(row, y) for y, row in enumerate(rows)),
        *_column_names(columns, axis, tall),
        height=tall + _FOOT,
        role="img",
    )
    return tag("figure", tag("figcaption", caption), picture, class_="heat-map")


def heat_legend(top: float, unit: str, *, cold: bool) -> Markup:
    """Which colour is how much; `cold` where there are numbers below 0."""
    steps = 8
    shades = [(share / steps, "warm") for share in range(1, steps + 1)]
    if cold:
        shades = [*((share, "cold") for share, _ in reversed(shades)), *shades]
    width = 100 / len(shades)
    bars = [
        tag("rect", x=f"{width * x:.3f}%", y=0, width=f"{width:.3f}%", height="100%", class_=kind,
            fill_opacity=f"{share:.3f}")
        for x, (share, kind) in enumerate(shades)
    ]  # fmt: skip
    low = f"\N{MINUS SIGN}{top:.3g}" if cold else "0"
    ends = tag("span", low), tag("svg", *bars, aria_hidden="true"), tag("span", f"{top:.3g} {unit}")
    return tag("div", *ends, class_="heat-legend")


def _box(y: int, x: int, columns: int) -> dict[str, str | int]:
    wide = (100 - _GUTTER) / columns
    return {"x": f"{_GUTTER + wide * x:.3f}%", "y": _ROW * y, "width": f"{wide:.3f}%", "height": _ROW}


def _cell(
    row: HeatRow, value: float, y: int, x: int, columns: int, *, axis: str, column: str, top: float, unit: str
) -> Markup:
    share = min(abs(value) / top, 1.0) if top > 0 else 0.0
    told = tag("title", f"“{row.label}”, {axis} {column}: {value:+.3g} {unit}")
    kind = "warm" if value >= 0 else "cold"
    return tag("rect", told, **_box(y, x, columns), class_=kind, fill_opacity=f"{share:.3f}")


def _row_name(row: HeatRow, y: int) -> Markup:
    label = row.label if len(row.label) <= _LONGEST else row.label[: _LONGEST - 1] + "…"
    kind = "subject" if row.strong else None
    return tag("text", label, x=f"{_GUTTER - 2}%", y=_ROW * y + 15, text_anchor="end", class_=kind)


def _column_names(columns: Sequence[str], axis: str, tall: int) -> list[Markup]:
    wide = (100 - _GUTTER) / len(columns)
    names = [
        tag("text", name, x=f"{_GUTTER + wide * (x + 0.5):.3f}%", y=tall + 14, text_anchor="middle")
        for x, name in enumerate(columns)
        if name
    ]
    middle = f"{_GUTTER + (100 - _GUTTER) / 2}%"
    return [join(names), tag("text", axis, x=middle, y=tall + 30, text_anchor="middle")]
