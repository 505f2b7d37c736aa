"""Shares of a probability that zeroing a layer's outputs at the subject takes away."""

from typing import Any

import numpy as np
import pytest

from lens_rome.errors import TraceError
from lens_rome.facts import Fact
from lens_rome.tracing import average_effects, trace_facts, zeroing_effects
from tests.tracing.random_traces import made_of, set_of

FACTS = {name: Fact(name, "The {} is", "E") for name in ("Eiffel Tower", "Steve Jobs", "Catalonia")}
OPTIONS: dict[str, Any] = {"direction": "zero", "positions": "subject", "known": False, "progress": False, "window": 2}


def test_effects_of_tokens_together_are_the_lost_share_of_the_probability(gpt2: Any) -> None:
    traces = trace_facts(gpt2, FACTS, ("mlp",), together=True, **OPTIONS)
    frame = zeroing_effects(traces)
    assert list(frame.columns) == ["id", "layer", "effect"] and len(frame) == 4 * len(FACTS)
    for name, layer, effect in frame.itertuples(index=False):
        result = traces.traces[name]["mlp"]
        zeroed = float(result.scores[layer, result.subject_span[0]])
        lost = (result.clean_score - zeroed) / result.clean_score
        assert effect == pytest.approx(min(max(lost, 0), 1), abs=1e-12)
    assert frame["effect"].max() > 0.01, "some layer must matter"


def test_one_by_one_the_token_that_takes_most_away_counts_and_shares_are_clipped() -> None:
    nan = np.nan
    scores = np.array([[0.0, 0.8, 0.4, 0.0], [0.0, 1.2, 1.1, 0.0], [0.0, nan, 0.2, 0.0], [0.0, nan, nan, 0.0]])
    frame = zeroing_effects(set_of(made_of(scores, 0.8, (1, 3), clean=0.8, direction="zero")))
    assert list(frame["layer"]) == [0, 1, 2] and list(frame["effect"]) == pytest.approx([0.5, 0, 0.75])
    frame = zeroing_effects(set_of(made_of(scores, 0.0, (1, 3), clean=0.0, direction="zero")))
    assert frame["effect"].isna().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "the mlp traces have 'denoise'. Trace with direction='zero'"),
        ({"direction": "zero", "metric": "logprob"}, "the mlp traces measure 'logprob'. Trace with one of prob"),
        ({"direction": "zero", "together": True}, r"positions \[0, 1, 2, 3\] together.*Trace with positions='subject'"),
    ],
)
def test_traces_of_another_kind_of_question_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        zeroing_effects(set_of(made_of(np.full((2, 4), 0.5), 0.2, (1, 3), **changes)))


def test_an_average_counts_a_joint_score_once_for_each_fact() -> None:
    """A subject with three middle tokens weighs as much as one with a single one."""
    long = made_of(np.array([[np.nan, *[0.5] * 5, np.nan]]), 0.1, (1, 6), together=True)
    short = made_of(np.array([[np.nan, *[0.3] * 3, np.nan]]), 0.1, (1, 4), together=True)
    average = average_effects(set_of(long, short)).of_kind("mlp")
    assert average.n[:3, 0].tolist() == [2, 2, 2] and average.n[3:, 0].tolist() == [0, 0, 0]
    assert average.effect[:3, 0] == pytest.approx([0.3] * 3)
