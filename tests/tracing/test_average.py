"""Averages over many traces: equal to plain loops, and they say over what they are."""

from typing import Any

import numpy as np
import pytest

from lens_rome.errors import TraceError
from lens_rome.tracing.average import average_effects
from lens_rome.tracing.average_result import AverageEffects
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
                of = sum(bool(oracle.tokens_by_loop([fact], role, layer)) for fact in facts)
                assert average.n_facts[row, layer] == of
                assert_same(average.effect[row, layer], effect)


def test_known_only_averages_facts_whose_answer_is_their_target() -> None:
    rng = np.random.default_rng(0)
    known, unknown = (random_trace(rng, PLACES[2], target=target) for target in ("Paris", "Rome"))
    alone, chosen = average_effects(set_of(known)), average_effects(set_of(known, unknown), known_only=True)
    np.testing.assert_array_equal(alone.of_kind("mlp").effect, chosen.of_kind("mlp").effect)
    assert chosen.of_kind("mlp").clean.n == 1
    with pytest.raises(TraceError, match=r"in no mlp trace the answer is the fact's target\. Pass `known_only=False`"):
        average_effects(set_of(unknown), known_only=True)


def test_the_data_frame_has_a_row_for_each_role_and_layer_with_tokens() -> None:
    traces = random_set(7)
    found = average_effects(traces)
    frame: Any = found.to_dataframe()
    assert list(frame.columns) == ["kind", "window", "layer", "role", "n", "n_facts", "effect", "low", "high"]
    assert len(frame) == sum((average.n > 0).sum() for average in found.averages) == 3 * 6 * 5
    row = frame[(frame.kind == "mlp") & (frame.role == "further") & (frame.layer == 2)].iloc[0]
    average, at = found.of_kind("mlp"), (ROLES.index("further"), 2)
    expected = (average.n[at], average.n_facts[at], average.effect[at], average.low[at], average.high[at], 3)
    assert (row.n, row.n_facts, row.effect, row.low, row.high, row.window) == expected
    assert frame["effect"].notna().all() and set(frame[frame.kind == "resid"].window) == {1}
    short = average_effects(set_of(random_trace(np.random.default_rng(0), ((1, 4), 4)))).to_dataframe()
    assert set(short.role) == {"subject_first", "subject_middle", "subject_last", "last"}


def test_counts_name_tokens_and_facts_and_tell_roles_that_were_traced_in_part() -> None:
    rng = np.random.default_rng(0)
    longer, shorter = (random_trace(rng, place) for place in (((1, 5), 9), ((1, 2), 3)))
    average = average_effects(set_of(longer, shorter)).of_kind("mlp")
    assert average.n_tokens.tolist() == [2, 2, 2, 2, 2, 2]
    assert average.counted("subject_last", 0) == "2 facts" and average.counted("further", 0) == "2 tokens of 1 fact"
    assert all(average.is_whole(role) for role in ROLES)
    # Traced at the last subject token and the last token: in the shorter prompt these have other roles too.
    chosen = []
    for result, positions in ((longer, [4, 8]), (shorter, [1, 2])):
        scores = np.full(result.scores.shape, np.nan)
        scores[:, positions] = 0.5
        chosen.append(made_of(scores, 0.2, result.subject_span))
    average = average_effects(set_of(*chosen)).of_kind("mlp")
    assert [role for role in ROLES if average.is_whole(role)] == ["subject_last", "last"]
    assert average.counted("after_subject", 0) == average.counted("subject_first", 0) == "1 fact"
    assert average.counted("further", 0) == "0 facts"


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
    assert "subject_last (3 facts): peak at layer 1, +0.500 [+0.500, +0.500]" in text and "subject_middle" not in text
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
