"""The traces of many facts."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_rome.errors import FileFormatError
from lens_rome.runs import Run
from lens_rome.runs.parts import Part, encode_row
from lens_rome.tracing.result import COLUMNS, TraceResult
from lens_rome.tracing.rows import from_row, to_row

if TYPE_CHECKING:
    import pandas as pd

RUN_KIND = "trace"
_ERROR = "error: "


@dataclass(frozen=True, eq=False)
class TraceSet:
    """Traces of many facts, each of one or several kinds, made with the same settings."""

    traces: Mapping[str, Mapping[str, TraceResult]]
    """By fact id, then by kind."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Facts without a trace, with the reason: not known by the model, or an error."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds that were traced, in the order of the first fact."""
        return tuple(dict.fromkeys(kind for traces in self.traces.values() for kind in traces))

    def of_kind(self, kind: str) -> dict[str, TraceResult]:
        """The traces of one kind, by fact id."""
        return {name: traces[kind] for name, traces in self.traces.items() if kind in traces}

    @classmethod
    def load(cls, folder: str | Path) -> "TraceSet":
        """What `trace_facts` has written into a folder so far.

        Raises:
            RunError: no run of traces there, or a damaged one.  FileFormatError: a row that is no trace.
        """
        run = Run.read(folder, RUN_KIND)
        traces, skipped = {}, {name: _ERROR + text for name, text in run.errors.items()}
        for name, row in run.rows().items():
            if "skipped" in row:
                skipped[name] = str(row["skipped"])
                continue
            try:
                traces[name] = {kind: from_row(found) for kind, found in row["traces"].items()}
            except (KeyError, AttributeError) as error:
                raise FileFormatError(f"the row of {name!r} in {folder} holds no traces: {error!r}.") from error
        return cls(traces, skipped)

    def save(self, folder: str | Path) -> Path:
        """Write everything as a finished run folder, which `load` reads; it cannot be gone on with.

        Args:
            folder: made if it does not exist (its parent must).

        Raises:
            RunError: the set is empty, or the folder holds another run or other files.
        """
        ids = [*self.traces, *self.skipped]
        rows: list[dict[str, Any]] = [{"id": name, "traces": _rows(found)} for name, found in self.traces.items()]
        rows += [_skipped_row(name, reason) for name, reason in self.skipped.items()]
        digest = hashlib.sha256(b"\0".join(encode_row(row) for row in rows)).hexdigest()
        run = Run.open(folder, RUN_KIND, {"traces": digest}, ids=ids, what="facts")
        if not run.finished:
            with Part.create(run.folder, 0) as part:
                part.append([row for row in rows if row["id"] not in run.done])
        return run.folder

    def to_dataframe(self) -> "pd.DataFrame":
        """One row a traced cell of every trace: id, kind, and the columns of `TraceResult.to_dataframe`."""
        import pandas as pd

        frames = [
            result.to_dataframe().assign(id=name, kind=kind)
            for name, found in self.traces.items()
            for kind, result in found.items()
        ]
        columns = ["id", "kind", *COLUMNS]
        filled = [frame for frame in frames if len(frame)]
        if not filled:
            return pd.DataFrame(columns=columns)
        return pd.concat(filled, ignore_index=True).reindex(columns=columns)

    def __len__(self) -> int:
        return len(self.traces)

    def __repr__(self) -> str:
        first = next(iter(self.traces.values()), {})
        kinds = "".join(f"\n  {result.settings.summary()}" for result in first.values())
        return f"TraceSet({len(self.traces)} facts traced, {len(self.skipped)} skipped){kinds}"


def _rows(found: Mapping[str, TraceResult]) -> dict[str, Any]:
    return {kind: to_row(result) for kind, result in found.items()}


def _skipped_row(name: str, reason: str) -> dict[str, Any]:
    """As `trace_facts` writes it: an error is a row of its own form."""
    if reason.startswith(_ERROR):
        return {"id": name, "error": reason.removeprefix(_ERROR)}
    return {"id": name, "skipped": reason}
