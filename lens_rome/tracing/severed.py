"""What is left of a state's effect when one path is cut: the bars of ROME's figure 3 (§2.2, App. B)."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lens_rome.errors import TraceError
from lens_rome.tracing.average import average_effects
from lens_rome.tracing.result import TraceResult
from lens_rome.tracing.roles import check_role
from lens_rome.tracing.trace_set import TraceSet

if TYPE_CHECKING:
    import pandas as pd


def severed_effects(
    sets: Sequence[TraceSet], role: str = "subject_last", *, band: str = "bootstrap", seed: int = 0
) -> "pd.DataFrame":
    """Average indirect effects of one role by layer, for the same facts with nothing, MLP or attention severed.

    Each effect is measured from its own corrupted run; that run is the same in all, for the same facts and noise.

    Args:
        sets: traces of the kind `resid`, one set for each way: as `trace_facts(..., severed=None)`, `"mlp"`, `"attn"`.
        role: as in `average_effects`.

    Returns:
        Columns layer, condition (`ordinary`, `mlp severed`, `attn severed`), n, effect, low, high: what
        `plotting.plot_severed` draws.

    Raises:
        TraceError: no sets, two of one condition, other facts, sets that are not of residuals alone, or that differ in
            more than the path that is severed.
    """
    import pandas as pd

    check_role(role)
    frames: dict[str, pd.DataFrame] = {}
    for each in sets:
        condition = _condition(each)
        if condition in frames:
            raise TraceError(f"two sets are {condition}; give one for each way of severing.")
        if set(each.traces) != set(sets[0].traces):
            raise TraceError("the sets are of different facts, so they cannot be compared. Trace the same ones.")
        _check_same(sets[0], each)
        frame = average_effects(each, band=band, seed=seed).to_dataframe()
        frames[condition] = frame[frame["role"] == role].assign(condition=condition)
    if not frames:
        raise TraceError("no sets of traces to compare.")
    joined = pd.concat(list(frames.values()), ignore_index=True)
    return joined.reindex(columns=["layer", "condition", "n", "effect", "low", "high"])


def _check_same(one: TraceSet, other: TraceSet) -> None:
    """`TraceError` where the traces of a fact differ in anything but the severed path and the scores."""
    for name, traces in one.traces.items():
        first, second = (_told(found["resid"]) for found in (traces, other.traces[name]))
        for what, value in first.items():
            if value != second[what]:
                raise TraceError(
                    f"the sets differ in more than the severed path: {what} of {name!r} is {value!r} and "
                    f"{second[what]!r}. Trace all with the same settings."
                )


def _told(result: TraceResult) -> dict[str, Any]:
    settings = {key: value for key, value in asdict(result.settings).items() if key != "severed"}
    spans = result.corrupted_spans
    return {**settings, "tokens": result.tokens, "answer": result.answer, "corrupted_spans": spans}


def _condition(traces: TraceSet) -> str:
    settings = [result.settings for found in traces.traces.values() for result in found.values()]
    if not settings or {each.kind for each in settings} != {"resid"} or len({each.severed for each in settings}) != 1:
        raise TraceError(
            "each set must hold traces of the kind resid with one way of severing, such as trace_facts(model, facts, "
            "('resid',), severed='mlp')."
        )
    return f"{settings[0].severed} severed" if settings[0].severed else "ordinary"
