"""The only network code: published files, kept in a cache and checked by their sha256."""

import hashlib
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from lens_rome.errors import DatasetError

_ROOT = "https://rome.baulab.info/data/dsets/"

KNOWN = (
    f"{_ROOT}known_1000.json",
    "61daca55318bb5260c1e62e133debef9102c7b278bbc7b19dd2ac655543f333a",
)
COUNTERFACT = (
    f"{_ROOT}counterfact.json",
    "d017056125178a13728594e66a801357a8db9ed7973a7425554bb4271de9fc6f",
)
SNIPPETS = (
    f"{_ROOT}attribute_snippets.json",
    "10b5c1cd105e54d5983c72de1b45bfc88bc7af786f7b99def2557886ff23385b",
)
IDF = (
    f"{_ROOT}idf.npy",
    "c073d642589d4ac6432f467230329b36364a01e72de63a77a3624b745b923dda",
)
VOCABULARY = (
    f"{_ROOT}tfidf_vocab.json",
    "8a78c4f20d8d85dadfd14e283d71af255482ff18aa0eb8a81716024c05ff888b",
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
