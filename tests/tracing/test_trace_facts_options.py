"""Options of many facts: what each fact may have of its own, and what is one run and what another."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lens_rome.errors import RunError, TraceError
from lens_rome.facts import Fact
from lens_rome.surface import as_surface
from lens_rome.tracing import EmbeddingStatistics, MultivariateNoise, average_effects, trace, trace_facts
from tests.helpers import Case
from tests.tracing.test_trace_facts import FACTS, OPTIONS

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chunk_size": 0}, "chunk_size must be a whole number from 1 up, got 0"),
        ({"shard": "1/2"}, "shard='1/2' is a share of a run in a folder; pass out="),
        ({"kinds": "resid"}, "kinds are a list of texts, got 'resid'"),
        ({"kinds": ()}, "no kinds to trace"),
        ({"metric": "logit_diff", "against": {"jobs": "Rome"}}, "a text for every fact; for 'tower' it holds none"),
        ({"metric": "logit_diff", "against": dict.fromkeys(FACTS, " ")}, "for 'jobs' it holds ' '"),
    ],
    ids=str,
)
def test_arguments_that_do_not_fit_are_refused(gpt2: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        trace_facts(gpt2, FACTS, **{**OPTIONS, **arguments})


def test_known_asks_for_the_models_own_answer_whatever_is_traced(gpt2: Any) -> None:
    top = trace(gpt2, FACTS["jobs"], positions=[]).answer
    known = Fact("Steve Jobs", "{} was the", top)
    unknown = Fact("Steve Jobs", "{} was the", "Paris")
    found = trace_facts(gpt2, [known, unknown], ("resid",), **{**OPTIONS, "known": True}, answer="Paris")
    assert list(found.traces) == ["0"] and found.traces["0"]["resid"].answer == "Paris"
    assert found.skipped == {"1": f"the model says {top!r}, not 'Paris'"}


def test_each_fact_may_have_its_own_second_answer(gpt2: Any, gpt2_case: Case, tmp_path: Path) -> None:
    others = {name: ("Rome", "London")[i % 2] for i, name in enumerate(FACTS)}
    options = {**OPTIONS, "metric": "logit_diff", "answer": "French"}
    found = trace_facts(gpt2, FACTS, ("resid",), against=others, out=tmp_path / "run", **options)
    for name, fact in FACTS.items():
        alone = trace(gpt2, fact, noise=0.7, samples=2, metric="logit_diff", answer="French", against=others[name])
        result = found.traces[name]["resid"]
        assert result.settings.against == others[name] and result.settings.against_each
        torch.testing.assert_close(result.scores, alone.scores, rtol=0, atol=max(gpt2_case.tolerance, 1e-5))
    average = average_effects(found).of_kind("resid")
    assert average.settings.against == ""
    with pytest.raises(RunError, match="against"):
        trace_facts(gpt2, FACTS, ("resid",), against=dict.fromkeys(FACTS, "Rome"), out=tmp_path / "run", **options)


def test_options_left_out_and_options_given_at_their_defaults_are_one_run(gpt2: Any, tmp_path: Path) -> None:
    given: dict[str, Any] = {"samples": 10, "window": None, "noise": "s3", "seed": 1, "metric": "prob"}
    given |= {"layers": iter(range(4)), "positions": ["last"]}
    trace_facts(gpt2, FACTS, ("resid",), out=tmp_path / "run", known=False, progress=False, positions="last")
    trace_facts(gpt2, FACTS, ("resid",), out=tmp_path / "run", known=False, progress=False, **given)
    with pytest.raises(RunError, match="layers"):
        trace_facts(
            gpt2, FACTS, ("resid",), out=tmp_path / "run", known=False, progress=False, positions="last", layers=1
        )


def test_what_does_not_depend_on_the_fact_is_computed_once(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    statistics = EmbeddingStatistics.collect(gpt2, ["The Eiffel Tower is in Paris"])
    factored, read = torch.linalg.svd, type(as_surface(gpt2)).embeddings
    calls: list[str] = []

    def svd(*given: Any) -> Any:
        calls.append("svd")
        return factored(*given)

    def embeddings(surface: Any, ids: torch.Tensor) -> torch.Tensor:
        calls.extend(["mean"] * (len(ids) == surface.cfg.d_vocab))
        return read(surface, ids)

    monkeypatch.setattr(torch.linalg, "svd", svd)
    monkeypatch.setattr(type(as_surface(gpt2)), "embeddings", embeddings)
    options = {**OPTIONS, "positions": "last"}
    trace_facts(gpt2, FACTS, ("resid", "mlp"), **{**options, "noise": MultivariateNoise(statistics)})
    trace_facts(gpt2, FACTS, ("resid", "mlp"), **{**options, "noise": "mean"})
    assert calls == ["svd", "mean"]
