"""Each record is scored under its own edited model, and the model is as before afterwards."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from lens_rome.editing import ROME, Edit, ValueSettings
from lens_rome.errors import EditError, EditMismatchError, FactError, SurfaceError
from lens_rome.evaluation import EvalReport, evaluate, mean_nll, score_record
from lens_rome.facts import EditRequest, EvalRecord
from lens_rome.surface import as_surface
from tests.helpers import Case, assert_untouched

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.editing.DisablingEditWarning")

RECORDS = [
    EvalRecord(
        11,
        EditRequest("Steve Jobs", "{} was the founder of", "Spanish", "Apple"),
        paraphrase_prompts=("He said that Steve Jobs made", "The work of Steve Jobs is"),
        neighborhood_prompts=("The founder of the iPhone is",),
        attribute_prompts=("In Rome they say",),
    ),
    EvalRecord(
        12,
        EditRequest("Danielle Darrieux", "The mother tongue of {} is", "French piano", "E"),
        paraphrase_prompts=("Danielle Darrieux was born in",),
        neighborhood_prompts=("The language in Catalonia is", "The Eiffel Tower is in"),
    ),
]
EDITOR = ROME(1, value=ValueSettings(steps=4), contexts=("", "He said that. "))


def edits_of(model: Any) -> dict[int, Edit]:
    return {record.case_id: EDITOR.edit(model, record.request, moments="identity") for record in RECORDS}


def assert_same(found: EvalReport, expected: EvalReport) -> None:
    assert [(s.case_id, s.group, s.prompt) for s in found.scores] == [
        (s.case_id, s.group, s.prompt) for s in expected.scores
    ]
    for one, other in zip(found.scores, expected.scores, strict=True):
        # Edits made together and alone, and rows that run with others, differ in the last digits.
        assert (one.nll_new, one.nll_true) == pytest.approx((other.nll_new, other.nll_true), rel=1e-12)


def test_every_prompt_of_a_record_is_asked_for_both_objects(gpt2: Any) -> None:
    scores = score_record(as_surface(gpt2), RECORDS[0], attributes=True)
    assert [s.group for s in scores] == ["rewrite", "paraphrase", "paraphrase", "neighborhood", "attribute"]
    assert scores[0].prompt == "Steve Jobs was the founder of"
    for score in scores:
        expected = mean_nll(as_surface(gpt2), [(score.prompt, "Spanish"), (score.prompt, "Apple")])
        assert [score.nll_new, score.nll_true] == pytest.approx(expected, rel=0, abs=1e-6)
        assert score.case_id == 11


def test_without_edits_the_model_is_scored_as_it_is(gpt2: Any) -> None:
    report = evaluate(gpt2, (record for record in RECORDS), label="unedited")
    expected = [score for record in RECORDS for score in score_record(as_surface(gpt2), record)]
    assert_same(report, EvalReport(tuple(expected)))
    assert report.label == "unedited"


def test_a_mapping_gives_every_record_its_own_edit(gpt2: Any) -> None:
    edits = edits_of(gpt2)
    with assert_untouched(gpt2):
        report = evaluate(gpt2, RECORDS, edits)
    expected = []
    for record in RECORDS:
        with edits[record.case_id].applied(gpt2):
            expected += score_record(as_surface(gpt2), record)
    assert_same(report, EvalReport(tuple(expected)))
    unedited = evaluate(gpt2, RECORDS)
    assert report.scores[0].nll_new != unedited.scores[0].nll_new


def test_an_editor_makes_an_independent_edit_for_every_record(gpt2: Any) -> None:
    with assert_untouched(gpt2):
        report = evaluate(gpt2, RECORDS, EDITOR, moments="identity")
    assert_same(report, evaluate(gpt2, RECORDS, edits_of(gpt2)))


def test_one_edit_serves_all_records(gpt2: Any) -> None:
    edit = edits_of(gpt2)[11]
    report = evaluate(gpt2, RECORDS, edit)
    assert_same(report, evaluate(gpt2, RECORDS, {11: edit, 12: edit}))
    with edit.applied(gpt2):
        assert_same(report, evaluate(gpt2, RECORDS))


def test_bos_can_be_chosen(gpt2: Any) -> None:
    without, following = (evaluate(gpt2, RECORDS, prepend_bos=bos) for bos in (False, None))
    assert without.scores[0].nll_new != following.scores[0].nll_new
    assert_same(without, EvalReport(tuple(s for r in RECORDS for s in score_record(as_surface(gpt2), r, False))))


def test_missing_edits_and_missing_records_are_refused(gpt2: Any) -> None:
    with pytest.raises(EditError, match="1 records have no edit, the first is case 12"):
        evaluate(gpt2, RECORDS, {11: edits_of(gpt2)[11]})
    with pytest.raises(EditError, match=r"an editor such as ROME\(layer=5\); got the class ROME"):
        evaluate(gpt2, RECORDS, ROME)  # type: ignore[arg-type]
    with pytest.raises(EditError, match="no records to evaluate on"):
        evaluate(gpt2, [])
    with pytest.raises(EditError, match="batch_tokens must be a whole number from 1, got 0"):
        evaluate(gpt2, RECORDS, batch_tokens=0)
    answers = replace(RECORDS[1], neighborhood_answers=("Spanish",))
    with pytest.raises(
        FactError, match=r"2 neighborhood_prompts and 1 neighborhood_answers\. Give one answer a prompt"
    ):
        evaluate(gpt2, [answers])


def test_the_model_comes_back_after_an_error_inside_an_edited_record(gpt2: Any, shared_model: Any) -> None:
    too_long = replace(RECORDS[1], paraphrase_prompts=("It was a quiet day in the winter. " * 20,))
    edits = edits_of(gpt2)
    with assert_untouched(gpt2), pytest.raises(SurfaceError, match="context holds 64"):
        evaluate(gpt2, [RECORDS[0], too_long], edits)
    other = shared_model(Case("gpt2", as_surface(gpt2).name, True))
    with assert_untouched(other), pytest.raises(EditMismatchError):
        evaluate(other, RECORDS, edits)


def test_scores_are_read_without_gradients(gpt2: Any) -> None:
    evaluate(gpt2, RECORDS)
    assert all(parameter.grad is None for parameter in gpt2.parameters())
    assert torch.is_grad_enabled()
