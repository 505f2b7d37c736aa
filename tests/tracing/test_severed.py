"""Bars of severed paths: each the average of its own set, for the same facts."""

from typing import Any

import pytest

from lens_rome.errors import TraceError
from lens_rome.facts import Fact
from lens_rome.plotting import plot_severed
from lens_rome.tracing import TraceSet, average_effects, severed_effects, trace_facts

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")

FACTS = {name: Fact(name, "The {} is", "E") for name in ("Eiffel Tower", "Steve Jobs", "Catalonia")}


def traced(model: Any, severed: str | None, kinds: tuple[str, ...] = ("resid",), **more: Any) -> TraceSet:
    options = {"noise": 0.7, "samples": 2, "known": False, "progress": False, **more}
    return trace_facts(model, FACTS, kinds, severed=severed, **options)


def test_each_condition_is_the_average_of_its_set(gpt2: Any) -> None:
    sets = [traced(gpt2, severed) for severed in (None, "attn", "mlp")]
    frame = severed_effects(sets, band="normal")
    assert list(dict.fromkeys(frame["condition"])) == ["ordinary", "attn severed", "mlp severed"]
    for condition, found in zip(("ordinary", "attn severed", "mlp severed"), sets, strict=True):
        expected = average_effects(found).to_dataframe().query("role == 'subject_last'")
        rows = frame[frame["condition"] == condition]
        for column in ("layer", "n", "effect", "low", "high"):
            assert list(rows[column]) == list(expected[column])
    assert plot_severed(frame) is not None
    # Cutting a path must matter, or the picture would show nothing.
    effects = frame.pivot_table(index="layer", columns="condition", values="effect")
    assert (effects["ordinary"] - effects["mlp severed"]).abs().max() > 1e-4


def test_sets_that_cannot_be_compared_are_refused(gpt2: Any) -> None:
    plain = traced(gpt2, None)
    with pytest.raises(TraceError, match="two sets are ordinary"):
        severed_effects([plain, plain])
    with pytest.raises(TraceError, match="different facts"):
        severed_effects([plain, TraceSet(dict(list(traced(gpt2, "mlp").traces.items())[:2]))])
    with pytest.raises(TraceError, match="no sets"):
        severed_effects([])
    with pytest.raises(TraceError, match="of the kind resid"):
        severed_effects([traced(gpt2, None, ("mlp",))])
    with pytest.raises(TraceError, match="of the kind resid"):
        severed_effects([TraceSet({})])
    with pytest.raises(TraceError, match="role"):
        severed_effects([plain], role="middle")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"noise": 0.6}, "noise of 'Eiffel Tower' is '0.7' and '0.6'"),
        ({"samples": 3}, "samples of"),
        ({"seed": 2}, "seed of"),
        ({"metric": "logprob"}, "metric of"),
        ({"window": 2}, "window of"),
        ({"answer": "Rome"}, "answer of"),
        ({"corrupt": ["is"]}, "corrupted_spans of"),
    ],
    ids=str,
)
def test_sets_that_differ_in_more_than_the_path_are_refused(gpt2: Any, change: dict[str, Any], what: str) -> None:
    with pytest.raises(TraceError, match=f"differ in more than the severed path: {what}"):
        severed_effects([traced(gpt2, None), traced(gpt2, "mlp", **change)])
