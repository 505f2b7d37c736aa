"""What a probe found, whatever it asks: question, answer, summary, rows, and what is missing."""

import math
from collections.abc import Mapping, Sequence

from lens_rome.studies.pages.document import folded
from lens_rome.studies.pages.elements import Markup, isolated, tag
from lens_rome.studies.pages.forest import Interval, forest_plot
from lens_rome.studies.pages.shares import number
from lens_rome.studies.pages.table import Cell, Head, data_table
from lens_rome.studies.probes.finding import Answer, Finding, Value

_MOST_ROWS = 200


def finding_part(finding: Finding) -> Markup:
    """The question as a heading, the number that answers it, and all behind it."""
    parts = [tag("h3", finding.question, dir="auto"), _answer(finding.answer)]
    if finding.summary:
        parts += [*_chart(finding), _table(finding.summary, "Summary")]
    if finding.rows:
        parts.append(_rows(finding))
    if finding.missing:
        listed = (tag("li", tag("b", isolated(each.case)), ": ", isolated(each.reason)) for each in finding.missing)
        parts.append(tag("p", "Missing, and why:", class_="missing"))
        parts.append(tag("ul", *listed, class_="missing"))
    return tag("div", *parts, class_="finding", data_probe=finding.probe)


def _answer(answer: Answer) -> Markup:
    cases = f"{answer.n} case{'s' * (answer.n != 1)}"
    if math.isnan(answer.low) or math.isnan(answer.high):
        interval = f"{cases}; no interval can be told" + (" of one" if answer.n == 1 else "")
    else:
        interval = f"95% interval {number(answer.low)} to {number(answer.high)}; {cases}"
    figure = tag("p", tag("b", number(answer.value)), " ", isolated(answer.name), f" ({interval})", class_="figure")
    return tag("div", figure, tag("p", isolated(answer.reading)))


def _rows(finding: Finding) -> Markup:
    n = len(finding.rows)
    cut = f", the first {_MOST_ROWS} of {n:,}; the saved finding has all" if n > _MOST_ROWS else ""
    table = _table(finding.rows[:_MOST_ROWS], f"Every prompt, target and phase{cut}")
    return folded(f"All {n:,} row{'s' * (n != 1)}", table)


def _table(rows: Sequence[Mapping[str, Value]], caption: str) -> Markup:
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


def _chart(finding: Finding) -> list[Markup]:
    """The summary's numbers with their intervals, where it has them."""
    lines = []
    for row in finding.summary:
        mean = _mean(row)
        if mean is None or not math.isfinite(mean):
            continue
        low, high = (_float(row.get(end)) for end in ("low", "high"))
        label = ", ".join(str(value) for value in row.values() if isinstance(value, str) and value)
        lines.append(Interval(label or finding.probe, mean, low, high, number(mean)))
    if not lines:
        return []
    caption = "Means with 95% intervals, in the units of the table below"
    return [forest_plot({f"Summary: {finding.probe}": lines}, caption=caption, percent=False)]


def _mean(row: Mapping[str, Value]) -> float | None:
    """The number of a summary row that its `low` and `high` belong to."""
    if "low" not in row or "high" not in row:
        return None
    names = [name for name in ("mean", "value", "share", "ratio") if name in row]
    if names:
        return _float(row[names[0]])
    low, high = _float(row["low"]), _float(row["high"])
    found = (_float(value) for name, value in row.items() if name not in ("low", "high"))
    return next((value for value in found if low <= value <= high), None)


def _float(value: Value) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
