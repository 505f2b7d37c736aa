"""The rows of one chunk, whoever computes it: all ids together, and one by one where that fails."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lens_rome.errors import RunError
from lens_rome.runs.parts import Row, encode_row

Compute = Callable[[list[str]], Iterable[Mapping[str, Any]]]
"""Gives a row for each of the ids it is called with, in any order. Rows are JSON-able and hold `id`."""

_GIVE_UP_AFTER = 3  # chunks without a single success, at the start


def fill(rows: dict[str, Row], compute: Compute, ids: list[str], advance: Callable[[], object]) -> None:
    """Put a row for each id into `rows` as they come; if something fails, one id at a time.

    Raises:
        RunError: `compute` gives other rows than it was asked for.
        Exception: its own, if it raises after its last row.
    """
    error = _collect(rows, compute, ids, advance)
    for key in [key for key in ids if key not in rows]:
        if len(ids) > 1:  # a chunk of one has failed alone already
            error = _collect(rows, compute, [key], advance)
        if error is not None:
            rows[key] = error_row(key, _told(error))
            advance()


def error_row(key: str, text: str) -> Row:
    """The row of an id that failed."""
    return {"id": key, "error": text}


class FirstFailures:
    """Watches whether anything succeeds at the start of a run."""

    def __init__(self, remaining: Sequence[Sequence[str]], what: str) -> None:
        self._what = what
        self._watched = sum(map(len, remaining[:_GIVE_UP_AFTER]))
        self._failed: list[Row] | None = [] if len(remaining) >= _GIVE_UP_AFTER else None

    def add(self, rows: Iterable[Row]) -> None:
        """Note rows that are written.

        Raises:
            RunError: these and all before them failed, and they are as many as the first three chunks have.
        """
        if self._failed is None:
            return
        for row in rows:
            if "error" not in row:
                self._failed = None
                return
            self._failed.append(row)
        if len(self._failed) < self._watched:
            return
        first = self._failed[0]
        raise RunError(
            f"all {len(self._failed)} {self._what} of the first {_GIVE_UP_AFTER} chunks failed, the first "
            f"({first['id']!r}) with {first['error']}. Mend the cause and start again with retry_errors=True; without "
            "it the run goes on after them."
        )


def _collect(rows: dict[str, Row], compute: Compute, ids: list[str], advance: Callable[[], object]) -> Exception | None:
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
        return error_row(row["id"], _told(error))
    return row


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
