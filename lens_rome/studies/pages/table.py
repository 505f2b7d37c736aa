"""Tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from lens_rome.studies.pages.elements import Markup, join, tag, text


@dataclass(frozen=True)
class Head:
    """The head of a column."""

    name: str
    told: str = ""
    """What it is, shown where the pointer rests."""
    number: bool = True
    """Whether numbers stand below it: to the right, and sorted as such."""


@dataclass(frozen=True)
class Cell:
    """A cell that is sorted by something else than what it shows."""

    shown: str
    value: float | None
    """None sorts last."""


def data_table(
    heads: Sequence[Head],
    rows: Sequence[Sequence[str | Cell]],
    *,
    caption: str,
    above: Sequence[tuple[str, int]] = (),
    sortable: bool = False,
    muted: frozenset[int] = frozenset(),
) -> Markup:
    """A table in a box that scrolls by itself where the page is narrow. The first cell of a row is its name.

    Args:
        above: headings over several columns, with how many.
        sortable: whether a click on a head sorts the rows.
        muted: rows that stand back.
    """
    lines = [tag("tr", *(_head(head, sortable) for head in heads))]
    if above:
        lines.insert(0, tag("tr", *(_span(name, columns) for name, columns in above)))
    body = [
        tag("tr", *(_cell(cell, head, place) for place, (cell, head) in enumerate(zip(row, heads, strict=True))),
            class_="muted" if line in muted else None)
        for line, row in enumerate(rows)
    ]  # fmt: skip
    table = tag(
        "table",
        tag("caption", caption),
        tag("thead", *lines),
        tag("tbody", join(body, "\n")),
        class_="data sortable" if sortable else "data",
    )
    return tag("div", table, class_="scroll", tabindex=0, role="region", aria_label=caption)


def head_text(head: Head) -> Markup:
    """The name, with what it is where the pointer rests."""
    return tag("abbr", head.name, title=head.told) if head.told else text(head.name)


def _head(head: Head, sortable: bool) -> Markup:
    shown = head_text(head)
    inner = tag("button", shown, type="button") if sortable else shown
    return tag("th", inner, scope="col", class_="number" if head.number else None)


def _span(name: str, columns: int) -> Markup:
    if not name:
        return tag("td", colspan=columns)
    return tag("th", name, colspan=columns, scope="colgroup", class_="span")


def _cell(cell: str | Cell, head: Head, place: int) -> Markup:
    shown, value = (cell.shown, cell.value) if isinstance(cell, Cell) else (cell, None)
    kind = "number" if head.number else None
    data = repr(value) if value is not None else None
    if place == 0:
        return tag("th", shown, scope="row", class_=kind, data_value=data)
    return tag("td", shown, class_=kind, data_value=data)
