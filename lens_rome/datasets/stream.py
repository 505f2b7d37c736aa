"""Entries of a JSON list, or of JSON Lines, one at a time: a file of any size in the memory of its largest entry."""

import json
from collections.abc import Iterator
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import Any, TextIO

from lens_rome.errors import DatasetError

_CHUNK = 1 << 20  # characters that are read at once
_CUT = 16  # a decoder that fails this close to the end of what was read may have met a cut number, name or escape
_HINT = "Give a JSON list, or one JSON object a line."


def read_entries(path: Path) -> Iterator[tuple[str, Any]]:
    """Every entry with its place in the file, `entry 3` of a list or `line 3`, from 1. Empty lines are left out.

    Raises:
        DatasetError: no such file, no UTF-8 text, or no JSON from some place on (entries before it have been given).
    """
    try:
        # A line ends at a line feed only: texts may hold the other things that Python takes for line ends.
        with path.open(encoding="utf-8", newline="\n") as file:
            start = _first_character(file)
            file.seek(0)
            yield from _of_list(file, path) if start == "[" else _of_lines(file, path)
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}.") from error
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}. Check the path.") from error


def _first_character(file: TextIO) -> str:
    while character := file.read(1):
        if not character.isspace():
            return character
    return ""


def _of_lines(file: TextIO, path: Path) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                item = json.loads(line)
            except ValueError as error:
                raise DatasetError(f"{path}, line {number}, is not JSON: {error}. {_HINT}") from error
            yield f"line {number}", item


def _of_list(file: TextIO, path: Path) -> Iterator[tuple[str, Any]]:
    text, number = _Buffer(file), 0
    text.skip("[")
    try:
        while text.next_character() != "]" or number:
            number += 1
            yield f"entry {number}", text.value()
            if text.next_character() == "]":
                break
            text.skip(",")
        text.skip("]")
        if left := text.next_character():
            raise JSONDecodeError(f"there is a {left!r} after the end of the list", "", text.place)
    except JSONDecodeError as error:
        where = f"{error.msg} at character {text.place}, entry {number}"
        raise DatasetError(f"{path} is not JSON: {where}. {_HINT}") from error


class _Buffer:
    """What has been read of a file and not yet been taken."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._text, self._at, self._before = file, "", 0, 0
        self._decode = JSONDecoder().raw_decode

    @property
    def place(self) -> int:
        """Character of the file, from 0, that is the next to be taken."""
        return self._before + self._at

    def next_character(self) -> str:
        """The next one that is no white space, left where it is; empty at the end of the file."""
        while True:
            while self._at < len(self._text):
                if not self._text[self._at].isspace():
                    return self._text[self._at]
                self._at += 1
            if not self._read_on():
                return ""

    def skip(self, character: str) -> None:
        """Take this one, which must be the next."""
        found = self.next_character()
        if found != character:
            raise JSONDecodeError(f"expected {character!r}, found {found or 'the end'!r}", "", self.place)
        self._at += 1

    def value(self) -> Any:
        """Take the next value. A value that is cut off where reading stopped is tried again with more of the file."""
        self.next_character()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - _CUT
                if cut and self._read_on():
                    continue
                raise
            if end < len(self._text) or not self._read_on():  # 12 at the end may be the beginning of 123
                self._at = end
                return value

    def _read_on(self) -> bool:
        """Read as much again as is waiting, so that a long value is tried a few times only; False at the end."""
        more = self._file.read(max(_CHUNK, len(self._text) - self._at))
        if more:
            self._before += self._at
            self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)
