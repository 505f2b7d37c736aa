"""One file format for everything that is saved: safetensors whose header carries a JSON description. Never pickle.

A file appears whole or not at all: it is written under a temporary name and renamed.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from lens_rome._typing import Tensor
from lens_rome.errors import FileFormatError

FORMAT_VERSION = 1
T = TypeVar("T")
_HEADER = "lens_rome"


def save_tensors(path: str | Path, kind: str, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> Path:
    """Write tensors and a JSON-able description as a file of `kind`; returns the path.

    Raises:
        FileFormatError: the folder does not exist, or the path is a folder.
    """
    path = Path(path)
    header = {"kind": kind, "format_version": FORMAT_VERSION, "sha256": _digest(tensors), **description}
    with written_whole(path) as temporary:
        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, temporary, metadata={_HEADER: json.dumps(header)})
    return path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, which takes its place when the block ends well and is gone if it does not.

    Raises:
        FileFormatError: the folder does not exist, or the path is a folder.
    """
    if path.is_dir():
        raise FileFormatError(f"cannot write {path}: it is a folder. Name a file in it.")
    if not path.parent.is_dir():
        raise FileFormatError(f"cannot write {path}: the folder {path.parent} does not exist. Create it first.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_tensors(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file of `kind`: its tensors (on the CPU) and its description.

    Raises:
        FileFormatError: no such file, truncated or corrupt, of another kind, or of a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise FileFormatError(f"there is no file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[_HEADER])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise FileFormatError(
            f"{path} is not a readable lens_rome file (truncated, corrupt, or written by another program): {error}"
        ) from error
    if not isinstance(header, dict):
        raise FileFormatError(f"{path} is not a lens_rome file: its description is not a JSON object.")
    if header.get("kind") != kind:
        raise FileFormatError(f"{path} holds a {header.get('kind')!r}, expected a {kind!r}.")
    if header.get("format_version", 0) > FORMAT_VERSION:
        raise FileFormatError(
            f"{path} has format version {header['format_version']}, this lens_rome reads up to {FORMAT_VERSION}. "
            "Update lens_rome."
        )
    if header.pop("sha256", None) not in (None, _digest(tensors)):
        raise FileFormatError(f"{path} is corrupt: its numbers are not those that were written. Take another copy.")
    return tensors, header


def save_json(path: str | Path, kind: str, content: Mapping[str, Any]) -> Path:
    """Write a JSON-able description as a file of `kind`; returns the path. Raises as `written_whole`."""
    told = {"kind": kind, "format_version": FORMAT_VERSION, **content}
    with written_whole(Path(path)) as temporary:
        temporary.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Path(path)


def load_json(path: str | Path, kind: str, what: str, make: Callable[[dict[str, Any]], T]) -> T:
    """What `make` makes of the content of a file that `save_json` wrote.

    Args:
        what: what the file holds, in words, for messages.

    Raises:
        FileFormatError: no such file, truncated, of another kind, of a newer format, or `make` cannot read it.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        found, version = content.pop("kind"), content.pop("format_version")
        if found != kind or version > FORMAT_VERSION:
            raise FileFormatError(
                f"{path} holds a {found!r} of format version {version}, expected a {kind!r} of version "
                f"{FORMAT_VERSION} at most. Take another file, or update lens_rome."
            )
        return make(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"{path} is not a complete {what}: {error}") from error


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over names and bytes of all tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + b"\0")
        digest.update(tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
