"""Regressions of scores on the edited layer and on its effect."""

from typing import Any

import numpy as np
import pytest

from lens_rome.studies.localization import regressions
from lens_rome.studies.localization.regressions import REGRESSION_COLUMNS
from tests.oracles.regression import regression_by_hand
from tests.studies.localization.frames import METHODS, PROBLEMS, of_values, random_frames

COUNTS = ["n_facts", "n_rows", "n_layers"]


def only(scores: Any, effects: Any, **options: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"window": 5, "score_names": ("rewrite",), **options}
    (row,) = regressions(scores, effects, **asked).to_dict("records")
    return row


def by_hand(scores: Any, effects: Any, score: str, measure: str, window: int, predictor: str) -> dict[str, float]:
    """The oracle's row, over rows that a loop puts together."""
    found = {
        (row["id"], row["layer"]): row[predictor]
        for row in effects.to_dict("records")
        if (row["measure"], row["window"]) == (measure, window)
    }
    rows = [
        (row[score], found[row["id"], row["layer"]], row["layer"])
        for row in scores.to_dict("records")
        if row[score] == row[score] and found[row["id"], row["layer"]] == found[row["id"], row["layer"]]
    ]
    y, x, layers = (list(column) for column in zip(*rows, strict=True))
    return regression_by_hand(y, x, layers) | {"n_rows": len(rows)}


@pytest.mark.parametrize(
    ("measure", "window", "predictor"),
    [("tracing", 5, "effect"), ("tracing", 1, "effect_last"), ("zeroing", 5, "effect")],
)
@pytest.mark.parametrize("score", ["rewrite", "essence"])
def test_numbers_equal_those_of_the_plain_loops(score: str, measure: str, window: int, predictor: str) -> None:
    for seed, gaps in ((0, 0.0), (1, 0.2), (2, 0.2)):
        frames = random_frames(seed, gaps=gaps)
        found = only(*frames, score_names=(score,), measure=measure, window=window, predictor=predictor)
        expected = by_hand(*frames, score, measure, window, predictor)
        assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-10, abs=1e-10)
        assert found["missing"] == ""


def test_a_small_case_has_the_numbers_of_pencil_and_paper() -> None:
    points = {3: [(0, 0), (1, 1), (2, 5)], 7: [(0, 4), (1, 4), (2, 7)]}
    found = only(*of_values([(f"r{x}", layer, x, y) for layer, pairs in points.items() for x, y in pairs]))
    expected = {
        **{"r2_layer": 13.5 / 33.5, "r2_effect": 16 / 33.5, "r2_both": 30.5 / 33.5, "difference": 17 / 33.5},
        "chance": 20 / 33.5 * 2 / 4,
        **{"f": 17 / 3, "df1": 2, "df2": 2, "p": 0.15},  # for 2 and 2 degrees p = 1 / (1 + F)
        **{"rmse_layer": (20 / 6) ** 0.5, "rmse_effect": (17.5 / 6) ** 0.5, "rmse_both": 0.5**0.5},
        # residuals: -2 -1 3 and -1 -1 2; -1.5 -2.5 -0.5 and 2.5 0.5 1.5; 0.5 -1 0.5 in both layers
        **{"mae_layer": 10 / 6, "mae_effect": 9 / 6, "mae_both": 4 / 6},
        **{"n_facts": 3, "n_rows": 6, "n_layers": 2},
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_layer_and_effect_together_explain_no_less_than_either(seed: int) -> None:
    frames = random_frames(seed, problems=PROBLEMS[:2], methods=METHODS[:2], gaps=0.1)
    for row in regressions(*frames, window=5).to_dict("records"):
        assert row["r2_both"] >= max(row["r2_layer"], row["r2_effect"]) - 1e-12
        assert row["difference"] == pytest.approx(row["r2_both"] - row["r2_layer"], abs=1e-15)
        assert row["rmse_both"] <= min(row["rmse_layer"], row["rmse_effect"]) + 1e-12


def test_a_score_that_is_linear_in_the_layer_is_explained_by_it_and_leaves_nothing_to_test() -> None:
    places = [(i, layer) for i in range(9) for layer in (0, 2, 4)]
    rows = [(f"r{i}", layer, ((i * 7 + layer) % 5) / 5, 0.1 * layer + 0.3) for i, layer in places]
    found = only(*of_values(rows))
    assert found["r2_layer"] == pytest.approx(1, abs=1e-12) and found["difference"] == pytest.approx(0, abs=1e-12)
    assert np.isnan(found["f"]) and np.isnan(found["p"]) and "the layer explains the score wholly" in found["missing"]


def test_a_score_that_is_the_effect_is_explained_by_it() -> None:
    found: Any = random_frames(0)
    scores, effects = found
    traced = effects[(effects.measure == "tracing") & (effects.window == 5)].set_index(["id", "layer"])["effect"]
    scores["rewrite"] = [traced[pair] for pair in zip(scores["id"], scores["layer"], strict=True)]
    found = only(scores, effects)
    assert found["r2_effect"] == pytest.approx(1, abs=1e-12) and found["r2_both"] == pytest.approx(1, abs=1e-12)
    assert found["r2_layer"] < 0.5 and (found["f"], found["p"], found["missing"]) == (np.inf, 0, "")


def test_an_effect_that_says_nothing_adds_nothing_and_its_p_is_uniform() -> None:
    rng = np.random.default_rng(0)
    rows = [(f"r{i}", layer) for i in range(40) for layer in (0, 1, 2)]
    found = [
        only(*of_values([(*row, effect, score + row[1]) for row, effect, score in zip(rows, *drawn, strict=True)]))
        for drawn in (rng.normal(size=(2, len(rows))) for _ in range(120))
    ]
    p = np.sort([row["p"] for row in found])
    # Kolmogorov and Smirnov: beyond 1.63 / √n once in a hundred uniform samples
    assert np.abs(p - (np.arange(120) + 0.5) / 120).max() < 1.63 / 120**0.5
    assert np.mean([row["difference"] for row in found]) < 0.03


@pytest.mark.parametrize(("n_facts", "n_layers"), [(4, 2), (6, 3), (25, 2)])
def test_chance_is_the_mean_addition_of_effects_without_relation(n_facts: int, n_layers: int) -> None:
    rng = np.random.default_rng(1)
    places = [(f"r{i}", layer) for i in range(n_facts) for layer in range(n_layers)]
    found = [
        only(*of_values([(*row, effect, score + row[1]) for row, effect, score in zip(places, *drawn, strict=True)]))
        for drawn in (rng.normal(size=(2, len(places))) for _ in range(200))
    ]
    added, chance = (np.array([row[name] for row in found]) for name in ("difference", "chance"))
    error = (added - chance).std(ddof=1) / len(found) ** 0.5
    assert abs((added - chance).mean()) < 3 * error < 0.25 * chance.mean()


def test_a_layer_whose_effect_is_constant_has_no_slope_and_counts_for_one_degree_less() -> None:
    scores, effects = random_frames(3)
    whole = only(scores, effects)
    effects.loc[effects.layer == 2, "effect"] = 0.1 + 0.2  # no exact number in base 2
    found, expected = only(scores, effects), by_hand(scores, effects, "rewrite", "tracing", 5, "effect")
    assert (whole["df1"], whole["df2"]) == (3, 30) and (found["df1"], found["df2"]) == (2, 31)
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_the_unit_of_the_effect_does_not_matter(unit: float) -> None:
    scores, effects = random_frames(4)
    expected = {name: value for name, value in only(scores, effects).items() if isinstance(value, float)}
    found = only(scores, effects.assign(effect=effects["effect"] * unit + 3 * unit))
    # p is small, and moves with the last digits that the sum loses
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-7)


def test_there_is_a_row_for_each_problem_method_and_score_in_the_columns_of_the_contract() -> None:
    frames = random_frames(0, problems=PROBLEMS[1::-1], methods=METHODS[1:3])
    found = regressions(*frames, window=1, measure="zeroing")
    assert tuple(found.columns) == REGRESSION_COLUMNS
    keys = list(zip(found["problem"], found["method"], found["score"], strict=True))
    names = ("rewrite", "paraphrase", "neighborhood", "overall", "essence")
    assert keys == [(p, m, s) for p in PROBLEMS[1::-1] for m in METHODS[1:3] for s in names]
    assert set(zip(found["measure"], found["window"], found["subset"], strict=True)) == {("zeroing", 1, "all")}


def test_layers_and_records_can_be_chosen_and_rows_with_gaps_are_left_out_and_counted() -> None:
    scores, effects = random_frames(0)
    scores.loc[scores.id == "record 3", "rewrite"] = np.nan
    effects.loc[(effects.id == "record 4") & (effects.layer == 5), "effect"] = np.inf
    effects = effects[~((effects.id == "record 5") & (effects.layer == 0))]
    assert [only(scores, effects)[name] for name in COUNTS] == [11, 31, 3]
    chosen = only(scores, effects, ids=[f"record {i}" for i in range(6)], layers=(0, 5))
    assert [chosen[name] for name in (*COUNTS, "subset")] == [5, 8, 2, "concentrated"]
    assert only(scores, effects, ids=["record 1", "record 2", "record 9"], subset="three")["subset"] == "three"


def test_what_cannot_be_computed_is_a_row_that_says_why() -> None:
    scores, effects = random_frames(0)
    numbers = list(REGRESSION_COLUMNS[REGRESSION_COLUMNS.index("r2_layer") : -1])
    lost = scores.assign(rewrite=np.nan, missing="the essence texts are too short")
    flat = effects.assign(effect=0.25)
    cases = {
        "a regression on layers needs 2 of them at least, and there is 1": (scores, effects, {"layers": [2]}),
        "the score is the same in all rows": (scores.assign(rewrite=0.7), effects, {}),
        "the effect is the same in all rows": (scores, flat, {}),
        "6 rows are too few for 6 parameters": (scores, effects, {"ids": ["record 0", "record 1"]}),
        "no row has both a score and an effect: the essence texts are too short": (lost, effects, {}),
        "no row has both a score and an effect": (scores, effects.assign(effect=np.nan), {}),
    }
    for reason, (some_scores, some_effects, options) in cases.items():
        row = only(some_scores, some_effects, **options)
        assert row["missing"] == reason and all(np.isnan(row[name]) for name in numbers)
    by_layer = effects.assign(effect=effects["layer"] / 10)
    row = only(scores, by_layer)
    assert "within each layer the effect is the same" in row["missing"] and row["r2_both"] == row["r2_layer"] > 0
    assert row["df1"] == 0 and np.isnan(row["f"]) and np.isnan(row["p"])
