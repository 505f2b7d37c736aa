"""The effect of each layer of each fact, the layers where facts peak, and the facts that are concentrated."""

import math
from typing import Any

import numpy as np
import pytest

from lens_rome.errors import TraceError
from lens_rome.tracing.layer_effects import concentrated, layer_effects, peak_layers
from lens_rome.tracing.roles import ROLES
from tests.oracles import averages as oracle
from tests.tracing.random_traces import (
    PLACES,
    assert_same,
    made_of,
    numbers,
    numbers_of,
    random_set,
    random_trace,
    set_of,
)

COLUMNS = ["effect", "effect_abs", "effect_last", "effect_last_fraction"]


@pytest.mark.parametrize("high", ["clean", "max"])
@pytest.mark.parametrize("seed", [0, 1])
def test_effects_equal_the_plain_loop_for_every_fact_and_layer(seed: int, high: str) -> None:
    traces = random_set(seed, untraced=0.4)
    frame = layer_effects(traces, "mlp", high=high)
    assert list(frame.columns) == ["id", "layer", *COLUMNS]
    expected = {
        (name, layer): effects
        for name, result in traces.of_kind("mlp").items()
        for layer in range(5)
        if (effects := oracle.layer_effects_by_loop(numbers(result), layer, high)) is not None
    }
    assert list(zip(frame["id"], frame["layer"], strict=True)) == list(expected)
    assert len(expected) < 5 * len(traces.of_kind("mlp"))  # some layers have no traced cell
    for row in frame.to_dict("records"):
        for column, value in zip(COLUMNS, expected[row["id"], row["layer"]], strict=True):
            assert_same(row[column], value)


def test_against_the_best_restored_score_no_effect_exceeds_one_and_against_the_clean_one_some_do() -> None:
    traces = random_set(2, ("mlp",), untraced=0)
    clean, best = (layer_effects(traces, "mlp", high=high)["effect"].to_numpy() for high in ("clean", "max"))
    assert clean.max() > 1.1 and best.max() == 1
    assert (best <= clean + 1e-15).all()


def test_tokens_before_the_subject_do_not_count() -> None:
    scores = np.full((2, 4), 0.1)
    scores[:, 0] = 0.9
    frame = layer_effects(set_of(made_of(scores, 0.2, (1, 2))))
    assert list(frame["effect"]) == [0, 0] and list(frame["effect_abs"]) == pytest.approx([-0.1, -0.1])
    assert list(frame["effect_last_fraction"]) == pytest.approx([-0.1 / 0.7] * 2)


def test_a_divergence_counts_by_how_far_it_falls() -> None:
    scores = np.array([[3.0, 3.0, 3.0], [3.0, 1.0, 2.5]])
    frame = layer_effects(set_of(made_of(scores, 3.0, (1, 2), clean=0.0, metric="kl")))
    assert list(frame["effect"]) == pytest.approx([0, 2 / 3]) and list(frame["effect_abs"]) == pytest.approx([0, 2])
    assert list(peak_layers(set_of(made_of(scores, 3.0, (1, 2), clean=0.0, metric="kl")))["count"]) == [0, 1]


def test_without_a_gap_the_share_is_nan_and_the_absolute_effect_stays() -> None:
    frame: Any = layer_effects(set_of(made_of(np.full((1, 2), 0.7), 0.5, (0, 1), clean=0.5)))
    assert math.isnan(frame["effect"][0]) and math.isnan(frame["effect_last_fraction"][0])
    assert frame["effect_abs"][0] == pytest.approx(0.2)


@pytest.mark.parametrize("role", [*ROLES, "pooled"])
def test_peak_layers_equal_the_plain_loop_at_each_role_and_pooled(role: str) -> None:
    traces = random_set(3, untraced=0.3)
    found = peak_layers(traces, "attn", role=role)
    assert list(found.columns) == ["kind", "role", "layer", "count", "share"] and list(found["layer"]) == list(range(5))
    assert set(found["kind"]) == {"attn"} and set(found["role"]) == {role}
    expected = oracle.peak_layers_by_loop(numbers_of(traces, "attn"), None if role == "pooled" else role)
    assert list(found["count"]) == expected and sum(expected) > 0
    assert found["share"].to_numpy().sum() == pytest.approx(1)


def test_peaks_are_those_of_the_last_subject_token_unless_asked_otherwise_and_ties_count_at_each_layer() -> None:
    scores = np.full((3, 3), 0.3)
    scores[[0, 2], [1, 2]] = 0.8
    tied = set_of(made_of(scores, 0.2, (1, 2)), made_of(scores[::-1] * [1, 1, 0.5], 0.2, (1, 2)))
    pooled = peak_layers(tied, role="pooled")
    assert list(pooled["count"]) == [1, 0, 2] and list(pooled["share"]) == [0.5, 0, 1]
    assert list(peak_layers(tied)["count"]) == [1, 0, 1] and set(peak_layers(tied)["role"]) == {"subject_last"}
    flat = peak_layers(set_of(made_of(np.full((3, 3), 0.3), 0.2, (1, 2))))
    assert list(flat["count"]) == [1, 1, 1] and list(flat["share"]) == [1, 1, 1]


@pytest.mark.parametrize(("share", "at_most"), [(0.5, 3), (0.8, 1), (0.95, 0), (1.0, 0)])
def test_concentrated_facts_equal_the_plain_loop(share: float, at_most: int) -> None:
    rng = np.random.default_rng(4)
    traces = set_of(*(random_trace(rng, PLACES[i % 9], n_layers=8) for i in range(60)))
    found = concentrated(traces, "mlp", share=share, at_most=at_most)
    expected = [
        name
        for name, result in traces.of_kind("mlp").items()
        if oracle.is_concentrated_by_loop(numbers(result), share, at_most)
    ]
    assert found == expected and len(found) > 0


def test_the_largest_layer_itself_is_not_counted_and_a_tie_with_it_is() -> None:
    scores = np.full((6, 2), 0.2)
    scores[:4, 1] = 0.6
    assert concentrated(set_of(made_of(scores, 0.2, (1, 2)))) == ["0"]  # the largest and three others
    scores[4, 1] = 0.4  # exactly half of the largest effect would hang on rounding; here a little more
    scores[4, 1] += 1e-9
    assert concentrated(set_of(made_of(scores, 0.2, (1, 2)))) == []
    assert concentrated(set_of(made_of(np.full((2, 2), 0.1), 0.2, (1, 2)))) == []  # no positive effect


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"share": 0.0}, "share must be above 0 and up to 1, got 0.0"),
        ({"share": 1.5}, "share must be above 0 and up to 1, got 1.5"),
        ({"at_most": -1}, "at_most must be a whole number from 0 up, got -1"),
        ({"high": "best"}, "unknown high score 'best'; choose one of clean, max"),
    ],
)
def test_thresholds_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        concentrated(random_set(0, untraced=0), **arguments)


def test_facts_with_layers_that_were_not_traced_are_not_called_concentrated() -> None:
    scores = np.full((3, 3), 0.3)
    scores[1] = np.nan
    with pytest.raises(TraceError, match=r"of '0' has cells in 2 of 3 layers from the subject on\. Trace all layers"):
        concentrated(set_of(made_of(scores, 0.2, (1, 2))))


def test_traces_without_a_cell_from_the_subject_on_have_no_peak() -> None:
    scores = np.full((3, 3), np.nan)
    scores[:, 0] = 0.2
    traces = set_of(made_of(scores, 0.2, (1, 2)))
    assert layer_effects(traces).empty
    with pytest.raises(TraceError, match=r"no mlp trace has a traced cell from the subject on\. Trace those positions"):
        peak_layers(traces, role="pooled")
    with pytest.raises(TraceError, match=r"no mlp trace has a traced cell of role 'subject_last'\. Trace those"):
        peak_layers(traces)
    with pytest.raises(TraceError, match=r"unknown role 'all'; choose one of subject_first, .*, last, pooled"):
        peak_layers(traces, role="all")


@pytest.mark.parametrize("function", [layer_effects, peak_layers, concentrated])
def test_only_restoring_traces_of_one_kind_and_way_are_taken(function: Any) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(TraceError, match=r"have direction 'zero'\. Trace with direction 'denoise'"):
        function(set_of(random_trace(rng, PLACES[0], direction="zero")))
    with pytest.raises(TraceError, match="differ in window"):
        function(set_of(random_trace(rng, PLACES[0]), random_trace(rng, PLACES[0], window=1)))
    with pytest.raises(TraceError, match="no traces of kind 'attn'"):
        function(random_set(0, ("mlp",)), "attn")
