"""Layers that the average trace points at, and what it says about how little that promises."""

from typing import Any

import numpy as np
import pytest
import torch

from lens_rome.errors import TraceError
from lens_rome.tracing.average import average_effects
from lens_rome.tracing.suggest import LayerSuggestion, suggest_layers
from lens_rome.tracing.trace_set import TraceSet
from tests.oracles import averages as oracle
from tests.tracing.random_traces import made_of, numbers_of, random_set, random_trace, set_of

SHAPE = [0.02, 0.16, 0.3, 0.38, 0.4, 0.1, 0.05, 0.3]
"""Effects at the last subject token by layer; the peak is layer 4."""


def facts(spread: float = 0.02, count: int = 30, sign: int = 1, **changes: Any) -> TraceSet:
    """Facts whose effects scatter around `SHAPE`, each layer on its own."""
    rng = np.random.default_rng(0)
    baseline = 1.0 if changes.get("direction") == "noise" else 0.2
    found = []
    for _ in range(count):
        scores = np.full((8, 5), baseline)
        scores[:, 2] += sign * (np.array(SHAPE) + rng.normal(0, spread, 8))
        found.append(made_of(scores, 0.2, (1, 3), clean=1.0, **changes))
    return set_of(*found)


def test_peak_and_band_are_those_of_the_average_effect() -> None:
    traces = random_set(0)
    found = suggest_layers(traces, "mlp", "subject_last", draws=300, seed=4)
    assert found.peak == average_effects(traces, band="bootstrap", draws=300, seed=4).peak("mlp", "subject_last")


def test_the_interval_and_shares_are_those_of_the_peaks_of_facts_drawn_one_by_one() -> None:
    traces = facts(spread=0.2)
    found = suggest_layers(traces, draws=100, seed=3)
    peaks = []
    for redrawn in oracle.redrawn_facts(numbers_of(traces, "mlp"), 100, 3):
        effects = [oracle.average_by_loop(redrawn, "subject_last", layer, "token")[1] for layer in range(8)]
        peaks.append(effects.index(max(effects)))
    peaks.sort()
    # The 2.5 percentile of 100 values is the third, as two are fewer than 2.5; the 97.5 percentile is the 98th.
    assert found.peak_interval == (peaks[2], peaks[97]) and peaks[2] < peaks[97]
    assert found.peak_shares == tuple(peaks.count(layer) / 100 for layer in range(8))


def test_certain_traces_give_a_sure_peak_and_the_range_below_it() -> None:
    found = suggest_layers(facts(spread=0.001))
    assert found.peak.layer == 4 and found.peak_interval == (4, 4) and found.near_peak == (4, 4)
    assert found.memit_layers == (2, 3, 4) and found.n_facts == 30
    assert suggest_layers(facts(spread=0.001), share=0.3).memit_layers == (1, 2, 3, 4)
    assert suggest_layers(facts(spread=0.001), share=1.0).memit_layers == (4,)


def test_layers_near_the_peak_are_all_between_those_whose_band_overlaps_its_own() -> None:
    traces = facts(spread=0.25)
    found = suggest_layers(traces)
    average = average_effects(traces, band="bootstrap").to_dataframe()
    rows: Any = average[average.role == "subject_last"]
    overlaps = (rows.high >= found.peak.low) & (rows.low <= found.peak.high)
    close = list(rows.layer[overlaps])
    assert found.near_peak == (min(close), max(close)) and max(close) == 7 and 5 not in close


def test_layers_whose_band_reaches_zero_end_the_range() -> None:
    traces = facts(spread=0.001)
    for number, result in enumerate(traces.of_kind("mlp").values()):
        result.sample_scores[2, 2] += 2 if number % 2 else -2  # the mean stays
    assert suggest_layers(traces).near_peak == (2, 4)
    assert suggest_layers(traces, share=0.01).memit_layers == (3, 4)


@pytest.mark.parametrize("changes", [{"direction": "noise"}, {"metric": "kl"}])
def test_where_a_fall_is_what_matters_the_peak_is_the_largest_fall(changes: dict[str, Any]) -> None:
    found = suggest_layers(facts(spread=0.001, sign=-1, **changes))
    assert found.peak.layer == 4 and found.memit_layers == (2, 3, 4) and found.near_peak == (4, 4)
    assert found.peak.effect == pytest.approx(-0.4, abs=0.01) and found.peak.low < found.peak.effect < found.peak.high


def test_layers_with_too_few_traced_facts_are_passed_over() -> None:
    traces = facts(spread=0.001)
    for number, result in enumerate(traces.of_kind("mlp").values()):
        result.sample_scores[2] = torch.nan
        if number >= 9:
            result.sample_scores[4] = torch.nan
    found = suggest_layers(traces)
    assert found.peak.layer == 3 and found.memit_layers == (3,)
    assert found.n_facts == 30 and found.peak_shares == (0, 0, 0, 1, 0, 0, 0, 0)


def caveat(found: LayerSuggestion) -> bool:
    return (
        "Localization does not predict how well an edit at a layer works (Hase et al., "
        "https://arxiv.org/abs/2301.04213): sweep layers and measure the edits instead."
    ) in str(found)


def test_what_is_printed_always_says_that_localization_does_not_predict_editing() -> None:
    sure, unsure = suggest_layers(facts(0.001)), suggest_layers(facts(spread=3.0))
    assert caveat(sure) and caveat(unsure)
    assert "peak of the average effect: layer 4, +0.400 [+0." in str(sure) and "subject_last, 30 facts" in str(sure)
    assert "at least 50% of its effect, as for MEMIT: layers 2 to 4" in str(sure)
    assert "resampled sets of facts: layer 4\n" in str(sure)
    assert "Each layer stands for a window of 3 layers around it." in str(sure)
    assert "window of" not in str(suggest_layers(facts(window=1)))


def test_an_effect_that_may_be_zero_is_said_to_mean_nothing() -> None:
    rng = np.random.default_rng(0)
    nothing = set_of(*(made_of(rng.normal(0.2, 1, (1, 4)), 0.2, (1, 3)) for _ in range(12)))
    assert "not distinguishable from 0: these layers mean nothing" in str(suggest_layers(nothing))
    assert "mean nothing" not in str(suggest_layers(facts()))


def test_the_same_seed_gives_the_same_suggestion() -> None:
    assert suggest_layers(facts(0.2), seed=1) == suggest_layers(facts(0.2), seed=1)


def test_few_facts_are_refused() -> None:
    with pytest.raises(TraceError, match=r"9 facts have a traced mlp cell of role 'subject_last'; .* at least 10\."):
        suggest_layers(facts(count=9))
    rng = np.random.default_rng(0)
    with pytest.raises(TraceError, match=r"0 facts have a traced mlp cell of role 'further'.*Trace more facts"):
        suggest_layers(set_of(*(random_trace(rng, ((1, 4), 4)) for _ in range(12))), "mlp", "further")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "attn"}, "no traces of kind 'attn', only mlp"),
        ({"role": "middle"}, "unknown role 'middle'"),
        ({"share": 0.0}, "share must be above 0 and up to 1, got 0.0"),
        ({"draws": 5}, "draws must be a whole number from 100 up"),
        ({"seed": -3}, "seed must be a whole number from 0 up"),
    ],
)
def test_questions_that_cannot_be_answered_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        suggest_layers(facts(), **arguments)
