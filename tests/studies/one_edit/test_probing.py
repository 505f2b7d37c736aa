"""What the probes of one edit are given: the questions of both models, each with its own answer."""

from dataclasses import asdict
from typing import Any

import pytest

from lens_rome.atlas import load_atlas
from lens_rome.editing import ROME, Edit
from lens_rome.errors import EditError, EditMismatchError
from lens_rome.facts import EditRequest
from lens_rome.studies.one_edit import NOT_ASKED, Question, edit_story, making, probe_edit, probing
from lens_rome.studies.probes import Answer, Finding, Missing
from tests.studies.one_edit.test_story import MODEL, REQUEST, pushed

OTHER = EditRequest("Louvre", "The {} is in the city of", "Rome", "Paris")


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The cases that each probe was given, by its name; none is made."""
    found: dict[str, Any] = {}

    def probe(name: str) -> Any:
        def ask(_: Any, __: Any, cases: Any, **___: Any) -> Finding:
            found[name] = cases
            missing = (Missing("0 at layer 1", "refused"),)
            return Finding(name, "?", Answer("a", 0.0, 0.0, 0.0, 1, "r"), ({"case": "0"},), missing=missing)

        return ask

    for name in ("direction", "strength", "concept", "layers", "prefixes"):
        monkeypatch.setattr(probing, name, probe(name))
    return found


def asked(*questions: Question, **options: Any) -> tuple[Finding, ...]:
    return probe_edit(MODEL, pushed(1.0), REQUEST, questions=questions, **options)


def test_a_neighbour_with_an_answer_of_its_own_is_scored_by_it(given: dict[str, Any]) -> None:
    neighbours = [
        Question("neighbor", "The Louvre is in the city of", "Rome", "Paris"),
        Question("neighbor", "The Big Ben is in the city of", "Rome", "London"),
    ]
    paraphrase = Question("paraphrase", "See the Eiffel Tower in", "Rome", "Paris")
    found = {each.probe: each for each in asked(paraphrase, *neighbours, editor=ROME(1))}
    for name in ("layers", "prefixes"):
        (record,) = given[name]
        assert record.neighborhood_prompts == tuple(each.prompt for each in neighbours)
        assert record.neighborhood_answers == ("Paris", "London")
        assert [row["case"] for row in found[name].rows] == ["the edit"]  # and not the record's number
        assert [each.case for each in found[name].missing] == ["the edit at layer 1"]
    assert [case.request.subject for case in given["concept"]] == ["Eiffel Tower", "Louvre"]


def test_objects_are_found_as_whole_words(given: dict[str, Any]) -> None:
    asked(
        Question("reverse new", "The Romeo and Juliet house in Rome is the", "Eiffel Tower"),
        Question("reverse old", "The Parisian sight of Paris is the", "Eiffel Tower"),
        generation_prompts=("The Eiffel Towers are", "The Eiffel Tower is where Romeo is"),
    )
    (case,) = given["direction"]
    assert case.reverse == (
        "The Parisian sight of {o} is the", "The Romeo and Juliet house in {o} is the"
    )  # fmt: skip
    (case,) = given["strength"]
    assert case.prompts == ("The Eiffel Tower is where Romeo is",)


def made_of(*requests: EditRequest) -> Edit:
    edit = pushed(1.0)
    return Edit(edit.deltas, edit.bases, {"editor": "push", "requests": [asdict(each) for each in requests]})


@pytest.mark.parametrize("edit", [made_of(OTHER), made_of(OTHER, OTHER)])
def test_an_edit_of_another_request_is_refused_before_the_trace(edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "trace_kinds", None)
    with pytest.raises(EditError, match=r"it was made of The Louvre is in the city of → Rome.*Give that request"):
        edit_story(MODEL, REQUEST, edit)
    with pytest.raises(EditError, match="it was made of The Louvre is"):
        probe_edit(MODEL, edit, REQUEST)


def test_an_edit_of_several_requests_is_an_edit_of_each() -> None:
    assert edit_story(MODEL, REQUEST, made_of(OTHER, REQUEST), kinds=()).request == REQUEST


def test_an_edit_of_other_weights_is_refused_before_the_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "trace_kinds", None)
    model, edit = load_atlas()[0], pushed(1.0)
    with edit.applied(model), pytest.raises(EditMismatchError):
        edit_story(model, REQUEST, edit)


def test_the_other_way_round_is_told_of_a_model_alone_that_knew_it() -> None:
    """As `study limits` does: a model that never said the subject for the old object cannot stop to."""
    never = Question("reverse old", "A cheese of Paris is the", "Eiffel Tower")
    (found,) = (each for each in asked(never) if each.probe == "direction")
    assert not found.rows and found.answer.n == 0 and found.answer.name != NOT_ASKED
    (missing,) = found.missing
    assert "the unedited model does not say 'Eiffel Tower' after 'A cheese of Paris is the'" in missing.reason
    (found,) = (each for each in asked() if each.probe == "direction")
    assert found.answer.name == NOT_ASKED


@pytest.mark.parametrize(
    ("prompt", "name", "told"),
    [
        ("The Romeo house in Rome is the", "Rome", "The Romeo house in {o} is the"),
        ("the landmark of ROME is the", "Rome", "the landmark of {o} is the"),
        ("北京的地标是", "北京", "{o}的地标是"),
    ],
)
def test_the_slot_stands_where_the_object_is_a_word_of_its_own(prompt: str, name: str, told: str) -> None:
    assert probing._with_slot(prompt, name) == told  # pyright: ignore[reportPrivateUsage]
