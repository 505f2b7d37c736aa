"""`Run`: a folder of rows, one for each id of a list, that any number of workers fill over any number of starts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from lens_rome._warnings import warn_caller
from lens_rome.errors import RunError
from lens_rome.runs.manifest import Manifest, establish, read_manifest
from lens_rome.runs.parts import Row, read_parts
from lens_rome.runs.workers import Worker

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """A run's folder. Rows are read from the disk at every call, so other workers' are seen too."""

    folder: Path
    manifest: Manifest
    ids: tuple[str, ...] | None = field(repr=False)
    """All ids in their order; None if the run was opened by `read`."""

    @classmethod
    def open(
        cls,
        folder: str | Path,
        kind: str,
        settings: Mapping[str, Any],
        *,
        ids: Sequence[str],
        created_by: Mapping[str, Any] | None = None,
        what: str = "ids",
    ) -> "Run":
        """Start a run, or go on with it. Several workers may do so at the same moment.

        Args:
            folder: made if it does not exist (its parent must).
            kind: what the rows are, such as `"trace"`.
            settings: everything that the rows depend on (JSON-able). A folder of other settings is refused.
            ids: one text for each row, all different. Another list or order is refused later.
            created_by: versions of the programs, for readers only.
            what: what the ids are called in messages, such as `"facts"`.

        Raises:
            RunError: the folder is of another run, damaged or not writable; or ids that are no texts or repeated.
        """
        checked = checked_ids(ids)
        path = Path(folder)
        return cls(path, establish(path, Manifest.of(kind, settings, checked, created_by or {}), what), checked)

    @classmethod
    def read(cls, folder: str | Path, kind: str) -> "Run":
        """A run to read only. Works in a folder that cannot be written to.

        Raises:
            RunError: no run there, a damaged one, or one of another kind.
        """
        path = Path(folder)
        manifest = read_manifest(path)
        if manifest.kind != kind:
            raise RunError(f"{path} holds a {manifest.kind!r} run, asked was for a {kind!r} run. Name another folder.")
        return cls(path, manifest, None)

    def rows(self) -> dict[str, Row]:
        """The rows of the ids that succeeded, by id; in the order of `ids`, or as read if they are not known.

        Of several rows of one id the first is kept, and a warning tells their number.

        Raises:
            RunError: a damaged line, or a row of an id that is not of this run.
        """
        return self._contents()[0]

    @property
    def done(self) -> frozenset[str]:
        """The ids that succeeded."""
        return frozenset(self._contents(with_rows=False)[0])

    @property
    def errors(self) -> dict[str, str]:
        """The ids that failed and have not succeeded since, each with its error; the last one if it was retried."""
        return self._contents(with_rows=False)[1]

    @property
    def finished(self) -> bool:
        """Whether every id has a row or an error."""
        return sum(map(len, self._contents(with_rows=False))) == self.manifest.n_ids

    def chunks(self, worker: Worker, chunk_size: int) -> list[list[str]]:
        """The worker's share: every `world`-th chunk. Chunk `i` is `ids[i * chunk_size : (i + 1) * chunk_size]`.

        Chunks do not depend on what is done, so the same ids are computed together whoever does it. Workers that run at
        the same time must use the same size.

        Raises:
            RunError: the run was opened by `read`, or `chunk_size` is below 1.
        """
        if self.ids is None:
            raise RunError(
                f"the run in {self.folder} was opened to be read. Use Run.open with its ids to go on with it."
            )
        if chunk_size < 1:
            raise RunError(f"chunk_size must be a whole number from 1 up, got {chunk_size}.")
        starts = range(worker.rank * chunk_size, len(self.ids), worker.world * chunk_size)
        return [list(self.ids[start : start + chunk_size]) for start in starts]

    def remaining(self, worker: Worker, *, chunk_size: int, retry_errors: bool = False) -> list[list[str]]:
        """The worker's chunks without the ids that are done, and without those that failed unless `retry_errors`.

        Raises:
            RunError: as `chunks` and `rows`.
        """
        chunks = self.chunks(worker, chunk_size)
        results, errors = self._contents(with_rows=False)
        skip = results.keys() if retry_errors else results.keys() | errors.keys()
        left = ([key for key in chunk if key not in skip] for chunk in chunks)
        return [chunk for chunk in left if chunk]

    def _contents(self, *, with_rows: bool = True) -> tuple[dict[str, Row], dict[str, str]]:
        """Rows and errors by id, no id in both; empty rows where only the ids are needed, to save memory."""
        results: dict[str, Row] = {}
        errors: dict[str, str] = {}
        repeated = 0
        for row in read_parts(self.folder):
            if "error" in row:
                errors[row["id"]] = str(row["error"])
            elif row["id"] in results:
                repeated += 1
            else:
                results[row["id"]] = row if with_rows else {}
        if repeated:
            warn_caller(
                f"{repeated} rows in {self.folder} repeat an id; the first of each is kept. Two workers did the same "
                "share: give each its own."
            )
        errors = {key: text for key, text in errors.items() if key not in results}
        return self._ordered(results), self._ordered(errors)

    def _ordered(self, found: dict[str, T]) -> dict[str, T]:
        if self.ids is None:
            return found
        strangers = found.keys() - set(self.ids)
        if strangers:
            raise RunError(
                f"{self.folder} holds rows of {len(strangers)} ids that are not of this run, such as "
                f"{min(strangers)!r}. Take the files away that were copied into it."
            )
        return {key: found[key] for key in self.ids if key in found}


def checked_ids(ids: Sequence[object]) -> tuple[str, ...]:
    """The ids as they are, if they can name rows.

    Raises:
        RunError: none at all, one that is no text, or one that is there twice.
    """
    texts = tuple(key for key in ids if isinstance(key, str))
    if isinstance(ids, str) or len(texts) < len(ids):
        wrong = next((key for key in ids if not isinstance(key, str)), ids)
        raise RunError(f"ids must be a list of texts, got {wrong!r}. Use str(...) for numbers.")
    if not texts:
        raise RunError("a run needs at least one id, got none.")
    if len(set(texts)) < len(texts):
        key, count = Counter(texts).most_common(1)[0]
        raise RunError(f"every id must be there once; {key!r} is there {count} times. Leave the repeats out.")
    return texts
