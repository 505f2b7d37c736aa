"""What a caller may hand over: unknown names and values of another type are refused in words, never by a crash."""

import inspect
from typing import Any

import numpy as np
import pytest
import torch

from lens_rome.errors import TraceError
from lens_rome.facts import EditRequest, Fact
from lens_rome.tracing import (
    approximate_trace,
    trace,
    trace_cost,
    trace_facts,
    trace_heads,
    trace_kinds,
)
from lens_rome.tracing.options import DEFAULTS, check_fact, check_kinds, check_options, named_facts

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")

FACT = Fact("Eiffel Tower", "The {} is", "E")


def test_the_defaults_are_those_of_trace() -> None:
    shown = inspect.signature(trace).parameters
    assert {name: shown[name].default for name in DEFAULTS} == DEFAULTS
    assert set(shown) - set(DEFAULTS) == {"model", "fact", "kind", "clean_cache"}


@pytest.mark.parametrize(
    "call",
    [
        lambda model, **more: trace_kinds(model, FACT, **more),
        lambda model, **more: approximate_trace(model, FACT, **more),
        lambda model, **more: trace_heads(model, FACT, **more),
        lambda model, **more: trace_cost(model, FACT, **more),
        lambda model, **more: trace_facts(model, [FACT], **more),
    ],
    ids=["kinds", "approximate", "heads", "cost", "facts"],
)
def test_an_unknown_option_is_refused_and_the_nearest_is_named(gpt2: Any, call: Any) -> None:
    with pytest.raises(TraceError, match=r"unknown option 'smaples'; options are noise, .* Did you mean 'samples'\?"):
        call(gpt2, smaples=3)


def test_an_option_like_no_other_gets_no_suggestion() -> None:
    with pytest.raises(TraceError, match=r"unknown option 'xyz'; options are .*memory(, against)?\.$"):
        check_options({"xyz": 1})


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"corrupt": 3}, r"corrupt takes texts and ranges .* got 3"),
        ({"answer": 5}, "answer must be a text, got 5"),
        ({"against": 5}, "against must be a text, got 5"),
        ({"severed": True}, "severed must be a text, got True"),
        ({"metric": None}, "metric must be a text, got None"),
        ({"direction": 1}, "direction must be a text, got 1"),
        ({"together": 1}, "together must be True or False, got 1"),
        ({"original": None}, "original must be True or False, got None"),
        ({"prepend_bos": "no"}, "prepend_bos must be True or False, got 'no'"),
        ({"memory": "1GB"}, "memory must be a number of bytes above 0, got '1GB'"),
        ({"memory": None}, "memory must be a number of bytes above 0, got None"),
        ({"memory": True}, "memory must be a number of bytes above 0, got True"),
        ({"head": True}, "head must be a whole number from 0 up, got True"),
        ({"head": 1.0}, "head must be a whole number from 0 up, got 1.0"),
        ({"head": "1"}, "head must be a whole number from 0 up, got '1'"),
        ({"samples": "3"}, "samples must be a whole number from 1 up, got '3'"),
        ({"seed": 1.5}, "seed must be a whole number from 0 to .* got 1.5"),
        ({"window": True}, "window must be a whole number of layers from 1 up, got True"),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_refused(option: dict[str, Any], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        check_options(option)


def test_numbers_of_numpy_are_numbers(gpt2: Any) -> None:
    own = trace(gpt2, FACT, "head", noise=0.5, samples=2, window=2, seed=3, head=1, memory=1e6)
    given: dict[str, Any] = {
        "noise": np.float32(0.5),
        "samples": np.int64(2),
        "window": np.int32(2),
        "seed": np.uint8(3),
        "head": np.int64(1),
        "memory": np.float64(1e6),
    }
    found = trace(gpt2, FACT, "head", **given)
    assert found.settings == own.settings and type(found.settings.samples) is int
    assert torch.equal(found.sample_scores, own.sample_scores)


def test_what_is_no_fact_is_refused(gpt2: Any) -> None:
    for call in (inspect.unwrap(trace), inspect.unwrap(trace_kinds)):
        with pytest.raises(TraceError, match=r"a trace is of a Fact\(subject, template, target\), got 'The Eiffel"):
            call(gpt2, "The Eiffel Tower is")
    with pytest.raises(TraceError, match=r"Fact\(request.subject, request.template, request.target_true\)"):
        check_fact(EditRequest("Eiffel Tower", "The {} is", "Rome"))


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ("resid", r"kinds are a list of texts, got 'resid'; write e.g. \('resid',\)"),
        (3, "kinds are a list of texts, got 3"),
        ((), "no kinds to trace"),
        (("mlp", 3), "a kind is a text such as 'resid', got 3"),
    ],
)
def test_kinds_are_several_texts(kinds: Any, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        check_kinds(kinds)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ([], "no facts to trace"),
        (FACT, "facts are a list of Fact or a mapping from ids to them, got Fact.*Put one in a list"),
        ("The Eiffel Tower is", "facts are a list of Fact"),
        (3, "facts are a list of Fact"),
        ([FACT, "text"], "fact 1: a trace is of a Fact"),
        ({"a": None}, "fact 'a': a trace is of a Fact"),
        ({1: FACT, "1": FACT}, "two keys of the facts are written '1'"),
    ],
)
def test_facts_are_several_facts(facts: Any, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        named_facts(facts)


@pytest.mark.parametrize("k", [0, -1, True])
def test_a_top_without_cells_is_refused(gpt2: Any, k: int) -> None:
    found = trace(gpt2, FACT, samples=2)
    heads = trace_heads(gpt2, FACT, samples=2)
    for result in (found, heads):
        with pytest.raises(TraceError, match=r"top\(k\) takes a whole number from 1 up"):
            result.top(k)
        assert len(result.top(np.int64(2))) == 2
