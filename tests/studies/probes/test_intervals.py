"""Intervals of the probes, against plain loops over draws."""

import math
from statistics import fmean

import numpy as np
import pytest

from lens_rome.studies.probes.intervals import bootstrap, pair_bootstrap, ratio, share, transfer, wilson
from tests.oracles import probes as oracle


def test_a_bootstrap_is_that_of_its_definition_and_seeded() -> None:
    values = np.random.default_rng(1).normal(size=9)
    ends = oracle.bootstrap_by_loop(list(values), range(9), fmean, 4)
    assert bootstrap(values, seed=4) == pytest.approx((values.mean(), *ends))
    assert bootstrap(values, seed=4) != bootstrap(values, seed=5)


def test_rows_of_one_unit_are_drawn_together() -> None:
    values = list(np.random.default_rng(2).normal(size=11))
    units = [*"aaabbcddeef"]
    found = bootstrap(values, seed=4, units=units)
    assert found == pytest.approx((fmean(values), *oracle.bootstrap_by_loop(values, units, fmean, 4)))
    alone = bootstrap(values, seed=4)
    assert alone[0] == found[0] and alone[1:] != found[1:]


def test_fewer_than_five_units_have_no_interval() -> None:
    assert np.isnan(bootstrap([])).all()
    values = [3.0, 1.0, 2.0, 6.0]
    mean, low, high = bootstrap(values)
    assert (mean, math.isnan(low), math.isnan(high)) == (3.0, True, True)
    assert not np.isnan(bootstrap([*values, 3.0])).any()
    assert np.isnan(bootstrap(values * 3, units=[*"abcd"] * 3)[1:]).all(), "twelve rows, four units"
    assert not np.isnan(bootstrap([*values * 3, 1.0], units=[*"abcd" * 3, "e"])).any()


def test_the_coverage_that_is_documented() -> None:
    generator = np.random.default_rng(0)
    for n, share_of_times in ((5, 0.84), (10, 0.90)):
        drawn = generator.integers(n, size=(500, n))
        means = generator.normal(size=(800, n))[:, drawn].mean(axis=2)
        low, high = np.percentile(means, [2.5, 97.5], axis=1)
        assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(share_of_times, abs=0.035)


def test_a_draw_over_nothing_is_infinite_and_not_left_out() -> None:
    assert ratio(np.array([[1.0, 0.0], [0.0, 0.0]])) == math.inf
    assert math.isnan(ratio(np.zeros((3, 2))))
    # One of five has the old object: a third of the draws ((4/5)^5) do without it, and the new one is in all of them.
    rare = np.array([[1.0, 0.0]] * 4 + [[1.0, 1.0]])
    value, low, high = bootstrap(rare, ratio)
    assert value == 5.0 and low == pytest.approx(5 / 3) and high == math.inf
    # 0 over 0 tells nothing; more than 2.5% of the draws are that here, and none can be there.
    assert np.isnan(bootstrap(np.array([[0.0, 0.0]] * 4 + [[1.0, 1.0]]), ratio)[1:]).all()
    half = bootstrap(np.array([[0.0, 0.0]] * 5 + [[1.0, 1.0]] * 5), ratio)
    assert half == (1.0, 1.0, 1.0), "one draw in a thousand has none of either, and is left out"


def test_a_share_has_wilson_s_interval_only_where_a_unit_is_one_yes_or_no() -> None:
    flags = [True, False, True, True, True, False]
    assert share(flags, range(6)) == wilson(4, 6)
    units = [*"aabbcdef"]
    flags = [True, False, True, True, False, True, False, True]
    ends = oracle.bootstrap_by_loop(flags, units, fmean, 2)
    assert share(flags, units, seed=2) == pytest.approx((5 / 8, *ends))
    assert share([False] * 8, units) == wilson(0, 6), "six units, each with one answer"
    assert share([True] * 8, units) == wilson(6, 6)
    assert np.isnan(share([True, False] * 4, [*"aabbccdd"])[1:]).all()


def test_pairs_are_those_of_drawn_subjects() -> None:
    matrix = np.random.default_rng(3).normal(size=(6, 6, 1))
    matrix[1, 4] = np.nan  # Not asked.
    names = [*"abcdef"]

    def mean(pairs: np.ndarray, weights: np.ndarray) -> float:
        return float(np.average(pairs[:, 0], weights=weights)) if weights.any() else math.nan

    values = {(names[i], names[j]): float(matrix[i, j, 0]) for i, j in np.ndindex(6, 6) if (i, j) != (1, 4)}
    away = [value for (i, j), value in values.items() if i != j]
    for units in ({n: n for n in names}, dict(zip(names, "aabcde", strict=True))):
        found = pair_bootstrap(matrix, mean, seed=7, units=list(units.values()))
        ends = oracle.pair_bootstrap_by_loop(values, units, fmean, 7)
        assert found == pytest.approx((fmean(away), *ends), abs=1e-12)
    assert np.isnan(pair_bootstrap(matrix[:4, :4], mean, units=names[:4])[1:]).all()
    assert np.isnan(pair_bootstrap(np.full((6, 6, 1), np.nan), mean, units=names)).all()


def test_no_share_is_taken_of_a_change_that_is_too_small() -> None:
    assert transfer(np.array([[1.0, 3.0], [0.0, 1.0]])) == 0.25
    assert transfer(np.array([[1.0, -4.0]])) == -0.25
    assert math.isnan(transfer(np.array([[1.0, 0.04], [1.0, -0.04]])))
    assert math.isnan(transfer(np.array([[1.0, -0.04]])))


def test_the_interval_of_wilson_is_the_published_one_and_stays_within_0_and_1() -> None:
    share_of, low, high = wilson(8, 10)
    assert (share_of, low, high) == pytest.approx((0.8, 0.4902, 0.9433), abs=5e-4)
    assert wilson(0, 3)[1] == 0.0
    assert wilson(3, 3)[2] == 1.0
    assert np.isnan(wilson(0, 0)).all()
