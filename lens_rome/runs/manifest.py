"""`manifest.json`: what a run computes. Made exactly once, then only read and compared."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lens_rome.errors import RunError
from lens_rome.runs._durable import sync_folder, write_all

FORMAT_VERSION = 1
NAME = "manifest.json"
_SHOWN = 10  # differing settings in one message
_WIDTH = 100  # characters of a setting's value in a message
_DIGEST = re.compile(r"\b[0-9a-f]{64}$")  # a sha256, which tells a reader nothing


@dataclass(frozen=True)
class Manifest:
    """What a run is. Two manifests are of the same run if all but `created_by` is equal."""

    kind: str
    """What the rows are, such as `trace`."""
    settings: Mapping[str, Any]
    """All that the rows depend on, as JSON gives it back."""
    n_ids: int
    ids_digest: str
    """sha256 of the ids in their order."""
    created_by: Mapping[str, Any]
    """Versions of the programs that made the folder; for readers only."""

    @classmethod
    def of(
        cls, kind: str, settings: Mapping[str, Any], ids: Sequence[str], created_by: Mapping[str, Any]
    ) -> "Manifest":
        """The manifest of a run over `ids`.

        Raises:
            RunError: settings that JSON cannot hold.
        """
        try:
            # There and back, so that a tuple equals the list that the file gives.
            known = json.loads(json.dumps([dict(settings), dict(created_by)], allow_nan=False))
        except (TypeError, ValueError) as error:
            raise RunError(
                f"the settings of a {kind!r} run cannot be written as JSON: {error}. Use texts, finite numbers, "
                "booleans, None, lists and dicts of them."
            ) from error
        digest = hashlib.sha256(json.dumps(list(ids)).encode("ascii")).hexdigest()
        return cls(kind, known[0], len(ids), digest, known[1])


def establish(folder: Path, wanted: Manifest, what: str = "ids") -> Manifest:
    """Make `folder` a folder of this run, or find that it is one already. Returns the manifest that is there.

    Of several processes that start at the same moment exactly one writes the manifest; all return the same. `what` is
    what messages call the ids.

    Raises:
        RunError: it is a folder of another run or of other files (nothing is written then), or cannot be written to.
    """
    try:
        folder.mkdir(exist_ok=True)
        # Listed before the manifest is looked for: our own files come after it, so what is here without it is foreign.
        # Hidden files do not count: they are a file browser's, or what a start left that was killed at this point.
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        if NAME not in names and not (folder / NAME).exists():
            if names:
                raise RunError(
                    f"{folder} holds other files ({names[0]!r} and so on, {len(names)} in all) and no {NAME}. "
                    "Name a new or an empty folder."
                )
            _create(folder, wanted)
    except FileNotFoundError as error:
        raise RunError(f"cannot make {folder}: the folder {folder.parent} does not exist. Create it first.") from error
    except OSError as error:
        raise RunError(f"cannot make a run in {folder}: {error}. Name a folder that can be written to.") from error
    found = read_manifest(folder)
    _check_same(folder, wanted, found, what)
    return found


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a run's folder.

    Raises:
        RunError: there is none, it is damaged, or of a newer format.
    """
    path = folder / NAME
    try:
        content = json.loads(path.read_bytes())
        version = int(content["format_version"])
        if version > FORMAT_VERSION:
            raise RunError(
                f"{path} has format version {version}, this lens_rome reads up to {FORMAT_VERSION}. Update lens_rome."
            )
        ids = content["ids"]
        return Manifest(
            str(content["kind"]),
            dict(content["settings"]),
            int(ids["count"]),
            str(ids["sha256"]),
            dict(content["created_by"]),
        )
    except RunError:
        raise
    except FileNotFoundError as error:
        why = f"it has no {NAME}" if folder.is_dir() else "there is no such folder"
        raise RunError(f"there is no run in {folder}: {why}. Check the folder's name.") from error
    except OSError as error:
        raise RunError(
            f"there is no run in {folder} that can be read: {error.strerror}. Check the folder's name."
        ) from error
    except (ValueError, TypeError, LookupError) as error:
        raise RunError(
            f"{path} is damaged ({error!r}), so nobody can say what the rows beside it are. Put it back from a copy, "
            "or name another folder."
        ) from error


def _create(folder: Path, manifest: Manifest) -> None:
    """Write the manifest whole or not at all; leaves alone one that another process has made meanwhile."""
    content = {
        "format_version": FORMAT_VERSION,
        "kind": manifest.kind,
        "settings": dict(manifest.settings),
        "ids": {"count": manifest.n_ids, "sha256": manifest.ids_digest},
        "created_by": dict(manifest.created_by),
    }
    descriptor, name = tempfile.mkstemp(".tmp", ".manifest.", folder)
    temporary = Path(name)
    try:
        try:
            write_all(descriptor, (json.dumps(content, indent=2) + "\n").encode("ascii"))
        finally:
            os.close(descriptor)
        temporary.chmod(0o644)
        _link(temporary, folder / NAME)
        sync_folder(folder)
    finally:
        temporary.unlink(missing_ok=True)


def _link(temporary: Path, path: Path) -> None:
    """Give the file its name unless the name is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return
    except OSError:
        # No hard links here (some network and USB drives). Renaming is whole too; only two first starts with different
        # settings within the same moment could miss each other.
        if not path.exists():
            temporary.replace(path)


def _check_same(folder: Path, wanted: Manifest, found: Manifest, what: str) -> None:
    if wanted.kind != found.kind:
        raise RunError(
            f"{folder} holds a {found.kind!r} run, asked was for a {wanted.kind!r} run. Name another folder."
        )
    differing = list(_differences("", wanted.settings, found.settings))
    if (wanted.n_ids, wanted.ids_digest) != (found.n_ids, found.ids_digest):
        # What was said of the ids need not be said again of a setting that follows from them.
        differing = [_other_ids(wanted, found, what), *(text for text in differing if text != _another(what))]
    if differing:
        more = f"; and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
        raise RunError(
            f"{folder} holds another run: {'; '.join(differing[:_SHOWN])}{more}. Nothing was written. "
            f"Name another folder, or use the same {what} and settings."
        )


def _other_ids(wanted: Manifest, found: Manifest, what: str) -> str:
    if wanted.n_ids != found.n_ids:
        return f"{found.n_ids} {what} are there, {wanted.n_ids} were asked for"
    return f"its {found.n_ids} {what} are others, or in another order"


class _Missing:
    def __repr__(self) -> str:
        return "not set"


def _differences(name: str, wanted: Any, found: Any) -> Iterator[str]:
    """One text for each setting that differs, with both values; `noise.scale` and `contexts[3]` for inner ones."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for key in [*found, *(key for key in wanted if key not in found)]:
            inner = f"{name}.{key}" if name else str(key)
            yield from _differences(inner, wanted.get(key, _Missing()), found.get(key, _Missing()))
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for index, pair in enumerate(zip(wanted, found, strict=True)):
            yield from _differences(f"{name}[{index}]", *pair)
    elif wanted != found and all(isinstance(value, str) and _DIGEST.search(value) for value in (wanted, found)):
        yield _another(name)
    elif wanted != found:
        yield f"{name} is {_short(found)} there, {_short(wanted)} was asked for"


def _another(name: str) -> str:
    return f"other {name}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _WIDTH else text[:_WIDTH] + "…"
