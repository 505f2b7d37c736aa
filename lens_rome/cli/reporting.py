"""How a command speaks: results on stdout, progress, warnings and errors on stderr, and never a traceback for an
error that the package raises on purpose.
"""

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from lens_rome.errors import LensRomeError


class CommandError(LensRomeError, ValueError):
    """Options of a command that do not go together or cannot be read."""


def reporting(command: Callable[..., None]) -> Callable[..., None]:
    """The command with `LensRomeError` as one line on stderr and exit code 1, and warnings as lines of their own."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                command(*args, **kwargs)
            except LensRomeError as error:
                _say("error", str(error))
                raise typer.Exit(1) from error
            finally:
                for message in dict.fromkeys(str(w.message) for w in caught if w.category not in _NOT_FOR_USERS):
                    _say("warning", message)

    return run


# Python's own filters hide these from users too.
_NOT_FOR_USERS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning, ResourceWarning)


def _say(what: str, message: str) -> None:
    typer.echo(f"lens-rome: {what}: {' '.join(message.split())}", err=True)


def console() -> Console:
    """Where results are printed; made anew so that it follows a redirected stdout."""
    return Console(highlight=False)


@contextmanager
def working(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """A progress line on stderr. Call what it gives with the name of each of the `total` steps as the step begins."""
    columns = (SpinnerColumn(), TextColumn(title + ": {task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        count = 0

        def begin(step: str) -> None:
            nonlocal count
            count += 1
            progress.update(task, description=f"{step} ({count} of {total})")

        yield begin
