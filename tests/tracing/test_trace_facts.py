"""Many facts: each equals its own trace, and a run survives whatever interrupts it."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from lens_rome.errors import FileFormatError, LensRomeError, RunError, TraceError
from lens_rome.facts import Fact
from lens_rome.surface import as_surface
from lens_rome.tracing import TraceSet, subject_deviation, trace, trace_facts
from lens_rome.tracing.trace import Tracer
from tests.helpers import Case, assert_untouched

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")

FACTS = {
    "jobs": Fact("Steve Jobs", "{} was the", "E"),
    "tower": Fact("Eiffel Tower", "The {} is", "E"),
    "catalonia": Fact("Catalonia", "The {} is", "E"),
    "danielle": Fact("Danielle Darrieux", "The mother of {} is", "E"),
    "end": Fact("Eiffel Tower", "The {}", "E"),
}
OPTIONS: dict[str, Any] = {"noise": 0.7, "samples": 2, "known": False, "progress": False}


def assert_same(found: TraceSet, expected: TraceSet, tolerance: float) -> None:
    assert found.traces.keys() == expected.traces.keys() and found.skipped == expected.skipped
    for name, traces in expected.traces.items():
        assert traces.keys() == found.traces[name].keys()
        for kind, result in traces.items():
            other = found.traces[name][kind]
            assert other.settings == result.settings and other.tokens == result.tokens
            assert abs(other.clean_score - result.clean_score) < tolerance
            for part in ("sample_scores", "corrupted_samples"):
                torch.testing.assert_close(
                    getattr(other, part), getattr(result, part), rtol=0, atol=tolerance, equal_nan=True
                )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"direction": "noise", "positions": "subject_last"},
        pytest.param({"metric": "kl"}, marks=pytest.mark.slow),
        pytest.param({"severed": None, "memory": 1}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_facts_in_batches_equal_each_facts_own_trace(raw_model: Any, raw_case: Case, options: dict[str, Any]) -> None:
    kinds = ("resid", "mlp")
    with assert_untouched(raw_model):
        found = trace_facts(raw_model, FACTS, kinds, **OPTIONS, **options)
    assert list(found.traces) == list(FACTS) and found.kinds == kinds
    for name, fact in FACTS.items():
        for kind in kinds:
            alone = trace(raw_model, fact, kind, noise=0.7, samples=2, **options)
            batched = found.traces[name][kind]
            assert batched.settings == alone.settings and batched.answer == alone.answer
            torch.testing.assert_close(
                batched.sample_scores, alone.sample_scores, rtol=0, atol=raw_case.tolerance, equal_nan=True
            )
            torch.testing.assert_close(
                batched.corrupted_samples, alone.corrupted_samples, rtol=0, atol=raw_case.tolerance
            )


def test_prompts_of_one_shape_run_in_one_batch(gpt2: Any, gpt2_case: Case) -> None:
    """Three facts of one template and length: a batch of three, each with a target of several tokens."""
    facts = [Fact(name, "{} was the", "French city") for name in ("Steve Jobs", "Eiffel Tower", "Catalonia")]
    found = trace_facts(gpt2, facts, ("attn", "resid"), target=True, **OPTIONS)
    for i, fact in enumerate(facts):
        alone = trace(gpt2, fact, "attn", noise=0.7, samples=2, answer="French city")
        torch.testing.assert_close(
            found.traces[str(i)]["attn"].sample_scores, alone.sample_scores, rtol=0, atol=gpt2_case.tolerance
        )


def test_noise_in_deviations_takes_all_the_facts_subjects(gpt2: Any) -> None:
    found = trace_facts(gpt2, FACTS, ("resid",), **{**OPTIONS, "noise": "2σ"})
    expected = 2 * subject_deviation(as_surface(gpt2), [fact.subject for fact in FACTS.values()])
    levels = {traces["resid"].settings.noise_level for traces in found.traces.values()}
    assert levels == {expected} and next(iter(found.traces.values()))["resid"].settings.noise == "2σ"


def test_facts_that_the_model_does_not_know_are_left_out_with_the_reason(gpt2: Any) -> None:
    top = {name: trace(gpt2, fact, positions=[]).answer for name, fact in FACTS.items()}
    right = {name: Fact(fact.subject, fact.template, top[name] or "?") for name, fact in FACTS.items() if top[name]}
    assert right, "the random model must have some answer that is a word"
    wrong = {f"not {name}": Fact(fact.subject, fact.template, "nonsense") for name, fact in FACTS.items()}
    found = trace_facts(gpt2, right | wrong, ("resid",), **{**OPTIONS, "known": True})
    assert found.traces.keys() == right.keys() and found.skipped.keys() == wrong.keys()
    assert "not 'nonsense'" in found.skipped["not jobs"]


def test_a_target_of_several_tokens_is_known_if_the_model_continues_with_it(gpt2: Any) -> None:
    surface = as_surface(gpt2)
    fact = FACTS["tower"]
    tokens = list(surface.encode(fact.prompt).ids)
    with torch.no_grad():
        for _ in range(2):
            tokens.append(int(gpt2(torch.tensor([tokens]))[0, -1].argmax()))
    continuation = gpt2.tokenizer.decode(tokens[-2:])
    known = Fact(fact.subject, fact.template, continuation.strip())
    found = trace_facts(gpt2, [known, fact], ("resid",), target=True, **{**OPTIONS, "known": True})
    if "0" in found.traces:  # the tokenizer may split the decoded text in another way
        assert found.traces["0"]["resid"].answer_tokens == tuple(tokens[-2:])
    assert "does not continue with 'E'" in found.skipped["1"]


def test_a_run_in_a_folder_gives_what_memory_gives_and_reloads(gpt2: Any, tmp_path: Path) -> None:
    here = trace_facts(gpt2, FACTS, ("resid", "mlp"), **OPTIONS)
    there = trace_facts(gpt2, FACTS, ("resid", "mlp"), out=tmp_path / "run", chunk_size=2, **OPTIONS)
    again = TraceSet.load(tmp_path / "run")
    for found in (there, again):
        assert set(found.traces) == set(FACTS)
        assert_same(TraceSet({name: found.traces[name] for name in FACTS}), here, 1e-6)
    assert "5 facts traced, 0 skipped" in repr(again)


def test_a_finished_run_computes_nothing_more(gpt2: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace_facts(gpt2, FACTS, ("resid",), out=tmp_path / "run", **OPTIONS)
    monkeypatch.setattr(Tracer, "results", None)
    assert len(trace_facts(gpt2, FACTS, ("resid",), out=tmp_path / "run", **OPTIONS)) == len(FACTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": 0.6}, "noise"),
        ({"samples": 3}, "samples"),
        ({"kinds": ("mlp",)}, "kinds"),
        ({"seed": 5}, "seed"),
        ({"facts": {**FACTS, "jobs": Fact("Steve Jobs", "{} was", "E")}}, "facts"),
        ({"known": True}, "known"),
    ],
    ids=str,
)
def test_a_folder_of_other_settings_is_refused_and_stays_as_it_is(
    gpt2: Any, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    arguments = {"facts": FACTS, "kinds": ("resid",), "out": tmp_path / "run", **OPTIONS}
    trace_facts(gpt2, **arguments)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(RunError, match=message):
        trace_facts(gpt2, **{**arguments, **change})
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_a_folder_of_another_model_is_refused(gpt2: Any, fresh_model: Any, gpt2_case: Case, tmp_path: Path) -> None:
    trace_facts(gpt2, FACTS, ("resid",), out=tmp_path / "run", **OPTIONS)
    edited = fresh_model(gpt2_case)
    with torch.no_grad():
        as_surface(edited).weight(2).add_(1e-3)
    with pytest.raises(RunError, match="weights"):
        trace_facts(edited, FACTS, ("resid",), out=tmp_path / "run", **OPTIONS)


def test_a_fact_that_cannot_be_traced_is_an_error_row_and_the_others_are_traced(gpt2: Any, tmp_path: Path) -> None:
    long = Fact("Steve Jobs", "{} " + "was the founder of " * 40, "E")
    found = trace_facts(gpt2, {**FACTS, "long": long}, ("resid",), out=tmp_path / "run", chunk_size=3, **OPTIONS)
    assert set(found.traces) == set(FACTS) and "the model's context holds" in found.skipped["long"]


def test_two_workers_share_the_facts(gpt2: Any, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"out": tmp_path / "run", "chunk_size": 1, **OPTIONS}
    first = trace_facts(gpt2, FACTS, ("resid",), shard="1/2", **arguments)
    assert 0 < len(first) < len(FACTS)
    both = trace_facts(gpt2, FACTS, ("resid",), shard="2/2", **arguments)
    assert set(both.traces) == set(FACTS)


def test_no_facts_and_answers_beside_targets_are_refused(gpt2: Any) -> None:
    with pytest.raises(TraceError, match="no facts to trace"):
        trace_facts(gpt2, [])
    with pytest.raises(TraceError, match="leave out answer="):
        trace_facts(gpt2, FACTS, target=True, answer="Rome")
    with pytest.raises(TraceError, match="always traces the model's top token; leave out target="):
        trace_facts(gpt2, FACTS, target=True, original=True)


def test_a_fact_that_fails_in_memory_is_skipped_with_its_error_as_in_a_folder(gpt2: Any, tmp_path: Path) -> None:
    long = Fact("Steve Jobs", "{} " + "was the founder of " * 40, "E")
    facts = {"long": long, **FACTS}
    here = trace_facts(gpt2, facts, ("resid",), chunk_size=3, **OPTIONS)
    there = trace_facts(gpt2, facts, ("resid",), chunk_size=3, out=tmp_path / "run", **OPTIONS)
    assert here.skipped == there.skipped and here.skipped["long"].startswith("error: ")
    assert_same(here, there, 1e-6)
    with pytest.raises(LensRomeError, match="the model's context holds"):
        trace_facts(gpt2, {"long": long}, ("resid",), **OPTIONS)


def test_traces_are_in_the_order_of_the_facts_and_keys_are_texts(gpt2: Any, tmp_path: Path) -> None:
    numbered = dict(enumerate(FACTS.values(), 5))
    here = trace_facts(gpt2, numbered, ("resid",), **OPTIONS)
    there = trace_facts(gpt2, numbered, ("resid",), out=tmp_path / "run", chunk_size=2, **OPTIONS)
    assert list(here.traces) == list(there.traces) == ["5", "6", "7", "8", "9"]


def test_a_row_that_is_no_trace_is_refused(gpt2: Any, tmp_path: Path) -> None:
    trace_facts(gpt2, FACTS, ("resid",), out=tmp_path / "run", **OPTIONS)
    (part,) = (tmp_path / "run").glob("part-*.jsonl")
    rows = [json.loads(line) for line in part.read_text().splitlines()]
    del rows[0]["traces"]["resid"]["tokens"]
    part.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(FileFormatError, match="not a complete trace: KeyError"):
        TraceSet.load(tmp_path / "run")


_CHILD = """
import sys, warnings
warnings.simplefilter("ignore")
import lens_rome as lr
from lens_rome.tracing import trace_facts
model, world = lr.load_atlas()
facts = {str(i): fact for i, fact in enumerate(world.sample(int(sys.argv[2])))}
trace_facts(model, facts, ("mlp",), out=sys.argv[1], samples=2, known=False, chunk_size=4, progress=False)
"""


def _start(folder: Path, count: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", _CHILD, str(folder), str(count)], env=os.environ)


def _lines(folder: Path) -> int:
    return sum(part.read_bytes().count(b"\n") for part in folder.glob("part-*.jsonl"))


def _here(folder: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child's run to its end in this process, which has imported everything already."""
    with monkeypatch.context() as patched, warnings.catch_warnings():
        patched.setattr(sys, "argv", ["-c", str(folder), str(count)])
        exec(_CHILD, {})


@pytest.mark.parametrize(("count", "kills"), [(40, 1), pytest.param(300, 3, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_ends_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, kills: int
) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for kill in range(kills):
        process = _start(killed, count)
        while _lines(killed) < (kill + 1) * count // 5 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < _lines(killed) < count, "the kills must come in the middle"
    _here(killed, count, monkeypatch)
    _here(whole, count, monkeypatch)
    assert _lines(killed) == count, "each id once"
    found, expected = TraceSet.load(killed), TraceSet.load(whole)
    assert set(found.traces) == set(expected.traces) and len(found) == count
    for name, traces in expected.traces.items():
        torch.testing.assert_close(
            found.traces[name]["mlp"].sample_scores, traces["mlp"].sample_scores, rtol=0, atol=1e-6
        )
