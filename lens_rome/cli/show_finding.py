"""What `lens-rome study limits` prints of a probe."""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape

from lens_rome.studies.probes import Finding
from lens_rome.studies.probes.finding import Value

_LINES = 16
_NUMBERS = ("mean", "95%", "n")


def show_finding(
    screen: Console, name: str, finding: Finding, lines: Sequence[Mapping[str, Value]], *, table: str = ""
) -> None:
    """The question, its answer, the first lines of the summary, and what is missing.

    Args:
        table: where the whole summary is; empty for nowhere.
    """
    screen.print(f"\n[bold]{escape(name)}[/bold]: {escape(finding.question)}", soft_wrap=True)
    screen.print(f"  {escape(str(finding.answer))}", style="green", soft_wrap=True)
    if lines:
        _show_lines(screen, [_cells(line) for line in lines[:_LINES]])
    if len(lines) > _LINES:
        where = f"the whole summary is in {table}" if table else "--out FOLDER writes the whole summary"
        _print(screen, f"{len(lines) - _LINES} more such lines are not shown; {where}.", "dim")
    if finding.missing:
        first, count = finding.missing[0], len(finding.missing)
        told = f"  {count} without a result of {'its' if count == 1 else 'their'} own, "
        told += f"{'' if count == 1 else 'the first is '}{first.case}: {first.reason}"
        screen.print(escape(told), style="yellow", soft_wrap=True)


def _cells(line: Mapping[str, Value]) -> dict[str, str]:
    """A line of the summary as texts: its words, then its numbers."""
    words = {name: _told(value) for name, value in line.items() if name not in ("mean", "low", "high", "n")}
    low, high = (_told(line[end]) for end in ("low", "high"))
    interval = f"{low} to {high}" if low and high else ""
    return {**words, "mean": _told(line["mean"]), "95%": interval, "n": _told(line["n"])}


def _show_lines(screen: Console, lines: Sequence[Mapping[str, str]]) -> None:
    """A table in which no cell is broken: words that all lines share are said once, and where lines are too wide for
    the screen their longest words stand above them.
    """
    words = [name for name in lines[0] if name not in _NUMBERS]
    shared = [name for name in words if len(lines) > 1 and len({line[name] for line in lines}) == 1]
    inside, above = [name for name in words if name not in shared], list[str]()
    widths = {name: max(map(cell_len, (name, *(line[name] for line in lines)))) for name in lines[0]}
    # Two spaces before each column, and two where something stands above.
    while len(inside) > 1 and sum(widths[name] + 2 for name in (*inside, *_NUMBERS)) + 2 * bool(above) > screen.width:
        longest = max(inside, key=lambda name: widths[name])
        inside.remove(longest)
        above.append(longest)
    told = [f"{name} {lines[0][name]}" for name in shared if lines[0][name]]
    if told:
        _print(screen, f"of all lines: {', '.join(told)}", "dim")
    indent = "  " if above else ""
    _print(screen, indent + _row({name: name for name in lines[0]}, inside, widths), "bold")
    for heading, group in groupby(lines, key=lambda line: ", ".join(line[name] for name in above if line[name])):
        if heading:
            _print(screen, heading, "italic")
        for line in group:
            _print(screen, indent + _row(line, inside, widths))


def _row(line: Mapping[str, str], words: Sequence[str], widths: Mapping[str, int]) -> str:
    cells = [line[name] + " " * (widths[name] - cell_len(line[name])) for name in words]
    cells += [" " * (widths[name] - cell_len(line[name])) + line[name] for name in _NUMBERS]
    return "  ".join(cells)


def _print(screen: Console, text: str, style: str = "") -> None:
    screen.print(f"  {escape(text)}", style=style, soft_wrap=True)


def _told(value: Value) -> str:
    """A value as a table has it; nothing for what is not known."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.3g}"
    return "" if value is None else str(value)
