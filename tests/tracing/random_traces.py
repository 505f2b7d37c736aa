"""Made-up traces of random numbers, with subjects at every kind of place in the prompt."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from lens_rome.tracing import TraceResult, TraceSettings
from lens_rome.tracing.trace_set import TraceSet
from tests.oracles import averages as oracle

PLACES = [
    ((1, 2), 6),  # one token
    ((0, 2), 7),  # two tokens, none before
    ((1, 5), 9),  # middle and further tokens
    ((2, 4), 5),  # one token after the subject
    ((1, 4), 4),  # the subject ends the prompt
    ((2, 3), 3),  # a subject of one token ends the prompt
    ((0, 1), 1),  # a prompt of one token
    ((3, 6), 8),
    ((1, 7), 14),
]
"""Subject spans and lengths of the prompt: every edge case of the roles, and usual ones."""


def settings(kind: str = "mlp", **changes: Any) -> TraceSettings:
    made = TraceSettings(kind, 3, "3σ", 0.2, 4, 1, True, "synthetic", "hooked", False, "torch.float64")
    return replace(made, **changes)


def made_of(
    scores: np.ndarray,
    corrupted: float,
    span: tuple[int, int],
    kind: str = "mlp",
    *,
    clean: float = 0.9,
    target: str = "Paris",
    **changes: Any,
) -> TraceResult:
    """A trace with these scores `[layer, pos]`: all its samples are equal."""
    n_positions = scores.shape[1]
    samples = torch.from_numpy(np.asarray(scores, dtype=np.float64))[..., None].repeat(1, 1, 4)
    return TraceResult(
        samples,
        torch.full((4,), corrupted, dtype=torch.float64),
        clean,
        "a prompt",
        "subject",
        tuple(range(n_positions)),
        tuple(f" t{i}" for i in range(n_positions)),
        span,
        " Paris",
        (7,),
        target,
        settings(kind, **changes),
    )


def random_trace(
    rng: np.random.Generator,
    place: tuple[tuple[int, int], int],
    kind: str = "mlp",
    n_layers: int = 5,
    untraced: float = 0.0,
    **changes: Any,
) -> TraceResult:
    """Random scores; a share `untraced` of the cells is NaN."""
    span, length = place
    scores = rng.uniform(0, 1, (n_layers, length))
    scores[rng.uniform(size=scores.shape) < untraced] = np.nan
    clean, corrupted = rng.uniform(0.5, 1), rng.uniform(0, 0.5)
    return made_of(scores, corrupted, span, kind, clean=clean, **changes)


def random_set(seed: int, kinds: tuple[str, ...] = ("resid", "mlp", "attn"), untraced: float = 0.2) -> TraceSet:
    """Facts at all `PLACES`, twice each, and of all kinds but for the first, which has a single one."""
    rng = np.random.default_rng(seed)
    found: dict[str, Mapping[str, TraceResult]] = {}
    for number, place in enumerate(PLACES * 2):
        traced = kinds if number else kinds[:1]
        found[f"fact {number}"] = {
            kind: random_trace(rng, place, kind, untraced=untraced, window=1 if kind == "resid" else 3)
            for kind in traced
        }
    return TraceSet(found)


def set_of(*results: TraceResult) -> TraceSet:
    """One fact a trace, named `0`, `1`, …"""
    return TraceSet({str(i): {result.settings.kind: result} for i, result in enumerate(results)})


def numbers(result: TraceResult) -> oracle.Numbers:
    return oracle.Numbers(result.scores.tolist(), result.corrupted_score, result.clean_score, result.subject_span)


def numbers_of(traces: TraceSet, kind: str) -> list[oracle.Numbers]:
    return [numbers(result) for result in traces.of_kind(kind).values()]


def assert_same(found: float, expected: float) -> None:
    assert (math.isnan(found) and math.isnan(expected)) or abs(found - expected) < 1e-12, (found, expected)
