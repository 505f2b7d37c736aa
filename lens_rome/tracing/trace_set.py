"""The traces of many facts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lens_rome.errors import FileFormatError
from lens_rome.runs import Run
from lens_rome.tracing.result import TraceResult
from lens_rome.tracing.rows import from_row

RUN_KIND = "trace"


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
        traces, skipped = {}, {name: f"error: {text}" for name, text in run.errors.items()}
        for name, row in run.rows().items():
            if "skipped" in row:
                skipped[name] = str(row["skipped"])
                continue
            try:
                traces[name] = {kind: from_row(found) for kind, found in row["traces"].items()}
            except (KeyError, AttributeError) as error:
                raise FileFormatError(f"the row of {name!r} in {folder} holds no traces: {error!r}.") from error
        return cls(traces, skipped)

    def __len__(self) -> int:
        return len(self.traces)

    def __repr__(self) -> str:
        first = next(iter(self.traces.values()), {})
        kinds = "".join(f"\n  {result.settings.summary()}" for result in first.values())
        return f"TraceSet({len(self.traces)} facts traced, {len(self.skipped)} skipped){kinds}"
