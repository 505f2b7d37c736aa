"""The only network code: published files, kept in a cache and checked by their sha256."""

import hashlib
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from lens_rome.errors import DatasetError

KNOWN = (
    "https://rome.baulab.info/data/dsets/known_1000.json",
    "61daca55318bb5260c1e62e133debef9102c7b278bbc7b19dd2ac655543f333a",
)


def cache_folder() -> Path:
    """Where fetched files are kept: `$LENS_ROME_CACHE`, or `lens_rome` in the user's cache folder."""
    base = os.environ.get("LENS_ROME_CACHE")
    return Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lens_rome"


def fetch(url: str, sha256: str) -> Path:
    """The file at `url`, fetched once; it appears in the cache whole or not at all.

    Raises:
        DatasetError: no network, or other contents than expected.
    """
    path = cache_folder() / url.rsplit("/", 1)[-1]
    if path.is_file() and _digest(path) == sha256:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with urllib.request.urlopen(url, timeout=60) as response, temporary.open("wb") as file:
            shutil.copyfileobj(response, file)
        found = _digest(temporary)
        if found != sha256:
            raise DatasetError(
                f"{url} has sha256 {found}, expected {sha256}: the published file has changed or the transfer was cut. "
                "Give the path of a copy that you trust."
            )
        temporary.replace(path)
    except (urllib.error.URLError, OSError) as error:
        raise DatasetError(
            f"cannot fetch {url}: {error}. Without a network, give the path of a copy of the file."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
