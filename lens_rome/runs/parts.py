"""Append-only files of rows, one JSON object a line. No file is ever written by two starts of a worker.

So a line that a kill tore in half stays the last of its file for good, and can be told from damage.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from lens_rome.errors import RunError
from lens_rome.runs._durable import sync_folder, write_all

Row = dict[str, Any]
"""A JSON object with `id`; with `error` (a text) if its id failed."""

_NUMBER = re.compile(r"part-\d+-(\d+)\.jsonl")


def encode_row(row: Mapping[str, Any]) -> bytes:
    """The row's line, strict JSON in ASCII.

    Raises:
        TypeError, ValueError: it holds something that JSON has not, such as a tensor or NaN.
    """
    return json.dumps(row, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


class Part:
    """The file of one start of one worker. Use it in a `with`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def create(cls, folder: Path, rank: int) -> "Part":
        """A new, empty part of worker `rank`, numbered after those that are there.

        Raises:
            RunError: the folder cannot be written to.
        """
        numbers = [int(found[1]) for path in folder.glob(f"part-{rank:04d}-*") if (found := _NUMBER.match(path.name))]
        number = max(numbers, default=0)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        while True:
            number += 1
            path = folder / f"part-{rank:04d}-{number:04d}.jsonl"
            try:
                part = cls(path, os.open(path, flags, 0o644))
            except FileExistsError:  # another process took the number meanwhile
                continue
            except OSError as error:
                raise RunError(f"cannot write rows to {folder}: {error}. Make it writable, or copy the run.") from error
            sync_folder(folder)
            return part

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows in one go; the disk has them when this returns.

        Raises:
            RunError: they could not be written. Nothing can be appended after that, since a line may be torn.
        """
        if self._descriptor is None:
            raise RunError(f"{self.path} is closed. Open a new part.")
        if not rows:
            return
        data = b"".join(encode_row(row) for row in rows)
        try:
            write_all(self._descriptor, data)
        except OSError as error:
            self.close()
            raise RunError(
                f"cannot write rows to {self.path}: {error}. Make room on the disk and start again; what was written "
                "before is kept."
            ) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> "Part":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_parts(folder: Path) -> Iterator[Row]:
    """The rows of all parts, in the order of the parts' names; a torn last line of a part is left out.

    Safe while workers write.

    Raises:
        RunError: a line is damaged that is not the last of its part; names file and line.
    """
    for path in sorted(folder.glob("part-*.jsonl")):
        yield from _read_part(path)


def _read_part(path: Path) -> Iterator[Row]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.endswith(b"\n"):
                return  # torn, or being written at this moment
            try:
                row = json.loads(line)
            except ValueError as error:
                if not stream.read(1):
                    return
                raise _damaged(path, number, str(error)) from error
            if not (isinstance(row, dict) and isinstance(row.get("id"), str)):
                raise _damaged(path, number, "it is not a JSON object with a text 'id'")
            yield row


def _damaged(path: Path, number: int, why: str) -> RunError:
    return RunError(
        f"{path}, line {number} is damaged: {why}. Delete that line (or the file) and start the run again; what is "
        "missing is computed again."
    )
