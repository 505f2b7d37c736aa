"""Bands of averages over many traces: equal to plain loops, and they hold what they promise."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lens_rome.tracing.average import average_effects
from lens_rome.tracing.bands import draw_facts, normal_band
from lens_rome.tracing.roles import ROLES
from lens_rome.tracing.trace_set import TraceSet
from tests.oracles import averages as oracle
from tests.tracing.random_traces import assert_same, made_of, numbers_of, random_set, random_trace, set_of, settings


def test_normal_bands_equal_the_plain_formula() -> None:
    traces = random_set(2)
    average = average_effects(traces).of_kind("mlp")
    for row, role in enumerate(ROLES):
        for layer in range(5):
            own = [effect for _, effect in oracle.tokens_by_loop(numbers_of(traces, "mlp"), role, layer)]
            low, high = oracle.normal_band_by_loop(own)
            assert_same(average.low[row, layer], low)
            assert_same(average.high[row, layer], high)


@pytest.mark.parametrize("weighting", ["token", "released"])
def test_bootstrap_bands_equal_averages_of_facts_drawn_one_by_one(weighting: str) -> None:
    traces = random_set(3, ("mlp",))
    average = average_effects(traces, band="bootstrap", weighting=weighting, draws=100, seed=5).of_kind("mlp")
    redrawn = oracle.redrawn_facts(numbers_of(traces, "mlp"), 100, 5)
    for row, role in enumerate(ROLES):
        for layer in (0, 3):
            low, high = oracle.bootstrap_by_loop(redrawn, role, layer, weighting)
            assert_same(average.low[row, layer], low)
            assert_same(average.high[row, layer], high)


@pytest.mark.parametrize("band", ["normal", "bootstrap"])
def test_total_effects_are_means_over_facts_with_bands(band: str) -> None:
    traces = random_set(4, ("mlp",))
    facts = numbers_of(traces, "mlp")
    average = average_effects(traces, band=band, draws=100).of_kind("mlp")
    clean, corrupted = [fact.clean for fact in facts], [fact.corrupted for fact in facts]
    total = [here - there for here, there in zip(clean, corrupted, strict=True)]
    for found, values in ((average.clean, clean), (average.corrupted, corrupted), (average.total_effect, total)):
        assert_same(found.mean, sum(values) / len(values))
        assert found.n == len(facts) and found.low < found.mean < found.high
        if band == "normal":
            assert_same(found.low, oracle.normal_band_by_loop(values)[0])
            assert_same(found.high, oracle.normal_band_by_loop(values)[1])


def test_both_weightings_agree_where_every_fact_has_one_token_of_the_role_and_differ_elsewhere() -> None:
    rng = np.random.default_rng(0)
    traces = set_of(*(random_trace(rng, place) for place in [((1, 3), 6), ((2, 7), 10), ((1, 6), 14)]))
    own, released = (average_effects(traces, weighting=weighting).of_kind("mlp") for weighting in ("token", "released"))
    single = [ROLES.index(role) for role in ("subject_first", "subject_last", "after_subject", "last")]
    many = [ROLES.index(role) for role in ("subject_middle", "further")]
    np.testing.assert_allclose(own.effect[single], released.effect[single], rtol=0, atol=1e-14)
    assert (abs(own.effect[many] - released.effect[many]) > 1e-3).all()


def test_all_kinds_of_the_same_facts_are_drawn_alike() -> None:
    one = random_set(6, ("mlp",))
    both = TraceSet(
        {
            name: {"mlp": found["mlp"], "attn": replace(found["mlp"], settings=settings("attn"))}
            for name, found in one.traces.items()
        }
    )
    found = average_effects(both, band="bootstrap", draws=100)
    np.testing.assert_array_equal(found.of_kind("mlp").low, found.of_kind("attn").low)
    again = average_effects(both, band="bootstrap", draws=100, seed=1)
    assert not np.array_equal(found.of_kind("mlp").low, again.of_kind("mlp").low, equal_nan=True)
    np.testing.assert_array_equal(found.of_kind("mlp").effect, again.of_kind("mlp").effect)
    assert (draw_facts(18, 100, 0).sum(1) == 18).all()


def coverage(average: Any, role: str, truth: float) -> float:
    row = ROLES.index(role)
    return float(((average.low[row] <= truth) & (truth <= average.high[row])).mean())


@pytest.mark.parametrize("band", ["normal", "bootstrap"])
def test_bands_of_independent_normal_effects_hold_the_truth_in_about_95_percent(band: str) -> None:
    # 1000 intervals (20 sets of 40 facts, 50 independent layers): their share has a standard error of 0.7%; a
    # normal quantile with 40 samples gives 94.3%, the percentile bootstrap a little less.
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(20):
        facts = [made_of(rng.normal(0.5, 0.2, (50, 3)), 0.2, (1, 2)) for _ in range(40)]
        average = average_effects(set_of(*facts), band=band, draws=400).of_kind("mlp")
        shares.append(coverage(average, "subject_last", 0.3))
    assert 0.92 < np.mean(shares) < 0.97


def test_only_the_bootstrap_holds_where_tokens_of_one_fact_are_alike() -> None:
    rng = np.random.default_rng(2)
    shares: dict[str, list[float]] = {"normal": [], "bootstrap": []}
    for _ in range(10):
        alike = rng.normal(0.5, 0.2, (40, 50, 1)) + rng.normal(0, 0.02, (40, 50, 9))
        traces = set_of(*(made_of(scores, 0.2, (0, 1)) for scores in alike))
        for band, found in shares.items():
            average = average_effects(traces, band=band, draws=400).of_kind("mlp")
            found.append(coverage(average, "further", 0.3))
    assert np.mean(shares["normal"]) < 0.7  # seven tokens a fact: bands shorter by √7
    assert 0.9 < np.mean(shares["bootstrap"]) < 0.97


@pytest.mark.parametrize("band", ["normal", "bootstrap"])
def test_a_single_fact_has_means_and_no_bands(band: str) -> None:
    trace = random_trace(np.random.default_rng(0), ((1, 3), 5))
    average = average_effects(set_of(trace), band=band, draws=100).of_kind("mlp")
    row = ROLES.index("subject_last")
    np.testing.assert_allclose(average.effect[row], trace.indirect_effects[:, 2].numpy(), atol=1e-15)
    assert np.isnan(average.low).all() and np.isnan(average.high).all() and math.isnan(average.total_effect.low)


def test_a_normal_band_of_fewer_than_two_samples_is_nan() -> None:
    low, high = normal_band(np.array([[1.0, 1.0, np.nan], [3.0, np.nan, np.nan]]))
    np.testing.assert_allclose(low, [2 - 1.96, np.nan, np.nan])
    np.testing.assert_allclose(high, [2 + 1.96, np.nan, np.nan])
