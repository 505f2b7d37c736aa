"""Frames of a localization study made up for pictures: as many records and layers as a test needs, seeded."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

PROBLEMS = ("error injection", "tracing reversal", "fact erasure", "fact amplification", "fact forcing")
METHODS = ("FT-1", "FT-5", "ROME", "MEMIT")
SCORES = ("rewrite", "paraphrase", "neighborhood", "essence")


def made_up_layer_effects(
    n_layers: int = 8, n_records: int = 12, windows: Sequence[int] = (1, 5), measure: str = "tracing"
) -> pd.DataFrame:
    """Effects that rise to a peak, wider and higher with the window, at another layer for each record."""
    generator = np.random.default_rng(0)
    layers = np.arange(n_layers)
    frames = []
    for window in windows:
        for record in range(n_records):
            peak = generator.normal(0.35, 0.15) * n_layers
            height = generator.uniform(0.1, 0.9) * (1 - 0.5 / window)
            effect = height * np.exp(-(((layers - peak) / (0.15 * n_layers + window)) ** 2))
            effect = np.clip(effect + generator.normal(0, 0.02, n_layers), 0, 1)
            frames.append(
                pd.DataFrame(
                    {
                        "id": f"record {record}",
                        "measure": measure,
                        "window": window,
                        "layer": layers,
                        "effect": effect,
                        "effect_abs": 0.8 * effect,
                        "effect_last": 0.7 * effect - 0.05,
                        "effect_last_fraction": np.nan if measure == "zeroing" else effect - 0.06,
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def made_up_scores(
    layers: Sequence[int] = tuple(range(8)),
    n_records: int = 12,
    problems: Sequence[str] = PROBLEMS,
    methods: Sequence[str] = METHODS,
) -> pd.DataFrame:
    """Scores that fall in late layers, each method's from its own height."""
    generator = np.random.default_rng(1)
    rows = [
        (f"record {r}", p, m, layer) for p in problems for m in methods for layer in layers for r in range(n_records)
    ]
    frame = pd.DataFrame(rows, columns=["id", "problem", "method", "layer"])
    height = frame["method"].map({name: 1.0 - 0.15 * rank for rank, name in enumerate(methods)})
    depth = frame["layer"] / max(layers)
    for rank, name in enumerate(SCORES):
        raw = height - 0.1 * rank - 0.5 * depth**3 + generator.normal(0, 0.1, len(frame))
        frame[name] = np.clip(raw, 0, 1)
    frame["overall"] = frame[["rewrite", "paraphrase", "neighborhood"]].mean(axis=1)
    frame["overall_essence"] = frame[list(SCORES)].mean(axis=1)
    return frame.assign(seconds=1.0, missing="")


def made_up_regressions(
    problems: Sequence[str] = PROBLEMS, methods: Sequence[str] = METHODS, window: int = 5, score: str = "rewrite"
) -> pd.DataFrame:
    """One row a problem and method, the effect adding little."""
    rows = [
        (p, m, 0.9 - 0.13 * i - 0.07 * j, 0.001 + 0.006 * i)
        for i, p in enumerate(problems)
        for j, m in enumerate(methods)
    ]
    frame = pd.DataFrame(rows, columns=["problem", "method", "r2_layer", "difference"])
    return frame.assign(
        score=score, measure="tracing", window=window, predictor="effect", subset="all", n_facts=120, missing=""
    )
