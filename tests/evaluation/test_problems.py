"""The five editing problems of Hase et al. are scored as a plain loop over their definitions scores them."""

from dataclasses import replace
from typing import Any

import pytest

from lens_rome.datasets import References, Snippets
from lens_rome.editing import (
    ROME,
    ErrorInjection,
    FactErasure,
    FactForcing,
    KnowledgeNeurons,
    TracingReversal,
    ValueSettings,
    editing_problems,
)
from lens_rome.editing import neighborhood_score as unmoved
from lens_rome.errors import EditError, FactError
from lens_rome.evaluation import EvalReport, TextSettings, evaluate
from lens_rome.facts import EditRequest, EvalRecord, Fact
from tests.helpers import assert_untouched

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.editing.DisablingEditWarning")

RECORDS = [
    EvalRecord(
        11,
        EditRequest("Steve Jobs", "{} was the founder of", "Spanish piano", "Apple"),
        paraphrase_prompts=("He said that Steve Jobs made", "The work of Steve Jobs is"),
        neighborhood_prompts=("The founder of the iPhone is", "The Eiffel Tower is in"),
    ),
    EvalRecord(
        12,
        EditRequest("Danielle Darrieux", "The mother tongue of {} is", "E", "Russian in Rome"),
        paraphrase_prompts=("Danielle Darrieux was born in",),
        neighborhood_prompts=("The language in Catalonia is",),
    ),
]
PROBLEMS = editing_problems(3.0, 6)
USED = {"tracing reversal": RECORDS[:1]}
"""What the noised model says of the other record is no text."""
KN = KnowledgeNeurons()
EDITOR = ROME(1, value=ValueSettings(steps=3), contexts=("", "He said that. "))


def by_hand(model: Any, problem: Any, records: list[EvalRecord]) -> dict[str, list[float]]:
    """Each record's RwS, PaS and NeS from probabilities before and after the edit."""
    found: dict[str, list[float]] = {"RwS": [], "PaS": [], "NeS": []}
    for record in records:
        asked = record.request
        request = problem.request(model, Fact(asked.subject, asked.template, asked.target_true), asked.target_new)
        near = [EditRequest(prompt, "{}", asked.target_new) for prompt in record.neighborhood_prompts]
        own = [request]
        for prompt in record.paraphrase_prompts:
            fact = Fact.from_prompt(prompt, asked.subject, request.target_new)
            own.append(EditRequest(fact.subject, fact.template, fact.target))
        edit = problem.adapt(EDITOR).edit(model, request, moments="identity")
        before, kept = problem.probabilities(model, own), ErrorInjection().probabilities(model, near)
        with edit.applied(model):
            after, moved = problem.probabilities(model, own), ErrorInjection().probabilities(model, near)
        gains = [problem.score(*pair) for pair in zip(before, after, strict=True)]
        found["RwS"].append(gains[0])
        found["PaS"].append(sum(gains[1:]) / len(gains[1:]))
        found["NeS"].append(sum(unmoved(*pair) for pair in zip(kept, moved, strict=True)) / len(kept))
    return found


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda each: each.name)
def test_a_problem_is_scored_as_its_definition_says(gpt2: Any, problem: Any) -> None:
    records = USED.get(problem.name, RECORDS)
    with assert_untouched(gpt2):
        report = evaluate(gpt2, records, EDITOR, moments="identity", problem=problem, before=True)
    erased = "_FE" * isinstance(problem, FactErasure)
    for name, expected in by_hand(gpt2, problem, records).items():
        own = name + erased * (name != "NeS")
        assert list(report.values(own).values()) == pytest.approx(expected, rel=1e-5, abs=1e-9), name
    assert report.settings["problem"] == problem.name and report.settings["problem_settings"].keys() <= {
        "noise",
        "seed",
        "n_tokens",
    }
    assert ("RwS_FE" in report.metrics) == bool(erased)


def test_what_a_problem_has_no_data_for_is_missing(gpt2: Any) -> None:
    """Where the target is the true object there is no other to compare it with, but neighbours still have theirs."""
    report = evaluate(gpt2, RECORDS, EDITOR, moments="identity", problem=PROBLEMS[3], before=True)
    assert report.efficacy.n == 0 and report.neighborhood.n == 2
    assert [case.target_new for case in report.cases] == ["Apple", "Russian in Rome"]
    forced = evaluate(gpt2, RECORDS, EDITOR, moments="identity", problem=FactForcing(0.5), metrics=["RwS"])
    assert {row.group for row in forced.scores} == {"rewrite"} and forced.score("Efficacy").n == 0


def test_a_problem_in_a_run_is_noted_and_another_refused(gpt2: Any, tmp_path: Any) -> None:
    given: dict[str, Any] = {"moments": "identity", "before": True, "progress": False}
    memory = evaluate(gpt2, RECORDS, EDITOR, problem=PROBLEMS[4], **given)
    stored = evaluate(gpt2, RECORDS, EDITOR, problem=PROBLEMS[4], out=tmp_path / "run", **given)
    assert stored.scores == memory.scores and EvalReport.load(tmp_path / "run").settings["problem"] == "fact forcing"
    with pytest.raises(Exception, match="problem"):
        evaluate(gpt2, RECORDS, EDITOR, problem=PROBLEMS[3], out=tmp_path / "run", **given)


def test_records_that_a_problem_cannot_use_are_refused(gpt2: Any) -> None:
    without = EvalRecord(7, EditRequest("Rome", "{} is", "E"))
    with pytest.raises(FactError, match="record 7 has no true object, and fact erasure is about one"):
        evaluate(gpt2, [without], problem=PROBLEMS[2])
    texts: dict[str, Any] = {
        "texts": TextSettings(),
        "references": References.of(Snippets({("P1", "E"): ("a house",)})),
    }
    with pytest.raises(EditError, match=r"fact erasure has another target\. Leave references out"):
        evaluate(gpt2, RECORDS, problem=PROBLEMS[2], **texts)
    with pytest.raises(EditError, match="optimises nothing that could be changed"):
        evaluate(gpt2, RECORDS, KN, moments=None, problem=PROBLEMS[2])


def test_a_given_edits_bos_setting_holds_for_what_the_problem_asks_too(gpt2: Any) -> None:
    problem = TracingReversal(3.0, 21, n_tokens=1)
    fact = Fact(RECORDS[0].request.subject, RECORDS[0].request.template, RECORDS[0].request.target_true)
    target = problem.request(gpt2, fact, prepend_bos=False).target_new
    assert target != problem.request(gpt2, fact).target_new
    edit = replace(EDITOR, prepend_bos=False).edit(gpt2, RECORDS[0].request, moments="identity")
    for edits in (edit, {11: edit}):
        report = evaluate(gpt2, RECORDS[:1], edits, problem=problem)
        assert report.settings["prepend_bos"] is False and report.cases[0].target_new == target
