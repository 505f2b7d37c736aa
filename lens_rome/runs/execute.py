"""Do a worker's share of a run: chunk by chunk, every chunk on the disk before the next begins."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from lens_rome.errors import RunError
from lens_rome.runs.parts import Part, Row, encode_row
from lens_rome.runs.run import Run
from lens_rome.runs.workers import Worker

Compute = Callable[[list[str]], Iterable[Mapping[str, Any]]]
"""Gives a row for each of the ids it is called with, in any order. Rows are JSON-able and hold `id`."""

_GIVE_UP_AFTER = 3  # chunks without a single success, at the start


def execute(
    run: Run,
    compute: Compute,
    *,
    chunk_size: int,
    worker: Worker,
    retry_errors: bool = False,
    progress: bool = True,
    what: str = "facts",
) -> None:
    """Compute what the worker's share still lacks, and write it into the run's folder.

    A stop at any moment, also a kill, costs at most the chunk in progress; on Ctrl-C its finished rows are kept too. If
    `compute` raises, the chunk's other ids are computed one by one, and those that fail alone too get a row with their
    `error`. They are not tried again unless `retry_errors`.

    Args:
        compute: called with the ids of one chunk, fewer where some are done.
        chunk_size: ids that are computed together; also what is lost at most.
        retry_errors: compute the ids again that failed in earlier starts.
        progress: show a progress bar on stderr.
        what: what the ids are called there.

    Raises:
        RunError: every id of the first three chunks fails; `compute` gives other rows than it was asked for; or the
            folder cannot be written to.
    """
    remaining = run.remaining(worker, chunk_size=chunk_size, retry_errors=retry_errors)
    if not remaining:
        return
    total = sum(map(len, run.chunks(worker, chunk_size)))
    done = total - sum(map(len, remaining))
    failed: list[Row] = []
    with Part.create(run.folder, worker.rank) as part, _bar(worker, what, done, total, progress) as advance:
        for number, ids in enumerate(remaining, 1):
            rows: dict[str, Row] = {}
            try:
                _fill(rows, compute, ids, advance)
            finally:
                part.append(list(rows.values()))
            if number > _GIVE_UP_AFTER:
                continue
            failed += [row for row in rows.values() if "error" in row]
            if number == _GIVE_UP_AFTER and len(failed) == sum(map(len, remaining[:number])):
                raise RunError(
                    f"all {len(failed)} {what} of the first {number} chunks failed, the first ({failed[0]['id']!r}) "
                    f"with {failed[0]['error']}. Mend the cause and start again with retry_errors=True; without it the "
                    "run goes on after them."
                )


def _fill(rows: dict[str, Row], compute: Compute, ids: list[str], advance: Callable[[], None]) -> None:
    """Put a row for each id into `rows` as they come; if something fails, one id at a time."""
    error = _collect(rows, compute, ids, advance)
    for key in [key for key in ids if key not in rows]:
        if len(ids) > 1:  # a chunk of one has failed alone already
            error = _collect(rows, compute, [key], advance)
        if error is not None:
            rows[key] = _error_row(key, error)
            advance()


def _collect(rows: dict[str, Row], compute: Compute, ids: list[str], advance: Callable[[], None]) -> Exception | None:
    """Rows of one call of `compute`; returns the exception that left some out, None if all are there."""
    for item in _items(compute, ids):
        if isinstance(item, Exception):
            if all(key in rows for key in ids):
                raise item
            return item
        key = item.get("id")
        if key not in ids or key in rows:
            raise RunError(
                f"the function that computes rows gave one of id {key!r} that is a second one or was not asked for "
                f"({ids} were). It must give one row with its 'id' for each id."
            )
        rows[key] = _writable(dict(item))
        advance()
    missing = [key for key in ids if key not in rows]
    if missing:
        raise RunError(
            f"the function that computes rows gave none for {missing}. It must give one row with its 'id' for each id."
        )
    return None


def _items(compute: Compute, ids: list[str]) -> Iterator[Mapping[str, Any] | Exception]:
    """What `compute` gives; an exception of its own, not of whoever reads this, as the last item."""
    try:
        yield from compute(list(ids))
    except Exception as error:
        yield error


def _writable(row: Row) -> Row:
    """The row, or an error row if JSON cannot hold it."""
    try:
        encode_row(row)
    except (TypeError, ValueError) as error:
        return _error_row(row["id"], error)
    return row


def _error_row(key: str, error: Exception) -> Row:
    return {"id": key, "error": f"{type(error).__name__}: {error}"}


@contextmanager
def _bar(worker: Worker, what: str, done: int, total: int, shown: bool) -> Iterator[Callable[[], None]]:
    """A progress line on stderr; call what it gives after each id."""
    share = f" (worker {worker.rank + 1} of {worker.world})" if worker.world > 1 else ""
    columns = (
        TextColumn(what + ": {task.completed:.0f} of {task.total:.0f}" + share),
        BarColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not shown, transient=True) as bar:
        task = bar.add_task("", total=total, completed=done)
        yield lambda: bar.advance(task)
