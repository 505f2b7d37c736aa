"""Editors that refuse a record: an error, an error row, or a record that is scored as it is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from lens_rome import errors
from lens_rome._typing import Model
from lens_rome.editing import ROME, Edit, ValueSettings
from lens_rome.errors import EditError, RunError
from lens_rome.evaluation import TextSettings, UnfinishedRunWarning, evaluate, score_record
from lens_rome.facts import EditRequest
from lens_rome.surface import as_surface
from tests.evaluation.run_support import assert_same, numbers
from tests.evaluation.support import RECORDS
from tests.helpers import Case, assert_untouched

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.editing.DisablingEditWarning")


@dataclass(frozen=True)
class Choosy:
    """ROME for most subjects."""

    refuses: tuple[str, ...] = ("Danielle Darrieux",)
    error: str = "EditError"
    prepend_bos: bool | None = None

    @property
    def name(self) -> str:
        return "choosy"

    def edit_each(self, model: Model, requests: Sequence[EditRequest], *, moments: Any = None) -> list[Edit]:  # noqa: ARG002
        for request in requests:
            if request.subject in self.refuses:
                raise getattr(errors, self.error)(f"no neuron for {request.subject}.")
        editor = ROME(1, value=ValueSettings(steps=2), contexts=("",), prepend_bos=self.prepend_bos)
        return editor.edit_each(model, requests, moments="identity")


@pytest.fixture
def model(shared_model: Any) -> Any:
    """On the surface that every version has."""
    return shared_model(Case("gpt2", "bridge"))


def test_a_refused_record_is_an_error_by_itself(model: Any) -> None:
    with assert_untouched(model), pytest.raises(EditError, match="no neuron for Danielle"):
        evaluate(model, RECORDS, Choosy())


@pytest.mark.parametrize("bos", [None, False])
def test_a_refused_record_can_be_scored_as_it_is_and_the_others_with_their_edits(model: Any, bos: bool | None) -> None:
    editor = Choosy(prepend_bos=bos)
    with assert_untouched(model):
        report = evaluate(model, RECORDS, editor, refused="unedited")
    assert [(case.case_id, case.editor, case.refused) for case in report.cases] == [
        (11, "ROME", ""),
        (12, "choosy", "no neuron for Danielle Darrieux."),
        (13, "ROME", ""),
    ]
    assert report.cases[1].seconds is not None and report.cases[1].change is None and report.cases[1].losses == ()
    plain = score_record(as_surface(model), RECORDS[1], bos)
    found = [row for row in report.scores if row.case_id == 12]
    for one, other in zip(found, plain, strict=True):
        assert numbers(one) == pytest.approx(numbers(other), rel=1e-12, nan_ok=True)
    others = evaluate(model, [RECORDS[0], RECORDS[2]], replace(editor, refuses=()))
    left = tuple(row for row in report.scores if row.case_id != 12)
    assert_same(replace(report, scores=left, cases=report.cases[::2]), others, 1e-12)


def test_a_wrong_model_is_no_refusal_of_a_record(model: Any) -> None:
    for name in ("EditMismatchError", "MomentError"):
        with pytest.raises(getattr(errors, name), match="no neuron"):
            evaluate(model, RECORDS, Choosy(error=name), refused="unedited")


def test_in_a_folder_a_refused_record_is_an_error_row_and_can_be_scored_later(model: Any, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"out": tmp_path / "run"}
    advice = r"1 failed, the first \(case 12\) with EditError: no neuron .* retry_errors=True .*refused='unedited'"
    with pytest.warns(UnfinishedRunWarning, match=advice):
        assert evaluate(model, RECORDS, Choosy(), **asked).case_ids == (11, 13)
    report = evaluate(model, RECORDS, Choosy(), **asked, refused="unedited", retry_errors=True)
    assert_same(report, evaluate(model, RECORDS, Choosy(), refused="unedited"), 1e-12)


def test_an_editor_that_does_not_tell_its_settings_cannot_be_run_into_a_folder(model: Any, tmp_path: Path) -> None:
    class Secret:
        def edit_each(self, model: Model, requests: Sequence[EditRequest], *, moments: Any = None) -> list[Edit]:
            return Choosy(refuses=()).edit_each(model, requests, moments=moments)

    assert evaluate(model, RECORDS, Secret()).cases[0].editor == "ROME"
    with pytest.raises(EditError, match=r"Secret does not tell them\. Make it a dataclass, or give the edits"):
        evaluate(model, RECORDS, Secret(), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_references_that_cannot_be_told_apart_are_refused_in_a_folder(model: Any, tmp_path: Path) -> None:
    class Odd:
        def check(self, groups: Sequence[tuple[str, str]]) -> None: ...

        def score(self, texts: Sequence[str], group: tuple[str, str]) -> float | None: ...

    records = [replace(RECORDS[0], generation_prompts=("Rome is",))]
    with pytest.raises(EditError, match=r"of a Odd nobody can tell whether it is the same\. Give a dataclass"):
        evaluate(model, records, texts=TextSettings(length=8), references=Odd(), out=tmp_path / "run")
    with pytest.raises(RunError, match=r"cannot make .*: the folder .* does not exist"):
        evaluate(model, records, out=tmp_path / "no" / "run")


def test_what_is_left_as_it_is_has_not_moved(model: Any) -> None:
    """So that a mean of divergences is over the records that the other means are over."""
    report = evaluate(model, RECORDS, Choosy(), refused="unedited", metrics=["NKL", "NKL+"])
    for row in report.scores:
        assert row.divergence is not None and (row.divergence == 0) == (row.case_id == 12)
    assert report.score("NKL").n == 3
