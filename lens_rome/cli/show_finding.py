"""What `lens-rome study limits` prints of a probe."""

import math
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape

from lens_rome.cli.tables import plain_table
from lens_rome.studies.probes import Finding
from lens_rome.studies.probes.finding import Value

_LINES = 16
_NUMBERS = ("mean", "low", "high", "n")


def show_finding(screen: Console, name: str, finding: Finding, lines: Sequence[Mapping[str, Value]]) -> None:
    """The question, its answer, some lines of the summary, and what is missing."""
    screen.print(f"\n[bold]{escape(name)}[/bold]: {escape(finding.question)}", soft_wrap=True)
    screen.print(f"  {escape(str(finding.answer))}", style="green", soft_wrap=True)
    if lines:
        _show_lines(screen, lines[:_LINES])
    if len(lines) > _LINES:
        screen.print(f"  {len(lines) - _LINES} more lines are in the summary.", style="dim", soft_wrap=True)
    if finding.missing:
        first, count = finding.missing[0], len(finding.missing)
        told = f"  {count} without a result of {'its' if count == 1 else 'their'} own, "
        told += f"{'' if count == 1 else 'the first is '}{first.case}: {first.reason}"
        screen.print(escape(told), style="yellow", soft_wrap=True)


def _show_lines(screen: Console, lines: Sequence[Mapping[str, Value]]) -> None:
    words = [column for column in lines[0] if column not in _NUMBERS]
    table = plain_table("", *words, "mean", "95%", "n")
    for column in table.columns[1 : len(words) + 1]:
        column.justify = "left"
    for line in lines:
        told = [escape(_told(line[word])) for word in words]
        low, high = (_told(line[end]) for end in ("low", "high"))
        table.add_row(" ", *told, _told(line["mean"]), f"{low} to {high}" if low and high else "", _told(line["n"]))
    screen.print(table)


def _told(value: Value) -> str:
    """A value as a table has it; nothing for what is not known."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.3g}"
    return "" if value is None else str(value)
