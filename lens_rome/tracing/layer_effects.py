"""The tracing effect of each layer of each fact, as the study of localization and editing measures it.

Reference: Hase et al., Does Localization Inform Editing?, https://arxiv.org/abs/2301.04213, and its released code.
"""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from lens_rome.errors import TraceError
from lens_rome.tracing.comparable import comparable_traces, gain_sign
from lens_rome.tracing.result import TraceResult
from lens_rome.tracing.roles import ROLES, token_roles
from lens_rome.tracing.trace_set import TraceSet

if TYPE_CHECKING:
    import pandas as pd

_HIGHS = ("clean", "max")
_POOLED = "pooled"


def layer_effects(traces: TraceSet, kind: str = "mlp", *, high: str = "clean") -> "pd.DataFrame":
    """One row a fact and layer: id, layer, effect, effect_abs, effect_last, effect_last_fraction.

    With `abs` the indirect effect of a cell and the *gap* the distance between the corrupted score and the high one:

    * `effect`: largest of max(0, abs / gap) over the tokens from the first subject token to the prompt's last: the
      share of what the noise destroyed that one restored cell brings back. NaN where the gap is 0;
    * `effect_abs`: largest `abs` over the same tokens, in units of the metric; may be negative;
    * `effect_last`: `abs` at the subject's last token, NaN where that was not traced;
    * `effect_last_fraction`: `effect_last` / gap, not clipped.

    Tokens that were not traced do not count; a layer without any has no row. For the divergence `kl`, which falls where
    the answer comes back, all signs are turned, so that larger means more everywhere.

    Args:
        high: the high score: `"clean"` for that of the clean run (the paper), `"max"` for the larger of it and the best
            restored one (the study's released code; `effect` is then at most 1).

    Raises:
        TraceError: no traces of this kind, settings that differ, an unknown `high`, or traces in another direction than
            `denoise`, for which this is not defined.
    """
    import pandas as pd

    columns = ["id", "layer", "effect", "effect_abs", "effect_last", "effect_last_fraction"]
    rows = []
    for name, result in _restoring_traces(traces, kind).items():
        cells, gap = _cells(result), _gap(result, high)
        last = cells[:, result.subject_span[1] - 1 - result.subject_span[0]]
        for layer, best in _best(cells).items():
            share, share_last = (x / gap if gap > 0 else np.nan for x in (best, last[layer]))
            rows.append((name, layer, max(0.0, share) if gap > 0 else np.nan, best, last[layer], share_last))
    return pd.DataFrame(rows, columns=columns)


def peak_layers(traces: TraceSet, kind: str = "mlp", *, role: str = "subject_last") -> "pd.DataFrame":
    """One row a layer: kind, role, layer, count (facts that peak there) and share (of all facts).

    A fact peaks at the layer of its largest indirect effect over its tokens of the role. Where several layers tie
    exactly, each of them is counted, so that shares may add up to more than 1. Facts without a traced cell there are
    left out.

    Args:
        role: as of `token_roles`; or `"pooled"` for all tokens from the first subject token on together, which mixes
            the early site at the subject with the late one at the last token.

    Raises:
        TraceError: as `layer_effects`, an unknown role, or no fact has a traced cell of it.
    """
    import pandas as pd

    if role not in (*ROLES, _POOLED):
        raise TraceError(f"unknown role {role!r}; choose one of {', '.join(ROLES)}, {_POOLED}.")
    found = _restoring_traces(traces, kind)
    count = [0] * next(iter(found.values())).scores.shape[0]
    best = [effects for effects in (_best(_cells_of(result, role)) for result in found.values()) if effects]
    if not best:
        where = "from the subject on" if role == _POOLED else f"of role {role!r}"
        raise TraceError(f"no {kind} trace has a traced cell {where}. Trace those positions, or choose another role.")
    for effects in best:
        for layer, effect in effects.items():
            count[layer] += effect == max(effects.values())
    rows = [(kind, role, layer, n, n / len(best)) for layer, n in enumerate(count)]
    return pd.DataFrame(rows, columns=["kind", "role", "layer", "count", "share"])


def concentrated(
    traces: TraceSet, kind: str = "mlp", *, share: float = 0.5, at_most: int = 3, high: str = "clean"
) -> list[str]:
    """Ids of the facts whose effect is concentrated in few layers, in the order of the set.

    With `effect` as in `layer_effects`: at most `at_most` layers besides the largest have an effect of `share` times
    the largest or more. A fact without any positive effect is not concentrated.

    Raises:
        TraceError: as `layer_effects`, `share` is not above 0 and up to 1, `at_most` is negative, or a fact has a layer
            without a traced cell, which might hold a large effect.
    """
    _check_concentration(share, at_most)
    frame = layer_effects(traces, kind, high=high)
    by_fact = {str(name): rows["effect"].to_numpy(float) for name, rows in frame.groupby("id", sort=False)}
    chosen = []
    for name, result in _restoring_traces(traces, kind).items():
        effects, n_layers = by_fact.get(name, np.empty(0)), result.scores.shape[0]
        if len(effects) < n_layers:
            raise TraceError(
                f"the {kind} trace of {name!r} has cells in {len(effects)} of {n_layers} layers from the subject on. "
                "Trace all layers to tell whether its effect is concentrated."
            )
        if is_concentrated(effects, share, at_most):
            chosen.append(name)
    return chosen


def is_concentrated(effects: Float[np.ndarray, " layer"], share: float = 0.5, at_most: int = 3) -> bool:
    """Whether at most `at_most` layers besides the largest have an effect of `share` times the largest or more.

    False without any positive effect, and where an effect is NaN.

    Raises:
        TraceError: `share` is not above 0 and up to 1, or `at_most` is negative.
    """
    _check_concentration(share, at_most)
    largest = effects.max()
    others = np.delete(effects, effects.argmax())
    return bool(largest > 0) and int((others >= share * largest).sum()) <= at_most


def _check_concentration(share: float, at_most: int) -> None:
    if not 0 < share <= 1:
        raise TraceError(f"share must be above 0 and up to 1, got {share!r}.")
    if at_most < 0:
        raise TraceError(f"at_most must be a whole number from 0 up, got {at_most!r}.")


def _restoring_traces(traces: TraceSet, kind: str) -> dict[str, TraceResult]:
    found = comparable_traces(traces, kind)
    direction = next(iter(found.values())).settings.direction
    if direction != "denoise":
        raise TraceError(
            f"effects of layers are shares of what restoring brings back, but the {kind} traces have direction "
            f"{direction!r}. Trace with direction 'denoise', or use `average_effects`."
        )
    return found


def _cells(result: TraceResult) -> Float[np.ndarray, "layer pos"]:
    """Indirect effects from the first subject token on, signed so that larger brings back more."""
    effects = result.indirect_effects[:, result.subject_span[0] :].double().cpu().numpy()
    return gain_sign(result.settings) * effects


def _cells_of(result: TraceResult, role: str) -> Float[np.ndarray, "layer pos"]:
    """The columns of `_cells` at the tokens of a role, or all of them."""
    if role == _POOLED:
        return _cells(result)
    first = result.subject_span[0]
    positions = token_roles(result.subject_span, len(result.tokens))[role]
    return _cells(result)[:, [position - first for position in positions]]


def _best(cells: Float[np.ndarray, "layer pos"]) -> dict[int, float]:
    """Largest effect of each layer that has one."""
    there = ~np.isnan(cells).all(1)
    return {int(layer): float(np.nanmax(cells[layer])) for layer in np.flatnonzero(there)}


def _gap(result: TraceResult, high: str) -> float:
    if high not in _HIGHS:
        raise TraceError(f"unknown high score {high!r}; choose one of {', '.join(_HIGHS)}.")
    clean = gain_sign(result.settings) * result.total_effect
    best = _best(_cells(result)).values()
    # Both count from the corrupted score, so the larger of them belongs to the larger score.
    return abs(max(clean, *best)) if high == "max" and best else abs(clean)
