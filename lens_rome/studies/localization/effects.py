"""What tracing and zeroing say of each layer of each fact: the other side of the study."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_rome._typing import Model
from lens_rome.errors import EditError
from lens_rome.facts import EvalRecord, Fact
from lens_rome.tracing import TraceSet, layer_effects, trace_facts, zeroing_effects

if TYPE_CHECKING:
    import pandas as pd

WINDOWS = (1, 3, 5, 10)
"""Layers that are restored together, as in the paper."""
ZERO_WINDOW = 5
"""Layers whose outputs are zero together."""
_KIND = "mlp"
_COLUMNS = ("id", "measure", "window", "layer", "effect", "effect_abs", "effect_last", "effect_last_fraction")


def traced_facts(records: Sequence[EvalRecord]) -> dict[str, Fact]:
    """The fact of each record, with its true object, by case id."""
    return {
        str(record.case_id): Fact(
            record.request.subject, record.request.template, record.request.target_true, record.request.relation
        )
        for record in records
    }


def check_traces(windows: Sequence[int], samples: int) -> None:
    """Raise `EditError` for no window, one below 1 or several alike, or fewer than one sample."""
    if not windows or min(windows) < 1 or len(set(windows)) < len(windows):
        raise EditError(f"windows are different whole numbers from 1, got {tuple(windows)}.")
    if samples < 1:
        raise EditError(f"samples are draws of noise, 1 at least; got {samples}.")


def trace_records(
    model: Model,
    records: Sequence[EvalRecord],
    out: Path,
    *,
    noise: float,
    windows: Sequence[int] = WINDOWS,
    samples: int = 10,
    prepend_bos: bool | None = None,
    shard: str | None = None,
    retry_errors: bool = False,
    progress: bool = True,
) -> None:
    """Trace the true object of every record (joint probability, MLP outputs restored) for every window, and zero the
    MLP outputs at the subject, into a folder each; what is there is not done again.

    Args:
        out: a folder that exists.
        noise: standard deviation on the subject's embeddings.
        windows: layers that are restored together, one run each.
        retry_errors: try facts again that failed in an earlier call.

    Raises:
        EditError: as `check_traces`.  TraceError, RunError: as `trace_facts`.
    """
    check_traces(windows, samples)
    facts = traced_facts(records)
    told: dict[str, Any] = {
        "known": False,
        "target": True,
        "shard": shard,
        "retry_errors": retry_errors,
        "progress": progress,
        "prepend_bos": prepend_bos,
    }
    for window in windows:
        trace_facts(
            model, facts, (_KIND,), out=out / _name(window), noise=noise, samples=samples, window=window, **told
        )
    trace_facts(
        model,
        facts,
        (_KIND,),
        out=out / _ZERO,
        window=ZERO_WINDOW,
        direction="zero",
        positions="subject",
        together=True,
        **told,
    )


def read_effects(folder: Path) -> "pd.DataFrame":
    """The frame of all effects in a folder of `trace_records`: one row a record, measure, window and layer, with id,
    measure (`"tracing"` or `"zeroing"`), window, layer, effect, effect_abs, effect_last, effect_last_fraction as in
    `tracing.layer_effects` and `tracing.zeroing_effects`; NaN where a measure has no such number.

    Raises:
        EditError: nothing was traced there.
    """
    import pandas as pd

    parts = []
    for path in sorted(folder.glob("window-*"), key=lambda path: int(path.name.removeprefix("window-"))):
        traces = TraceSet.load(path)
        if len(traces):
            parts.append(layer_effects(traces, _KIND).assign(measure="tracing", window=_window(path)))
    if (folder / _ZERO).is_dir() and len(zeroed := TraceSet.load(folder / _ZERO)):
        parts.append(zeroing_effects(zeroed, _KIND).assign(measure="zeroing", window=ZERO_WINDOW))
    if not parts:
        raise EditError(f"there are no traces in {folder}. Run the study there first.")
    return pd.concat(parts, ignore_index=True).reindex(columns=list(_COLUMNS))


def skipped(folder: Path) -> Mapping[str, str]:
    """Records that could not be traced, with the reason."""
    found: dict[str, str] = {}
    for path in sorted([*folder.glob("window-*"), *folder.glob(_ZERO)]):
        found |= TraceSet.load(path).skipped
    return found


_ZERO = "zeroing"


def _name(window: int) -> str:
    return f"window-{window}"


def _window(path: Path) -> int:
    return int(path.name.removeprefix("window-"))
