"""What must be asked for the sake of some metrics."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lens_rome.evaluation.metrics import METRICS, Metric, ReportError, find_metric
from lens_rome.evaluation.rows import TEXTS


@dataclass(frozen=True)
class Needs:
    """Kinds of prompts, and what else the metrics take."""

    groups: tuple[str, ...]
    texts: bool
    asks: frozenset[str]
    """See `Metric.asks`."""

    @classmethod
    def of(cls, names: Sequence[str]) -> "Needs":
        """What the metrics of these names need, and nothing more.

        Raises:
            ReportError: none at all, a text for a list of names, or no such metric.
        """
        if isinstance(names, str) or not names:
            raise ReportError(f"metrics is a list of names, got {names!r}. There are {', '.join(METRICS)}.")
        found = [metric for name in names for metric in _parts(name)]
        groups = dict.fromkeys(metric.group for metric in found)
        asks = frozenset(metric.asks for metric in found if metric.asks)
        return cls(tuple(group for group in groups if group != TEXTS), TEXTS in groups, asks)


def _parts(name: str) -> Iterator[Metric]:
    metric = find_metric(name)
    if isinstance(metric, Metric):
        yield metric
    else:
        for part in metric.parts:
            yield from _parts(part)
