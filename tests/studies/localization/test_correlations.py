"""Correlations of scores with effects, layer by layer."""

from typing import Any

import numpy as np
import pytest

from lens_rome.studies.localization import correlations
from lens_rome.studies.localization.correlations import CORRELATION_COLUMNS
from tests.oracles.regression import pearson_by_hand
from tests.studies.localization.frames import METHODS, of_values, random_frames

FEW = "a correlation needs 3 records at least"


@pytest.mark.parametrize(("measure", "window"), [("tracing", 5), ("zeroing", 1)])
def test_correlations_equal_the_plain_sums(measure: str, window: int) -> None:
    scores, effects = random_frames(0, methods=METHODS[1:3], gaps=0.15)
    found = correlations(scores, effects, measure=measure, window=window, score_names=("rewrite", "essence"))
    assert tuple(found.columns) == CORRELATION_COLUMNS and len(found) == 2 * 2 * 2 * 3
    at = {
        (row["id"], row["layer"]): row
        for row in effects.to_dict("records")
        if (row["measure"], row["window"]) == (measure, window)
    }
    for row in found.to_dict("records"):
        pairs = [
            (at[each["id"], each["layer"]][row["predictor"]], each[row["score"]])
            for each in scores.to_dict("records")
            if (each["method"], each["layer"]) == (row["method"], row["layer"])
        ]
        x, y = (list(column) for column in zip(*(p for p in pairs if not np.isnan(p).any()), strict=True))
        assert row["n_facts"] == len(x) and row["missing"] == ""
        assert (row["r"], row["p"]) == pytest.approx(pearson_by_hand(x, y), rel=1e-9, abs=1e-12)


def test_a_score_that_falls_as_the_effect_grows_has_correlation_minus_one() -> None:
    frames = of_values([(f"r{i}", layer, i / 7, 1 - i / 7 * layer) for i in range(5) for layer in (1, 2)])
    found = correlations(*frames, window=5, score_names=("rewrite",), predictors=("effect",))
    assert list(found["layer"]) == [1, 2] and list(found["r"]) == pytest.approx([-1, -1])


def rows_of(found: Any) -> list[tuple[int, str]]:
    assert found[["r", "p"]].isna().all(axis=None)
    return list(zip(found["layer"], found["missing"], strict=True))


def test_what_cannot_be_computed_is_a_row_that_says_why() -> None:
    scores, effects = random_frames(0)
    options: dict[str, Any] = {"window": 5, "score_names": ("rewrite",), "predictors": ("effect",)}
    few = correlations(scores, effects, ids=["record 0", "record 1"], layers=(0, 5), **options)
    reason = f"{FEW}, and 2 have both a score and an effect"
    assert rows_of(few) == [(0, reason), (5, reason)] and list(few["n_facts"]) == [2, 2]
    flat = correlations(scores.assign(rewrite=0.1 + 0.2), effects, **options)
    assert {why for _, why in rows_of(flat)} == {"the score is the same for all records"}
    still = correlations(scores, effects.assign(effect=0.3), **options)
    assert {why for _, why in rows_of(still)} == {"the effect is the same for all records"}
    lost = correlations(scores.assign(rewrite=np.nan, missing="diverged"), effects, **options)
    assert all(why.endswith("0 have both a score and an effect: diverged") for _, why in rows_of(lost))


def test_an_edited_layer_without_effects_such_as_the_embeddings_is_a_row_without_numbers() -> None:
    scores, effects = random_frames(0, layers=(-1, 0, 5))
    found = correlations(scores, effects, window=5, score_names=("rewrite",), predictors=("effect",))
    assert list(found["layer"]) == [-1, 0, 5] and list(found["n_facts"]) == [0, 12, 12]
    assert rows_of(found[:1]) == [(-1, f"{FEW}, and 0 have both a score and an effect")]
    assert list(found["missing"][1:]) == ["", ""]
