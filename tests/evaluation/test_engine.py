"""Scores of many edited models in common runs equal a loop over edits, prompts and objects."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from lens_rome.editing import Edit
from lens_rome.errors import EditMismatchError
from lens_rome.evaluation import EvalReport, Likelihood, engine, evaluate, likelihoods, score_record, scorer
from lens_rome.evaluation.questions import Question, asked_prompts
from lens_rome.evaluation.score_rows import Ask, ScoreRow, batches_of, rows_of
from lens_rome.surface import as_surface, load_model
from tests.evaluation.support import (
    RECORDS,
    dense,
    embedding_row,
    inner,
    rank_one,
    several_layers,
)
from tests.helpers import Case, assert_untouched, save_tiny_model
from tests.oracles.evaluation import Told, scored


def edits_of(model: Any) -> dict[int, Edit]:
    """Of different layers, ranks and parameters."""
    return {11: rank_one(model, 2), 12: several_layers(model, 7), 13: inner(model, 9)}


def assert_told(found: Likelihood | None, expected: Told | None, tolerance: float) -> None:
    if expected is None or found is None:
        assert found is None and expected is None
        return
    # Log-probabilities of a vocabulary are of the size of ten.
    assert found.logprob == pytest.approx(expected[0], rel=0, abs=max(100 * tolerance, 1e-10))
    assert (found.tokens, found.top) == expected[1:]


def assert_equals_loop(
    model: Any, case: Case, edits: Mapping[int, Edit], report: EvalReport, *, attributes: bool = False
) -> None:
    expected = scored(model, RECORDS, edits, as_surface(model).prepends_bos(), attributes=attributes)
    assert [(s.case_id, s.group, s.prompt) for s in report.scores] == [row[:3] for row in expected]
    for score, (*_, new, true) in zip(report.scores, expected, strict=True):
        assert_told(score.new, new, case.tolerance)
        assert_told(score.true, true, case.tolerance)


def assert_before_is(report: EvalReport, unedited: EvalReport, tolerance: float = 1e-10) -> None:
    for score, plain in zip(report.scores, unedited.scores, strict=True):
        for one, other in ((score.before_new, plain.new), (score.before_true, plain.true)):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                assert one.logprob == pytest.approx(other.logprob, rel=0, abs=tolerance)
                assert (one.tokens, one.top) == (other.tokens, other.top)


def test_scores_of_different_edits_in_common_runs_equal_a_loop(raw_model: Any, raw_case: Case) -> None:
    edits = edits_of(raw_model)
    with assert_untouched(raw_model):
        # Small batches, for in large ones stems of so few rows are not worth it.
        report = evaluate(raw_model, RECORDS, edits, before=True, attributes=True, batch_tokens=16)
    assert_equals_loop(raw_model, raw_case, edits, report, attributes=True)
    unedited = evaluate(raw_model, RECORDS, attributes=True)
    assert_equals_loop(raw_model, raw_case, {}, unedited, attributes=True)
    assert_before_is(report, unedited, max(100 * raw_case.tolerance, 1e-10))
    assert any(abs(s.new.logprob - u.new.logprob) > 1e-2 for s, u in zip(report.scores, unedited.scores, strict=True))


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("batch_tokens", [1, 20, 50])
def test_the_size_of_batches_changes_nothing(gpt2: Any, gpt2_case: Case, batch_tokens: int, before: bool) -> None:
    edits = edits_of(gpt2)
    report = evaluate(gpt2, RECORDS, edits, before=before, batch_tokens=batch_tokens)
    assert_equals_loop(gpt2, gpt2_case, edits, report)
    if before:
        assert_before_is(report, evaluate(gpt2, RECORDS))
    else:
        assert all(score.before_new is None and score.before_true is None for score in report.scores)


@pytest.mark.parametrize("together", [1, 2])
def test_how_many_records_are_scored_together_changes_nothing(
    gpt2: Any, gpt2_case: Case, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lens_rome.evaluation.making._SCORED", together)
    edits = edits_of(gpt2)
    report = evaluate(gpt2, RECORDS, edits, before=True)
    assert_equals_loop(gpt2, gpt2_case, edits, report)
    assert_before_is(report, evaluate(gpt2, RECORDS))


@pytest.mark.parametrize("make", [dense, embedding_row])
def test_edits_without_hook_form_are_written_into_the_weights(raw_model: Any, raw_case: Case, make: Any) -> None:
    if raw_case.architecture != "gpt2" and (make is dense or raw_case.surface == "hooked"):
        pytest.skip("covered: only the embeddings of bridges differ between architectures")
    edits = {11: make(raw_model), 12: rank_one(raw_model, 1), 13: make(raw_model).scaled(0.5)}
    with assert_untouched(raw_model):
        report = evaluate(raw_model, RECORDS, edits, before=True)
    assert_equals_loop(raw_model, raw_case, edits, report)
    assert_before_is(report, evaluate(raw_model, RECORDS), max(100 * raw_case.tolerance, 1e-10))


def test_hooks_and_weights_give_the_same_scores(gpt2: Any) -> None:
    edits = edits_of(gpt2)
    hooks, weights = (evaluate(gpt2, RECORDS, edits, before=True, weights=each) for each in (False, True))
    for one, other in zip(hooks.scores, weights.scores, strict=True):
        assert one.new.logprob == pytest.approx(other.new.logprob, rel=0, abs=1e-10)
    assert_before_is(hooks, replace(weights, scores=tuple(_as_after(each) for each in weights.scores)))


def _as_after(score: Any) -> Any:
    return replace(score, new=score.before_new, true=score.before_true)


def test_in_half_precision_weights_are_scored_as_they_are_stored(shared_model: Any, gpt2_case: Case) -> None:
    model = shared_model(replace(gpt2_case, dtype=torch.bfloat16))
    edit = rank_one(model, 1).scaled(0.003)  # far below the spacing of the weights
    stored, exact = (evaluate(model, RECORDS[:1], edit, weights=each) for each in (True, False))
    with edit.applied(model):
        expected = score_record(as_surface(model), RECORDS[0])
    for found, score in zip(stored.scores, expected, strict=True):
        assert found.new.logprob == pytest.approx(score.new.logprob, abs=0.2)  # bfloat16 has two digits
    assert [s.new for s in stored.scores] != [s.new for s in exact.scores]


def test_an_edit_of_nothing_leaves_every_score_as_before(raw_model: Any, raw_case: Case) -> None:
    # Rows that run with others differ in the last digits: of float32 where a surface casts to it inside.
    tolerance = 1e-11 if raw_case.tolerance == 1e-12 else 100 * raw_case.tolerance
    nothing = {case: edit.scaled(0) for case, edit in edits_of(raw_model).items()}
    for score in evaluate(raw_model, RECORDS, nothing, before=True).scores:
        for now, before in ((score.new, score.before_new), (score.true, score.before_true)):
            if now is not None and before is not None:
                assert now.logprob == pytest.approx(before.logprob, rel=0, abs=tolerance)
                assert now.top == before.top


def test_without_edits_before_is_the_same_as_after(gpt2: Any) -> None:
    for score in evaluate(gpt2, RECORDS, before=True).scores:
        assert (score.before_new, score.before_true) == (score.new, score.true)


def test_neighbours_with_answers_of_their_own_are_asked_for_these(gpt2: Any) -> None:
    surface, scores = as_surface(gpt2), evaluate(gpt2, RECORDS[2:]).scores
    assert [score.group for score in scores] == ["rewrite", "neighborhood", "neighborhood"]
    assert scores[0].true is None
    for score, answer in zip(scores[1:], RECORDS[2].neighborhood_answers, strict=True):
        (expected,) = by_plain_run(surface, score.prompt, answer)
        assert score.true is not None and score.true.logprob == pytest.approx(expected.logprob, abs=1e-10)


def by_plain_run(surface: Any, prompt: str, answer: str) -> list[Likelihood]:
    return likelihoods(surface, [(prompt, answer)])


def test_attribute_prompts_are_scored_only_on_request(gpt2: Any) -> None:
    plain, asked = (evaluate(gpt2, RECORDS, attributes=each) for each in (False, True))
    assert {s.group for s in plain.scores} == {"rewrite", "paraphrase", "neighborhood"}
    assert next(s for s in asked.scores if s.group == "attribute").prompt == "In Rome they say"
    assert len(asked.scores) == len(plain.scores) + 1


def look_at_the_end(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
    changed = activation.clone()
    changed[:, -1] = changed[:, -1] * 0.5
    return changed


def test_hooks_of_the_owner_that_look_at_positions_see_each_question_as_if_alone(
    raw_model: Any, raw_case: Case
) -> None:
    if raw_case.architecture in ("gptj", "neox"):
        pytest.skip("covered: whole runs do not depend on the architecture")
    edits, surface = edits_of(raw_model), as_surface(raw_model)
    with raw_model.hooks(fwd_hooks=[("blocks.2.hook_resid_post", look_at_the_end)]):
        with assert_untouched(raw_model):
            report = evaluate(raw_model, RECORDS, edits, before=True)
        for edited in (True, False):
            scores = iter(report.scores)
            for record in RECORDS:
                with (edits[record.case_id] if edited else edits[record.case_id].scaled(0)).applied(raw_model):
                    for score in (next(scores) for _ in score_record(surface, record)):
                        (expected,) = by_plain_run(surface, score.prompt, record.request.target_new)
                        found = score.new if edited else score.before_new
                        assert found is not None
                        assert found.logprob == pytest.approx(
                            expected.logprob, rel=0, abs=max(100 * raw_case.tolerance, 1e-10)
                        )


def test_a_model_that_scales_its_logits_is_run_whole(tmp_path: Any) -> None:
    model = load_model(save_tiny_model("cohere", tmp_path), "bridge", dtype=torch.float64)
    report = evaluate(model, RECORDS[:1], before=True)
    for score, expected in zip(report.scores, score_record(as_surface(model), RECORDS[0]), strict=True):
        assert score.new.logprob == pytest.approx(expected.new.logprob, rel=0, abs=1e-4)


@pytest.mark.parametrize("edited", [True, False])
@pytest.mark.parametrize("batch_tokens", [1, 30, None])
def test_the_unedited_model_is_asked_each_question_once(
    gpt2: Any, monkeypatch: pytest.MonkeyPatch, batch_tokens: int | None, edited: bool
) -> None:
    asked: list[Question] = []

    def spy(surface: Any, rows: Any, *args: Any, **kwargs: Any) -> Any:
        asked.extend(ask.question for row in rows if row.owner == -1 for ask in row.asks)
        return engine.run_rows(surface, rows, *args, **kwargs)

    monkeypatch.setattr(scorer, "run_rows", spy)
    monkeypatch.setattr("lens_rome.evaluation.making._SCORED", 2)
    again, edits = [*RECORDS, replace(RECORDS[0], case_id=14)], edits_of(gpt2)
    edits[14] = edits[12]
    evaluate(gpt2, again, edits if edited else None, before=True, batch_tokens=batch_tokens)
    bos = as_surface(gpt2).prepends_bos()
    wanted = {q for record in RECORDS for prompt in asked_prompts(record, bos) for q in prompt.questions}
    assert len(asked) == len(set(asked)) and set(asked) >= wanted


def test_a_foreign_edit_among_others_is_refused_and_nothing_changes(gpt2: Any, shared_model: Any) -> None:
    other = shared_model(Case("gpt2", as_surface(gpt2).name, True))
    edits = {**edits_of(gpt2), 12: rank_one(other, 1)}
    for weights in (False, True):
        with assert_untouched(gpt2), pytest.raises(EditMismatchError):
            evaluate(gpt2, RECORDS, edits, weights=weights)


def test_the_model_comes_back_after_an_exception_in_the_middle(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    surface_class = type(as_surface(gpt2))

    def broken(*_: Any) -> Any:
        raise RuntimeError("in the middle")

    for edits in (edits_of(gpt2), {record.case_id: dense(gpt2) for record in RECORDS}):
        with monkeypatch.context() as patch:
            patch.setattr(surface_class, "last_block", broken)
            with assert_untouched(gpt2), pytest.raises(RuntimeError, match="in the middle"):
                evaluate(gpt2, RECORDS, edits)


def asks(*rows: tuple[tuple[int, ...], tuple[int, ...]]) -> list[Ask]:
    return [Ask(Question(str(i), "", False), prompt, target) for i, (prompt, target) in enumerate(rows)]


def test_targets_share_a_row_if_their_tokens_can_be_read_from_it() -> None:
    one, other = (1, 2), (3,)
    found = rows_of(asks((one, (5,)), (one, (6, 7, 8)), (one, (6, 7)), (one, (9, 9)), (other, (5,))))
    assert [row.tokens for row in found] == [(1, 2, 6, 7), (1, 2, 9), (3,)]
    assert [len(row.asks) for row in found] == [3, 1, 1]
    assert [row.stem for row in found] == [(-1, (1,)), (-1, (1,)), (-1, ())]
    alone = rows_of(asks((one, (5,)), (one, (6, 7))), shared=False)
    assert [(row.tokens, row.start) for row in alone] == [((1, 2, 6), 0), ((1, 2), 0)]


def test_batches_hold_rows_of_one_lowest_block_and_no_more_tokens_than_allowed() -> None:
    rows = [ScoreRow((0,) * length, (), 0, first) for length, first in ((3, 1), (2, 1), (9, 0), (3, 1), (2, 2), (3, 1))]
    found = list(batches_of(rows, 9))
    assert [[len(row.tokens) for row in batch] for batch in found] == [[9], [2, 3, 3], [3], [2]]
    exact = list(batches_of(rows, 100, padded=False))
    assert [[len(row.tokens) for row in batch] for batch in exact] == [[9], [2], [3, 3, 3], [2]]


def test_scores_of_a_broken_model_are_nan_and_no_success(fresh_model: Any, gpt2_case: Case) -> None:
    model = fresh_model(gpt2_case)
    with torch.no_grad():
        as_surface(model).parameter(2, "W_out")[0, 0] = torch.nan
    for score in evaluate(model, RECORDS).scores:
        assert math.isnan(score.new.logprob) and not score.success
