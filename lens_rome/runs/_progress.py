"""The progress line of a run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def bar(what: str, done: int, total: int, *, share: str, shown: bool) -> Iterator[Callable[[int], None]]:
    """A progress line on stderr; call what it gives with the number of ids that are done since. `share` says whose."""
    columns = (
        TextColumn(what + ": {task.completed:.0f} of {task.total:.0f}" + (share and f" ({share})")),
        BarColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not shown, transient=True) as line:
        task = line.add_task("", total=total, completed=done)
        yield lambda count: line.advance(task, count)
