"""The study of localization and editing gives what a plain loop gives, and goes on after a stop."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
import pytest

from lens_rome.editing import (
    MEMIT,
    ROME,
    ErrorInjection,
    FineTune,
    ValueSettings,
    editing_problems,
    neighborhood_score,
)
from lens_rome.errors import EditError, MomentError, RunError
from lens_rome.evaluation import Evaluation, read_essences
from lens_rome.evaluation.asked import Asked
from lens_rome.evaluation.job import Memory
from lens_rome.facts import EditRequest, EvalRecord, Fact
from lens_rome.moments import SecondMoment
from lens_rome.studies.localization import (
    LocalizationReport,
    Method,
    known_records,
    load_localization,
    localization,
    study_job,
)
from lens_rome.studies.localization.effects import traced_facts
from lens_rome.surface import as_surface
from lens_rome.tracing import layer_effects, trace_facts, zeroing_effects
from lens_rome.tracing.facts_job import FactsJob
from tests.evaluation.test_problems import RECORDS as POSED
from tests.helpers import assert_untouched

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.editing.DisablingEditWarning")

RECORDS = [POSED[0], replace(POSED[1], generation_prompts=("Danielle Darrieux lives in",))]
TRUTHLESS = replace(RECORDS[1], request=replace(RECORDS[1].request, target_true=""))
NOISE = 3.0
PROBLEMS = editing_problems(NOISE, 6)
ROME_3 = Method("ROME", ROME(0, value=ValueSettings(steps=3), contexts=("", "He said that. ")))
TUNED = Method("FT-5", FineTune((0,), steps=2, norm_bound=0.05), 3)
WAYS: dict[str, Any] = {"noise": NOISE, "moments": "identity", "progress": False, "samples": 2, "windows": (1, 3)}


@pytest.fixture
def study(gpt2: Any, tmp_path: Path) -> Callable[..., Any]:
    def run(**changes: Any) -> LocalizationReport:
        asked: dict[str, Any] = {
            "out": tmp_path / "study",
            "layers": [0, 2],
            "essence": False,
            "problems": PROBLEMS,
            **WAYS,
            **changes,
        }
        methods = asked.pop("methods", [ROME_3, TUNED])
        return localization(gpt2, asked.pop("records", RECORDS), methods, **asked)

    return run


def by_hand(model: Any, problem: Any, editor: Any, record: EvalRecord) -> list[float]:
    """Rewrite, paraphrase and neighbourhood score from probabilities before and after the edit."""
    asked = record.request
    request = problem.request(model, Fact(asked.subject, asked.template, asked.target_true), asked.target_new)
    own = [request]
    for prompt in record.paraphrase_prompts:
        fact = Fact.from_prompt(prompt, asked.subject, request.target_new)
        own.append(EditRequest(fact.subject, fact.template, fact.target))
    near = [EditRequest(prompt, "{}", asked.target_new) for prompt in record.neighborhood_prompts]
    before, kept = problem.probabilities(model, own), ErrorInjection().probabilities(model, near)
    with problem.adapt(editor).edit(model, request, moments="identity").applied(model):
        after, moved = problem.probabilities(model, own), ErrorInjection().probabilities(model, near)
    gains = [max(0.0, problem.score(*pair)) for pair in zip(before, after, strict=True)]
    return [gains[0], fmean(gains[1:]), fmean(neighborhood_score(*pair) for pair in zip(kept, moved, strict=True))]


def test_every_edit_is_scored_as_by_hand(gpt2: Any, study: Callable[..., Any]) -> None:
    report = study(layers=[1])
    rows = report.scores.set_index(["id", "problem", "method", "layer"])
    seen = 0
    for problem in PROBLEMS:
        for method in (ROME_3, TUNED):
            for record in RECORDS:
                row = rows.loc[str(record.case_id), problem.name, method.name, 1]
                if row["missing"]:
                    continue
                editor = method.at(problem, 1, as_surface(gpt2).n_layers)
                told = by_hand(gpt2, problem, editor, record)
                found = [row["rewrite"], row["paraphrase"], row["neighborhood"]]
                assert found == pytest.approx(told, abs=1e-9, nan_ok=True)
                assert row["overall"] == pytest.approx(fmean(told), abs=1e-9)
                seen += 1
    assert seen >= 14
    assert report.left == 0
    assert len(report.scores) == len(PROBLEMS) * 2 * len(RECORDS)


def test_the_model_comes_back_as_it_was(gpt2: Any, study: Callable[..., Any]) -> None:
    with assert_untouched(gpt2):
        study(problems=PROBLEMS[:1], layers=[1])


def test_effects_are_those_of_the_traces(gpt2: Any, study: Callable[..., Any]) -> None:
    effects = study(problems=PROBLEMS[:1], layers=[1], methods=[ROME_3]).effects
    facts = traced_facts(RECORDS)
    assert {name: fact.target for name, fact in facts.items()} == {"11": "Apple", "12": "Russian in Rome"}
    told: dict[str, Any] = {"known": False, "target": True, "progress": False}
    for window in (1, 3):
        traces = trace_facts(gpt2, facts, ("mlp",), noise=NOISE, samples=2, window=window, **told)
        found = effects[(effects["measure"] == "tracing") & (effects["window"] == window)].sort_values(["id", "layer"])
        expected = layer_effects(traces, "mlp")
        pd.testing.assert_frame_equal(
            found[expected.columns].reset_index(drop=True), expected, check_dtype=False, rtol=1e-4, atol=1e-6
        )
    zeroed = trace_facts(gpt2, facts, ("mlp",), direction="zero", window=5, positions="subject", together=True, **told)
    found = effects[effects["measure"] == "zeroing"].sort_values(["id", "layer"])
    found = found[["id", "layer", "effect"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, zeroing_effects(zeroed, "mlp"), check_dtype=False, rtol=1e-4, atol=1e-6)


def test_two_shares_make_the_whole(study: Callable[..., Any], tmp_path: Path) -> None:
    asked: dict[str, Any] = {"problems": PROBLEMS[:2], "methods": [ROME_3]}
    whole = study(out=tmp_path / "whole", **asked)
    half = study(out=tmp_path / "shares", shard="1/2", **asked)
    assert half.left == len(whole.scores) - len(half.scores) > 0
    both = study(out=tmp_path / "shares", shard="2/2", **asked)
    drop = ["seconds"]
    pd.testing.assert_frame_equal(both.scores.drop(columns=drop), whole.scores.drop(columns=drop), rtol=1e-9)


def test_a_finished_study_is_not_done_again(study: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    first = study(problems=PROBLEMS[:1], methods=[ROME_3])

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("edited again")

    monkeypatch.setattr(ROME, "edit_each", never)
    again = study(problems=PROBLEMS[:1], methods=[ROME_3])
    pd.testing.assert_frame_equal(first.scores, again.scores)


def test_a_folder_of_another_study_is_refused(study: Callable[..., Any]) -> None:
    study(problems=PROBLEMS[:1], methods=[ROME_3])
    with pytest.raises(RunError, match="editors"):
        study(problems=PROBLEMS[:1], methods=[replace(ROME_3, editor=replace(ROME_3.editor, seed=7))])


def test_what_cannot_be_asked_or_edited_is_a_row_with_its_reason(study: Callable[..., Any]) -> None:
    report = study(layers=[3], problems=PROBLEMS[1:3], methods=[ROME_3])
    last = report.scores[report.scores["missing"].str.contains("is the last")]
    assert len(last) >= 1
    assert last["rewrite"].isna().all()
    erasure = report.scores[report.scores["problem"] == "fact erasure"]
    assert erasure["missing"].str.contains("nothing to erase").any()


def test_a_paraphrase_that_cannot_be_noised_is_a_reason_and_not_a_failure(study: Callable[..., Any]) -> None:
    nameless = replace(RECORDS[0], paraphrase_prompts=("He said that",))
    report = study(layers=[1], records=[nameless, RECORDS[1]], problems=PROBLEMS[4:], methods=[ROME_3])
    told = dict(zip(report.scores["id"], report.scores["missing"], strict=True))
    assert told["11"].startswith("subject 'Steve Jobs' is not in the prompt") and told["12"] == ""


def test_essence_compares_the_unedited_models_own_texts(
    study: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    from lens_rome.evaluation import text_scorer

    def counted(model: Any, subjects: Any, **words: Any) -> Any:
        asked.append(list(subjects))
        return read_essences(model, asked[-1], **words)

    monkeypatch.setattr(text_scorer, "read_essences", counted)
    report = study(problems=PROBLEMS[:1], methods=[ROME_3], layers=[0, 1], essence=True)
    assert asked == [["Steve Jobs", "Danielle Darrieux"]]  # once, for all layers
    assert report.scores["essence"].between(0, 1).all()
    assert report.scores["overall_essence"].notna().all()


def test_the_unedited_model_is_asked_once_for_all_edits(gpt2: Any) -> None:
    memory, asked = Memory(), Asked(problem=ErrorInjection()).for_metrics(["RwS", "PaS", "NeS"])
    editor = ROME_3.at(ErrorInjection(), 1, 4)
    first = Evaluation(gpt2, RECORDS, editor, moments="identity", asked=asked, memory=memory).report()
    known = dict(memory.plain)
    assert known
    again = Evaluation(gpt2, RECORDS, editor, moments="identity", asked=asked, memory=memory)
    poisoned = {question: replace(told, logprob=-1.0) for question, told in known.items()}
    memory.plain.update(poisoned)
    assert {row.before_new.logprob for row in again.report().scores if row.before_new} == {-1.0}
    assert any(row.before_new.logprob != -1.0 for row in first.scores if row.before_new)


def test_known_records_say_the_truth_within_their_greedy_words(gpt2: Any) -> None:
    from lens_rome.evaluation import generate

    prompt = RECORDS[0].request.prompt
    length = len(as_surface(gpt2).encode(prompt, False).ids) + 5
    (text,) = generate(gpt2, [prompt], length=length, top_k=1)
    said = text[len(prompt) :].strip().split()[0]
    truth = replace(RECORDS[0], request=replace(RECORDS[0].request, target_true=said.upper()))
    other = replace(RECORDS[1], request=replace(RECORDS[1].request, target_true="xylophone"))
    assert known_records(gpt2, [other, truth], tokens=5) == [truth]
    with pytest.raises(EditError, match="knows none of the 1 facts"):
        known_records(gpt2, [other], tokens=5)
    with pytest.raises(EditError, match="there are no records"):
        known_records(gpt2, [])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": [9]}, "layer 9 does not exist: the model has layers 0 to 3"),
        ({"layers": []}, "needs layers, got none"),
        ({"records": []}, "needs records, got none"),
        ({"records": [RECORDS[0], RECORDS[0]]}, "each of its records once; 11"),
        ({"methods": [ROME_3, ROME_3]}, "each of its methods once; 'ROME'"),
        ({"windows": (1, 1)}, "windows are different whole numbers"),
        ({"windows": (0,)}, "windows are different whole numbers"),
        ({"samples": 0}, "samples are draws of noise, 1 at least; got 0"),
        ({"records": [TRUTHLESS]}, "record 12 has none"),
    ],
)
def test_what_is_no_study_is_refused(
    study: Callable[..., Any], changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(EditError, match=message):
        study(**changes)
    assert not (tmp_path / "study").exists()


def test_methods_of_two_bos_settings_are_refused(gpt2: Any) -> None:
    other = Method("FT-1", FineTune((0,), prepend_bos=True))
    with pytest.raises(EditError, match="one prepend_bos"):
        study_job(gpt2, RECORDS, [replace(ROME_3, editor=replace(ROME_3.editor, prepend_bos=False)), other], noise=1)


def test_moments_are_looked_for_before_the_first_trace(study: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(MomentError, match="needs the second moment of layer 0"):
        study(moments=None)
    several = Method("MEMIT", MEMIT((0,)), 3)
    with pytest.raises(MomentError, match=r"hold layers \[2\], the edit is at layer 1"):
        study(methods=[several], layers=[2], moments=SecondMoment.identity(2, 64))
    assert not (tmp_path / "study").exists()
    assert study(methods=[TUNED], problems=PROBLEMS[:1], layers=[1], moments=None).left == 0  # takes none


def test_a_trace_that_failed_is_made_when_errors_are_tried_again(
    study: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"problems": PROBLEMS[:1], "methods": [TUNED], "layers": [1], "windows": (1,)}

    def failing(job: Any, name: str) -> Any:
        if name == "12":
            raise RuntimeError("out of memory")
        return pose(job, name)

    pose = FactsJob._pose  # pyright: ignore[reportPrivateUsage]
    with monkeypatch.context() as patch:
        patch.setattr(FactsJob, "_pose", failing)
        report = study(**asked)
    assert list(report.untraced) == ["12"] and "out of memory" in report.untraced["12"]
    assert list(study(**asked).untraced) == ["12"]
    again = study(**asked, retry_errors=True)
    assert not again.untraced and set(again.effects["id"]) == {"11", "12"}


def test_a_folder_without_a_study_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        load_localization(tmp_path)


def test_scores_as_they_are_may_fall_below_zero(study: Callable[..., Any], tmp_path: Path) -> None:
    clipped = study(problems=PROBLEMS[3:4], methods=[TUNED]).scores
    plain: Any = load_localization(tmp_path / "study", clipped=False).scores
    assert (clipped["rewrite"].dropna() >= 0).all()
    both = plain["rewrite"].clip(lower=0)
    pd.testing.assert_series_equal(both, clipped["rewrite"])
    assert all(math.isfinite(value) for value in plain["rewrite"].dropna())
