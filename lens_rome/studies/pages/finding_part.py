"""What a probe found, whatever it asks: question, answer, summary, rows, and what is missing."""

import math
from collections.abc import Iterator, Mapping, Sequence

from lens_rome.studies.one_edit import NOT_ASKED
from lens_rome.studies.pages.document import folded
from lens_rome.studies.pages.elements import Markup, isolated, tag, text
from lens_rome.studies.pages.forest import Interval, forest_plot
from lens_rome.studies.pages.shares import number
from lens_rome.studies.pages.table import Cell, Head, data_table
from lens_rome.studies.probes.finding import Answer, Finding, Value

_MOST_ROWS = 200
_OPEN = 6  # lines of a summary that stand open
_SCORE = (
    "S is the harmonic mean of three shares, of 1 at most: of the edited prompt and of its paraphrases where the new "
    "object is the likelier one, and of the neighbours where their own is."
)
_NOTES = {"layers": _SCORE, "prefixes": _SCORE}
"""What a reader needs to know beside the sentence of a probe."""


def finding_part(finding: Finding) -> Markup:
    """The question as a heading, the number that answers it, and all behind it."""
    heading = tag("h3", finding.question, dir="auto")
    if not finding.rows and finding.missing:
        told = "Not answered: " if finding.answer.name == NOT_ASKED else "Cannot be told: "
        reasons = (tag("p", told, isolated(each.reason), class_="missing") for each in finding.missing)
        return tag("div", heading, *reasons, class_="finding", data_probe=finding.probe)
    parts = [heading, _answer(finding.answer)]
    if finding.probe in _NOTES:
        parts.append(tag("p", _NOTES[finding.probe], class_="about"))
    if finding.summary:
        parts += _summary(finding)
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
    return tag("div", figure, tag("p", _with_code(answer.reading)))


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


def _summary(finding: Finding) -> list[Markup]:
    """The lines with intervals as a picture, and all as a table; long ones are folded."""
    lines = list(_intervals(finding.summary))
    caption = "Means with 95% intervals, in the units of the summary"
    parts = [forest_plot({f"Summary: {finding.probe}": lines}, caption=caption, percent=False)] if lines else []
    parts.append(_table(finding.summary, "Summary"))
    n = max(len(lines), len(finding.summary))
    return parts if n <= _OPEN else [folded(f"Summary, {n:,} lines", *parts)]


def _intervals(summary: Sequence[Mapping[str, Value]]) -> Iterator[Interval]:
    """The lines that have a mean and both ends of an interval; their names are all that stands before the mean."""
    one_case = len({row.get("case") for row in summary}) == 1
    for row in summary:
        mean, low, high = _mean(row), *(_float(row.get(end)) for end in ("low", "high"))
        if all(map(math.isfinite, (mean, low, high))):
            told = [
                value if isinstance(value, str) else f"{name} {value}"
                for name, value in row.items()
                if name != "n"
                and not (one_case and name == "case")
                and value not in ("", None)
                and not isinstance(value, float | bool)
            ]
            yield Interval(", ".join(told), mean, low, high, number(mean))


def _with_code(sentence: str) -> Markup:
    """A sentence with names between backticks as code."""
    parts = sentence.split("`")
    if len(parts) % 2 == 0:
        return isolated(sentence)
    return tag("bdi", *(tag("code", part) if place % 2 else text(part) for place, part in enumerate(parts)))


def _mean(row: Mapping[str, Value]) -> float:
    """The number of a line that its `low` and `high` belong to; NaN where there is none."""
    name = next((name for name in ("mean", "value", "share", "ratio") if name in row), None)
    return math.nan if name is None else _float(row[name])


def _float(value: Value) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
