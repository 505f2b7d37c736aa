"""The summary of a finding: pictures of what has one unit, a table, and what its measures are."""

import math
from collections.abc import Iterator, Mapping, Sequence

from lens_rome.studies.pages.document import folded
from lens_rome.studies.pages.elements import Markup, isolated, tag
from lens_rome.studies.pages.forest import Interval, forest_plot
from lens_rome.studies.pages.shares import number
from lens_rome.studies.pages.table import Cell, Head, data_table
from lens_rome.studies.probes.finding import Finding, Value
from lens_rome.studies.probes.measures import Measure, measures_of

_OPEN = 6  # lines of a summary that stand open
_FEWEST = 2  # points of a picture


def summary_parts(finding: Finding) -> list[Markup]:
    """The lines with intervals as pictures, one a unit, all as a table, and a sentence on each measure; long ones are
    folded.
    """
    known = measures_of(finding.probe, finding.summary)
    pictures = [
        forest_plot({f"{finding.probe}, {unit}": lines}, caption=f"Means with 95% intervals ({unit})", percent=False)
        for unit, lines in _by_unit(finding.summary, known).items()
        if len(lines) >= _FEWEST
    ]
    parts = [*pictures, value_table(finding.summary, "Summary"), *_legend(known)]
    n = len(finding.summary)
    return parts if n <= _OPEN else [folded(f"Summary, {n:,} lines", *parts)]


def _legend(known: Mapping[str, Measure]) -> list[Markup]:
    lines = [
        tag("div", tag("dt", name), tag("dd", isolated(f"{each.told} ({each.unit})"))) for name, each in known.items()
    ]
    return [tag("dl", *lines, class_="settings measures")] if lines else []


def _by_unit(summary: Sequence[Mapping[str, Value]], known: Mapping[str, Measure]) -> dict[str, list[Interval]]:
    """The lines that have a mean and both ends of an interval, by the unit of their measure; those whose unit is not
    known are left out.
    """
    found: dict[str, list[Interval]] = {}
    for name, each in _intervals(summary):
        if name in known:
            found.setdefault(known[name].unit, []).append(each)
    return found


def _intervals(summary: Sequence[Mapping[str, Value]]) -> Iterator[tuple[str, Interval]]:
    """Each measure with its line, whose name is all that stands before the mean."""
    one_case = len({row.get("case") for row in summary}) == 1
    for row in summary:
        mean, low, high = (_float(row.get(name)) for name in ("mean", "low", "high"))
        if all(map(math.isfinite, (mean, low, high))):
            told = [
                value if isinstance(value, str) else f"{name} {value}"
                for name, value in row.items()
                if name != "n"
                and not (one_case and name == "case")
                and value not in ("", None)
                and not isinstance(value, float | bool)
            ]
            yield str(row.get("measure")), Interval(", ".join(told), mean, low, high, number(mean))


def value_table(rows: Sequence[Mapping[str, Value]], caption: str) -> Markup:
    """Any rows as a table that can be sorted."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    heads = [Head(name.replace("_", " "), number=_is_numbers(rows, name)) for name in names]
    lines = [[_cell(row.get(name)) for name in names] for row in rows]
    return data_table(heads, lines, caption=caption, sortable=len(rows) > 1)


def _is_numbers(rows: Sequence[Mapping[str, Value]], name: str) -> bool:
    return all(isinstance(row.get(name), int | float | None) and not isinstance(row.get(name), bool) for row in rows)


def _cell(value: Value) -> str | Cell:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return Cell("–", None)
    if isinstance(value, int):
        return Cell(f"{value:,}", float(value))
    if isinstance(value, float):
        return Cell(number(value), value if math.isfinite(value) else None)
    return value


def _float(value: Value) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
