"""Made-up tables of scores and effects, with gaps where one asks for them."""

from typing import Any

import numpy as np
import pandas as pd

PROBLEMS = ("error injection", "tracing reversal", "fact erasure", "fact amplification", "fact forcing")
METHODS = ("FT-1", "FT-5", "ROME", "MEMIT")


def effect_row(name: str, layer: int, effect: float, **others: Any) -> dict[str, Any]:
    row = {"id": name, "measure": "tracing", "window": 5, "layer": layer, "effect": effect, "effect_abs": effect / 2}
    return {**row, "effect_last": effect / 3, "effect_last_fraction": effect / 4, **others}


def score_row(name: str, layer: int, score: float, **others: Any) -> dict[str, Any]:
    row = {"id": name, "problem": "error injection", "method": "ROME", "layer": layer, "rewrite": score}
    rest = dict.fromkeys(("paraphrase", "neighborhood", "essence", "overall", "overall_essence"), score)
    return {**row, **rest, "seconds": 1.0, "missing": "", **others}


def of_values(rows: list[tuple[str, int, float, float]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores and effects of (record, layer, effect, score)."""
    scores = pd.DataFrame([score_row(name, layer, score) for name, layer, _, score in rows])
    return scores, pd.DataFrame([effect_row(name, layer, effect) for name, layer, effect, _ in rows])


def random_frames(
    seed: int,
    n_facts: int = 12,
    layers: tuple[int, ...] = (0, 2, 5),
    *,
    problems: tuple[str, ...] = PROBLEMS[:1],
    methods: tuple[str, ...] = METHODS[2:3],
    gaps: float = 0.0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores that lean on the layer and a little on the effect; effects of 6 layers, windows 1 and 5, both measures."""
    rng = np.random.default_rng(seed)
    names = [f"record {i}" for i in range(n_facts)]
    effects = pd.DataFrame(
        effect_row(name, layer, rng.random(), measure=measure, window=window, effect_last=rng.normal())
        for measure in ("tracing", "zeroing")
        for window in (1, 5)
        for name in names
        for layer in range(6)
    )
    frame: Any = effects
    traced = frame[(frame.measure == "tracing") & (frame.window == 5)].set_index(["id", "layer"])["effect"]
    scores = pd.DataFrame(
        score_row(
            name,
            layer,
            rng.random() + 0.1 * layer + 0.3 * traced.get((name, layer), 0) * layer,
            problem=problem,
            method=method,
        )
        | {"paraphrase": rng.random(), "essence": rng.random()}
        for problem in problems
        for method in methods
        for name in names
        for layer in layers
    )
    for frame, column in ((scores, "rewrite"), (effects, "effect")):
        frame.loc[rng.random(len(frame)) < gaps, column] = np.nan
    return scores, effects
