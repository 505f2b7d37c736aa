"""`average_effects`: what restoring a site does on average, by layer and role of token (ROME, §2.2 and figure 2)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from lens_rome.errors import TraceError
from lens_rome.tracing.average_result import AverageEffects, KindAverage, Mean
from lens_rome.tracing.bands import check_band, draw_facts, normal_band, percentile_band
from lens_rome.tracing.buckets import Bucket, check_weighting
from lens_rome.tracing.comparable import check_not_empty, comparable_traces, shared_settings
from lens_rome.tracing.result import TraceResult
from lens_rome.tracing.roles import ROLES
from lens_rome.tracing.trace_set import TraceSet


def average_effects(
    traces: TraceSet,
    *,
    band: str = "normal",
    weighting: str = "token",
    known_only: bool = False,
    draws: int = 2000,
    seed: int = 0,
) -> AverageEffects:
    """Average indirect effect by kind, role of token and layer, with 95% bands, and the average total effect by kind.

    The roles are those of `token_roles`. With `weighting="token"` an effect is the mean, over all tokens of the role in
    all facts, of each token's own indirect effect: its score minus the baseline of its own prompt. With
    `weighting="released"` it is what ROME's released code computes: the mean score of the role's tokens minus the mean
    baseline of *all* facts. The two are equal where each fact has one token of the role; for `subject_middle` and
    `further` the released number also holds how prompts with many such tokens differ from the others. In both, a fact
    with more such tokens counts more. Cells that were not traced are left out of mean and n.
    Positions that were restored together have one joint score, which counts once for each fact and role.

    Args:
        band: `"normal"` for mean ± 1.96·s/√n, with s the sample standard deviation of the role's n own indirect
            effects, as if its tokens were independent; in both weightings. `"bootstrap"` for percentiles of the mean
            over facts drawn anew with replacement: tokens of one fact stay together, so bands of `subject_middle` and
            `further` are honest, and the band is that of the chosen weighting. NaN with fewer than two samples
            (normal) or two facts (bootstrap).
        known_only: average only facts whose traced answer is their target, as the released code does.
        draws: samples of facts for the bootstrap.
        seed: of the bootstrap. All kinds use the same seed.

    Raises:
        TraceError: no traces, none left by `known_only`, settings or depths that differ within a kind (see
            `comparable_traces`), or an unknown `band` or `weighting`.

    Reference: ROME, https://arxiv.org/abs/2202.05262, §2.2.
    """
    check_band(band, draws, seed)
    check_weighting(weighting)
    check_not_empty(traces)
    chosen = {kind: list(comparable_traces(traces, kind).values()) for kind in traces.kinds}
    if known_only:
        chosen = {kind: [result for result in results if result.answer_is_target] for kind, results in chosen.items()}
        for kind, results in chosen.items():
            if not results:
                raise TraceError(f"in no {kind} trace the answer is the fact's target. Pass `known_only=False`.")
    averages = tuple(_average(kind, results, band, weighting, draws, seed) for kind, results in chosen.items())
    return AverageEffects(averages, band, weighting, known_only, draws, seed)


def _average(
    kind: str, results: Sequence[TraceResult], band: str, weighting: str, draws: int, seed: int
) -> KindAverage:
    weights = draw_facts(len(results), draws, seed) if band == "bootstrap" else None
    buckets = [Bucket.of(results, role) for role in ROLES]
    bands = [_band(bucket, weighting, weights) for bucket in buckets]
    return KindAverage(
        kind=kind,
        settings=shared_settings(results),
        effect=np.stack([bucket.mean(weighting) for bucket in buckets]),
        low=np.stack([low for low, _ in bands]),
        high=np.stack([high for _, high in bands]),
        n=np.stack([bucket.n for bucket in buckets]),
        n_facts=np.stack([bucket.n_facts for bucket in buckets]),
        n_tokens=np.array([len(bucket.facts) for bucket in buckets]),
        clean=_mean([result.clean_score for result in results], weights),
        corrupted=_mean([result.corrupted_score for result in results], weights),
        total_effect=_mean([result.total_effect for result in results], weights),
    )


def _band(
    bucket: Bucket, weighting: str, weights: Float[np.ndarray, "draw fact"] | None
) -> tuple[Float[np.ndarray, " layer"], Float[np.ndarray, " layer"]]:
    if weights is None:
        return normal_band(bucket.effects)
    low, high = percentile_band(bucket.means(weights, weighting))
    several = bucket.n_facts > 1  # one fact drawn again and again is always itself
    return np.where(several, low, np.nan), np.where(several, high, np.nan)


def _mean(values: Sequence[float], weights: Float[np.ndarray, "draw fact"] | None) -> Mean:
    """Mean of one number a fact, with its band."""
    column = np.array(values, dtype=np.float64)[:, None]
    if weights is None or len(values) < 2:
        low, high = normal_band(column)
    else:
        low, high = percentile_band(weights @ column / len(values))
    return Mean(float(column.mean()), float(low[0]), float(high[0]), len(values))
