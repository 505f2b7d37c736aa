"""What `lens-rome evaluate` prints."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.markup import escape

from lens_rome.evaluation import EvalReport, ReportError
from lens_rome.runs import Run


def show_report(screen: Console, report: EvalReport, *, unedited: bool) -> None:
    """The papers' table with intervals, and what the edits took."""
    try:
        table = report.paper_table(unedited=unedited)
    except ReportError:  # Columns that compare the two models have no row of one of them.
        table = report.paper_table()
    screen.print(escape(table), soft_wrap=True)
    screen.print(
        "In percent (GE in hundredths of a bit, NKL in nats), with half widths of 95% intervals.",
        style="dim",
        soft_wrap=True,
    )
    cases = report.cases
    seconds = [case.seconds for case in cases if case.seconds is not None]
    if seconds:
        screen.print(f"{fmean(seconds):.2f} seconds an edit, by the clock.", style="dim", soft_wrap=True)
    refused = [case for case in cases if case.refused]
    if refused:
        told = f"{len(refused)} of {len(cases)} records the editor refused; they were scored without an edit"
        screen.print(f"{told}, case {refused[0].case_id}: {escape(refused[0].refused)}", style="yellow", soft_wrap=True)


def show_progress(screen: Console, run: Run, out: Path) -> bool:
    """How much of a run is done and what failed. Returns whether there is nothing left to do."""
    total, done, errors = run.manifest.n_ids, len(run.done), run.errors
    left = total - done - len(errors)
    screen.print(f"{done} of {total} records are done, in {out}.", soft_wrap=True)
    if errors:
        name, error = next(iter(errors.items()))
        hint = "--retry-errors tries them again, and --refused unedited beside it scores those without an edit that "
        told = f"{len(errors)} failed, case {name}: {error}"
        screen.print(f"{escape(told)}\n{hint}the editor refuses.", style="yellow", soft_wrap=True)
    if left:
        screen.print(f"{left} are left: the same command goes on, on any number of workers.", soft_wrap=True)
    return not left


def summed_up(messages: Sequence[tuple[type[Warning], str]]) -> list[str]:
    """The first warning of each kind, and how many more there were: one a record would bury the rest."""
    kinds: dict[type[Warning], list[str]] = {}
    for kind, message in messages:
        kinds.setdefault(kind, []).append(message)
    return [
        found[0] if len(found) == 1 else f"{found[0]} ({len(found) - 1} more warnings of this kind.)"
        for found in kinds.values()
    ]


@contextmanager
def one_of_each_kind() -> Iterator[None]:
    """Warnings of records or cases: the first of each kind, with the number of the others."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            told = [(each.category, str(each.message)) for each in caught]
    kinds = dict.fromkeys(kind for kind, _ in told)
    for kind, message in zip(kinds, summed_up(told), strict=True):
        warnings.warn(message, kind, stacklevel=2)
