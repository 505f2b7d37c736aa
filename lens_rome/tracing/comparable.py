"""Which traces may be put together in one number: those of one kind, made in one way."""

from collections.abc import Sequence
from dataclasses import replace

from lens_rome.errors import TraceError
from lens_rome.tracing.result import TraceResult, TraceSettings
from lens_rome.tracing.trace_set import TraceSet

_ALIKE = (
    "kind",
    "window",
    "metric",
    "against_each",
    "direction",
    "severed",
    "together",
    "head",
    "approximate",
    "original",
    "noise",
    "prepend_bos",
    "model",
)
"""Settings that must agree. The noise level may differ (it follows from each fact's subject), so may samples, seed,
and the precision of the computation.
"""


def comparable_traces(traces: TraceSet, kind: str) -> dict[str, TraceResult]:
    """The traces of one kind by fact id, all made with the same settings on a model of the same depth.

    Raises:
        TraceError: the set is empty, has no trace of this kind, or mixes settings.
    """
    check_not_empty(traces)
    found = traces.of_kind(kind)
    if not found:
        raise TraceError(
            f"the set has no traces of kind {kind!r}, only {', '.join(traces.kinds)}. Trace that kind too."
        )
    (first, example), *others = found.items()
    for name, result in others:
        for what, here, there in _differences(example, result):
            raise TraceError(
                f"the {kind} traces of {first!r} and {name!r} differ in {what}: {here!r} and {there!r}. They do not "
                "average to anything; put traces made in one way into a set of their own."
            )
    return found


def check_not_empty(traces: TraceSet) -> None:
    """`TraceError` for a set without any trace."""
    if not traces.kinds:
        skipped = f"; facts skipped: {len(traces.skipped)}" if traces.skipped else ""
        raise TraceError(f"the set has no traces{skipped}. Trace facts that the model knows.")


def _differences(one: TraceResult, other: TraceResult) -> list[tuple[str, object, object]]:
    pairs = [(name, getattr(one.settings, name), getattr(other.settings, name)) for name in _ALIKE]
    if not one.settings.against_each:
        pairs.append(("against", one.settings.against, other.settings.against))
    pairs.append(("corrupted_spans", _hidden(one), _hidden(other)))
    pairs.append(("n_layers", one.scores.shape[0], other.scores.shape[0]))
    return [pair for pair in pairs if pair[1] != pair[2]]


def _hidden(result: TraceResult) -> str:
    """What was corrupted, in a word: where it lies differs from prompt to prompt."""
    return "other tokens" if result.corrupted_spans else "the subject"


def shared_settings(results: Sequence[TraceResult]) -> TraceSettings:
    """The settings of comparable traces: those of the first, without a noise level where the levels differ, and without
    a second answer where each fact has its own.
    """
    settings = results[0].settings
    if settings.against_each:
        settings = replace(settings, against="")
    levels = {result.settings.noise_level for result in results}
    return settings if len(levels) == 1 else replace(settings, noise_level=None)


def gain_sign(settings: TraceSettings) -> int:
    """1 where a cell that matters has a positive indirect effect, -1 where it has a negative one.

    Clean states put into the corrupted run raise the metric; corrupted or zeroed ones put into the clean run lower it.
    A divergence from the clean run goes the other way.
    """
    return (1 if settings.direction == "denoise" else -1) * (-1 if settings.metric == "kl" else 1)
