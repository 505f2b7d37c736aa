"""Averages over many traces: equal to plain loops, with bands that hold what they promise."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lens_rome.errors import TraceError
from lens_rome.tracing.average import average_effects
from lens_rome.tracing.average_result import AverageEffects
from lens_rome.tracing.bands import draw_facts, normal_band
from lens_rome.tracing.comparable import comparable_traces, gain_sign
from lens_rome.tracing.roles import ROLES
from lens_rome.tracing.trace_set import TraceSet
from tests.oracles import averages as oracle
from tests.tracing.random_traces import (
    PLACES,
    assert_same,
    made_of,
    numbers_of,
    random_set,
    random_trace,
    set_of,
    settings,
)


@pytest.mark.parametrize("weighting", ["token", "released"])
@pytest.mark.parametrize("seed", [0, 1])
def test_effects_and_counts_equal_the_plain_loop_in_every_kind_role_and_layer(seed: int, weighting: str) -> None:
    traces = random_set(seed)
    found = average_effects(traces, weighting=weighting)
    assert found.kinds == ("resid", "mlp", "attn")
    for kind in found.kinds:
        facts, average = numbers_of(traces, kind), found.of_kind(kind)
        assert average.clean.n == len(facts) == len(PLACES) * 2 - (kind != "resid")
        for row, role in enumerate(ROLES):
            for layer in range(5):
                n, effect = oracle.average_by_loop(facts, role, layer, weighting)
                assert average.n[row, layer] == n
                assert_same(average.effect[row, layer], effect)


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


def test_known_only_averages_facts_whose_answer_is_their_target() -> None:
    rng = np.random.default_rng(0)
    known, unknown = (random_trace(rng, PLACES[2], target=target) for target in ("Paris", "Rome"))
    alone, chosen = average_effects(set_of(known)), average_effects(set_of(known, unknown), known_only=True)
    np.testing.assert_array_equal(alone.of_kind("mlp").effect, chosen.of_kind("mlp").effect)
    assert chosen.of_kind("mlp").clean.n == 1
    with pytest.raises(TraceError, match=r"in no mlp trace the answer is the fact's target\. Pass `known_only=False`"):
        average_effects(set_of(unknown), known_only=True)


@pytest.mark.parametrize("band", ["normal", "bootstrap"])
def test_a_single_fact_has_means_and_no_bands(band: str) -> None:
    trace = random_trace(np.random.default_rng(0), ((1, 3), 5))
    average = average_effects(set_of(trace), band=band, draws=100).of_kind("mlp")
    row = ROLES.index("subject_last")
    np.testing.assert_allclose(average.effect[row], trace.indirect_effects[:, 2].numpy(), atol=1e-15)
    assert np.isnan(average.low).all() and np.isnan(average.high).all() and math.isnan(average.total_effect.low)


def test_the_data_frame_has_a_row_for_each_role_and_layer_with_tokens() -> None:
    traces = random_set(7)
    found = average_effects(traces)
    frame: Any = found.to_dataframe()
    assert list(frame.columns) == ["kind", "window", "layer", "role", "n", "effect", "low", "high"]
    assert len(frame) == sum((average.n > 0).sum() for average in found.averages) == 3 * 6 * 5
    row = frame[(frame.kind == "mlp") & (frame.role == "further") & (frame.layer == 2)].iloc[0]
    average, at = found.of_kind("mlp"), (ROLES.index("further"), 2)
    expected = (average.n[at], average.effect[at], average.low[at], average.high[at], 3)
    assert (row.n, row.effect, row.low, row.high, row.window) == expected
    assert frame["effect"].notna().all() and set(frame[frame.kind == "resid"].window) == {1}
    short = average_effects(set_of(random_trace(np.random.default_rng(0), ((1, 4), 4)))).to_dataframe()
    assert set(short.role) == {"subject_first", "subject_middle", "subject_last", "last"}


def test_the_summary_has_three_rows_a_kind() -> None:
    found = average_effects(random_set(7))
    frame = found.summary()
    assert list(frame.columns) == ["kind", "window", "quantity", "n", "mean", "low", "high"]
    assert list(frame[frame.kind == "attn"].quantity) == ["clean", "corrupted", "total_effect"] and len(frame) == 9
    clean, corrupted, total = frame[frame.kind == "attn"]["mean"]
    assert (
        total
        == pytest.approx(clean - corrupted, abs=1e-15)
        == pytest.approx(found.of_kind("attn").total_effect.mean, abs=1e-15)
    )


def peaked(**changes: Any) -> AverageEffects:
    """Effects at the last subject token: 0.1, 0.5, -0.6 and 0.5 (layers 0 to 3)."""
    scores = np.full((4, 4), 0.2)
    scores[:, 2] += [0.1, 0.5, -0.6, 0.5]
    baseline = {"clean": 0.2} if changes.get("direction", "denoise") != "denoise" else {}
    return average_effects(set_of(*(made_of(scores, 0.2, (1, 3), **baseline, **changes) for _ in range(3))))


def test_the_peak_is_the_layer_of_the_largest_gain() -> None:
    layer, effect, low, high = peaked().peak("mlp", "subject_last")
    assert layer == 1 and effect == pytest.approx(0.5) and low == pytest.approx(0.5) and high == pytest.approx(0.5)


@pytest.mark.parametrize("changes", [{"metric": "kl"}, {"direction": "noise"}, {"direction": "zero"}])
def test_the_peak_is_the_largest_fall_where_a_fall_is_what_matters(changes: dict[str, str]) -> None:
    layer, effect, *_ = peaked(**changes).peak("mlp")
    assert layer == 2 and effect == pytest.approx(-0.6)
    assert gain_sign(settings(**changes)) == -1 and gain_sign(settings(metric="kl", direction="noise")) == 1


def test_the_repr_says_what_was_averaged_how_and_where_it_peaks() -> None:
    text = repr(peaked())
    assert "AverageEffects(token weighting, 95% bands: normal)" in text
    assert "mlp, window 3, 4 samples, noise 3σ = 0.2: 3 facts" in text
    assert "prob: clean 0.900, corrupted 0.200, average total effect 0.700 [0.700, 0.700]" in text
    assert "subject_last: peak at layer 1, +0.500 [+0.500, +0.500]" in text and "subject_middle" not in text
    assert "bootstrap over facts, known facts only" in repr(
        average_effects(set_of(made_of(np.ones((2, 3)), 0.2, (1, 2))), band="bootstrap", known_only=True)
    )


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(TraceError, match=r"the set has no traces\. Trace facts that the model knows"):
        average_effects(TraceSet({}))
    with pytest.raises(TraceError, match="no traces; facts skipped: 1"):
        comparable_traces(TraceSet({"b": {}}, {"a": "not known"}), "mlp")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": 5}, "window: 3 and 5"),
        ({"metric": "kl"}, "metric: 'prob' and 'kl'"),
        ({"direction": "noise"}, "direction: 'denoise' and 'noise'"),
        ({"severed": "attn"}, "severed: '' and 'attn'"),
        ({"approximate": True}, "approximate: False and True"),
        ({"together": True}, "together: False and True"),
        ({"head": 2}, "head: None and 2"),
        ({"original": True}, "original: False and True"),
        ({"noise": "1σ"}, "noise: '3σ' and '1σ'"),
        ({"prepend_bos": False}, "prepend_bos: True and False"),
        ({"model": "other"}, "model: 'synthetic' and 'other'"),
        ({"against": "Rome"}, "against: '' and 'Rome'"),
        ({"against_each": True}, "against_each: False and True"),
    ],
)
def test_mixed_settings_of_one_kind_are_refused(changes: dict[str, Any], message: str) -> None:
    rng = np.random.default_rng(0)
    traces = set_of(random_trace(rng, PLACES[0]), random_trace(rng, PLACES[0], **changes))
    with pytest.raises(TraceError, match=f"the mlp traces of '0' and '1' differ in {message}.*a set of their own"):
        average_effects(traces)


def test_models_of_different_depth_are_refused() -> None:
    rng = np.random.default_rng(0)
    traces = set_of(random_trace(rng, PLACES[0]), random_trace(rng, PLACES[0], n_layers=6))
    with pytest.raises(TraceError, match="differ in n_layers: 5 and 6"):
        average_effects(traces)


def test_noise_levels_seeds_and_each_facts_own_second_answer_may_differ() -> None:
    rng = np.random.default_rng(0)
    own: dict[str, Any] = {"metric": "logit_diff", "against_each": True}
    changed = random_trace(rng, PLACES[0], noise_level=0.3, seed=2, against="Rome", samples=8, **own)
    traces = set_of(random_trace(rng, PLACES[0], against="Paris", **own), changed)
    assert len(comparable_traces(traces, "mlp")) == 2
    assert average_effects(traces).of_kind("mlp").settings == settings(noise_level=None, **own)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"band": "student"}, "unknown band 'student'; choose one of normal, bootstrap"),
        ({"weighting": "fact"}, "unknown weighting 'fact'; choose one of token, released"),
        ({"draws": 99}, "draws must be a whole number from 100 up, got 99"),
        ({"draws": True}, "draws must be a whole number from 100 up, got True"),
        ({"seed": -1}, "seed must be a whole number from 0 up, got -1"),
        ({"seed": True}, "seed must be a whole number from 0 up, got True"),
    ],
)
def test_unknown_choices_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        average_effects(random_set(0), **arguments)


def test_asking_for_what_was_not_averaged_is_refused() -> None:
    found = average_effects(set_of(random_trace(np.random.default_rng(0), ((1, 4), 4))))
    with pytest.raises(TraceError, match=r"no average of kind 'attn'; there are mlp\. Trace that kind too"):
        found.peak("attn")
    with pytest.raises(TraceError, match=r"no mlp trace has a traced token of role 'further'\. Choose another role"):
        found.peak("mlp", "further")
    with pytest.raises(TraceError, match="unknown role 'middle'"):
        found.peak("mlp", "middle")
    with pytest.raises(TraceError, match=r"the set has no traces of kind 'attn', only mlp\. Trace that kind too"):
        comparable_traces(set_of(random_trace(np.random.default_rng(0), PLACES[0])), "attn")


def test_a_normal_band_of_fewer_than_two_samples_is_nan() -> None:
    low, high = normal_band(np.array([[1.0, 1.0, np.nan], [3.0, np.nan, np.nan]]))
    np.testing.assert_allclose(low, [2 - 1.96, np.nan, np.nan])
    np.testing.assert_allclose(high, [2 + 1.96, np.nan, np.nan])
