"""Files that a command writes."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lens_rome.cli.reporting import CommandError
from lens_rome.errors import MissingLibraryError
from lens_rome.plotting import save_figure


class Folder:
    """The folder of `--out`: what is written into it, and what could not be."""

    def __init__(self, path: Path) -> None:
        """Makes the folder.

        Raises:
            CommandError: it cannot be made.
        """
        self.path = path
        self.written: list[tuple[Path, str]] = []
        """Each file with what it is."""
        self.missing: str | None = None
        """Why there are no pictures."""
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CommandError(f"cannot make the folder {path}: {error.strerror}. Give another --out.") from error

    def save(self, name: str, what: str, write: Callable[[Path], Any]) -> None:
        """Let `write` make the file `name`."""
        write(self.path / name)
        self.written.append((self.path / name, what))

    def json(self, name: str, what: str, value: Any) -> None:
        """A value as JSON; numbers that JSON does not have (NaN) become null."""
        self.save(name, what, lambda path: write_json(path, value))

    def picture(self, name: str, what: str, draw: Callable[[], Any]) -> None:
        """What `draw` returns, in the format of the name's suffix; left out, and noted, without a plotting library."""
        try:
            self.save(name, what, lambda path: save_figure(draw(), path))
        except MissingLibraryError as error:
            self.missing = str(error)


def write_json(path: Path, value: Any) -> None:
    """Write a file that appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def plain(value: Any) -> Any:
    """The value as JSON has it: text keys, lists, null for numbers that are not finite."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
