"""The traces of many facts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lens_rome.tracing.result import TraceResult


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

    def __len__(self) -> int:
        return len(self.traces)
