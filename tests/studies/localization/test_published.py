"""The published regressions: complete, as printed, and in agreement with their own arithmetic."""

import math
from typing import Any

import pytest

from lens_rome.studies.localization import published_regressions
from lens_rome.studies.localization.regressions import REGRESSION_COLUMNS
from tests.oracles.regression import f_tail
from tests.studies.localization.frames import METHODS, PROBLEMS

FRAME: Any = published_regressions()


def printed(problem: str, method: str, score: str = "rewrite", data: str = "counterfact", subset: str = "all") -> Any:
    keys = {"problem": problem, "method": method, "score": score, "data": data, "subset": subset}
    rows = FRAME
    for column, value in keys.items():
        rows = rows[rows[column] == value]
    (row,) = rows.to_dict("records")
    return row


def test_rewrite_and_overall_scores_are_there_for_all_problems_and_methods_and_nothing_is_twice() -> None:
    assert set(REGRESSION_COLUMNS) < set(FRAME.columns)
    for score in ("rewrite", "overall"):
        rows = FRAME[(FRAME.score == score) & (FRAME.subset == "all") & (FRAME.data == "counterfact")]
        keys = list(zip(rows["problem"], rows["method"], strict=True))
        assert keys == [(problem, method) for problem in PROBLEMS for method in METHODS]
        assert rows[["r2_layer", "r2_both", "difference"]].notna().all(axis=None)
    assert not FRAME.duplicated(["problem", "method", "score", "data", "subset"]).any()
    assert len(FRAME) == 20 + 20 + 16 + 5 + 1 + 2 and (FRAME["missing"] == "").all()


def test_some_figures_are_as_printed() -> None:
    best = printed("error injection", "ROME")
    assert (best["r2_layer"], best["r2_effect"], best["r2_both"], best["difference"]) == (0.947, 0.016, 0.948, 0.001)
    assert (best["rmse_layer"], best["rmse_effect"], best["mae_layer"], best["mae_effect"]) == (
        0.073,
        0.315,
        0.02,
        0.206,
    )
    assert (best["n_facts"], printed("fact erasure", "FT-1")["n_facts"]) == (652, 489)
    assert printed("fact forcing", "FT-5")["difference"] == FRAME["difference"].max() == 0.032
    assert printed("fact amplification", "MEMIT", "overall")["r2_both"] == 0.607
    assert printed("fact forcing", "ROME", "paraphrase")["r2_both"] == 0.36
    concentrated = printed("error injection", "ROME", subset="concentrated")
    assert (concentrated["n_facts"], concentrated["r2_layer"]) == (74, 0.927)
    zsre = printed("error injection", "ROME", "overall", "zsre")
    assert (zsre["r2_layer"], zsre["mae_effect"]) == (0.654, 0.188) and math.isnan(zsre["n_facts"])


def test_p_stays_readable_where_it_is_a_bound() -> None:
    bound, exact, none = (
        printed(*key)
        for key in (("error injection", "FT-1"), ("error injection", "MEMIT"), ("error injection", "FT-1", "overall"))
    )
    assert bound["p_text"] == "<1e-4" and math.isnan(bound["p"])
    assert exact["p_text"] == "0.199" and exact["p"] == 0.199
    assert none["p_text"] == "" and math.isnan(none["p"])


@pytest.mark.parametrize("row", FRAME[FRAME["difference"].notna()].to_dict("records"), ids=lambda row: row["score"])
def test_the_printed_difference_is_both_less_layer_within_rounding(row: Any) -> None:
    assert row["difference"] == pytest.approx(row["r2_both"] - row["r2_layer"], abs=1.5e-3 + 1e-9)
    assert row["r2_both"] >= row["r2_layer"] and not row["r2_both"] < row["r2_effect"]


def test_printed_p_values_follow_from_the_printed_r2_by_the_test_as_it_is_defined_here() -> None:
    for row in FRAME[FRAME["p_text"] != ""].to_dict("records"):
        # An intercept and a slope for each of 9 layers; the difference lies within the rounding of what is printed.
        rows, parameters = row["n_facts"] * 9, 18
        gap, bound = row["difference"], 1e-4 if math.isnan(row["p"]) else None
        low, high = (
            f_tail((d / 9) / ((1 - row["r2_both"]) / (rows - parameters)), 9, rows - parameters)
            for d in (gap + 0.0005, max(gap - 0.0005, 0))
        )
        assert low < bound if bound else low - 5e-4 <= row["p"] <= high + 5e-4, row
