"""What a fact loses when a layer's outputs at the subject are zero, as the study of localization and editing asks it.

Another measure of where a fact is stored than restoring: it asks what is needed, not what suffices.

Reference: Hase et al., Does Localization Inform Editing?, https://arxiv.org/abs/2301.04213 (representation zeroing).
"""

from typing import TYPE_CHECKING

import torch

from lens_rome.errors import TraceError
from lens_rome.tracing.comparable import comparable_traces
from lens_rome.tracing.result import TraceResult
from lens_rome.tracing.trace_set import TraceSet

if TYPE_CHECKING:
    import pandas as pd

_PROBABILITIES = ("prob", "prob_per_token")


def zeroing_effects(traces: TraceSet, kind: str = "mlp") -> "pd.DataFrame":
    """One row a fact and layer: id, layer, effect.

    `effect` is `(p - p_zero) / p`, clipped to 0 … 1: the share of the answer's probability that is lost when the
    outputs of the window around the layer are zero at the subject's tokens. Of traces with `positions="subject"` and
    `together=True` all tokens are zeroed at once; else one by one, and the largest effect of the subject's traced
    tokens is taken. NaN where `p` is 0; a layer without a traced subject token has no row. The study's window is 5.

    Args:
        traces: as `trace_facts(model, facts, ("mlp",), direction="zero", positions="subject", together=True)`.

    Raises:
        TraceError: no traces of this kind, settings that differ, another direction or metric, or positions restored
            together that are not the subject's tokens.
    """
    import pandas as pd

    found = comparable_traces(traces, kind)
    _check(next(iter(found.values())), kind)
    rows = []
    for name, result in found.items():
        _check_joint(name, result)
        cells = result.scores[:, slice(*result.subject_span)]
        for layer, scores in enumerate(cells):
            left = scores[~scores.isnan()]
            if len(left):
                rows.append((name, layer, _lost(result.clean_score, float(left.min()))))
    return pd.DataFrame(rows, columns=["id", "layer", "effect"])


def _lost(clean: float, zeroed: float) -> float:
    return min(1.0, max(0.0, (clean - zeroed) / clean)) if clean > 0 else float("nan")


def _check(example: TraceResult, kind: str) -> None:
    settings = example.settings
    if settings.direction != "zero":
        raise TraceError(
            f"effects of zeroing need traces with direction 'zero', but the {kind} traces have {settings.direction!r}. "
            "Trace with direction='zero', or use `layer_effects`."
        )
    if settings.metric not in _PROBABILITIES:
        raise TraceError(
            f"effects of zeroing are shares of a probability, but the {kind} traces measure {settings.metric!r}. Trace "
            f"with one of {', '.join(_PROBABILITIES)}."
        )


def _check_joint(name: str, result: TraceResult) -> None:
    traced = torch.nonzero(~result.scores.isnan().all(0))[:, 0].tolist()
    if result.settings.together and traced != list(range(*result.subject_span)):
        raise TraceError(
            f"the trace of {name!r} zeroed the positions {traced} together, which are not the subject's "
            f"{list(range(*result.subject_span))}. Trace with positions='subject'."
        )
