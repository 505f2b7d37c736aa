"""With which BOS setting probes ask about edits, which given edits they refuse, and what they tell of them."""

import sys
from dataclasses import replace
from typing import Any

import pytest

from lens_rome.editing import Edit
from lens_rome.errors import EditError, EditMismatchError
from lens_rome.evaluation.case_rows import relative_norm
from lens_rome.facts import EditRequest
from lens_rome.studies.probes import (
    BleedCase,
    DirectionCase,
    Finding,
    HopsCase,
    PrefixSet,
    RelatedSubject,
    StrengthCase,
    bleed,
    concept,
    direction,
    hops,
    layers,
    prefixes,
    strength,
)
from lens_rome.studies.probes.making import bos_of, check_edits, made_by
from lens_rome.surface import as_surface
from tests.editing.support import DISABLING, NO_PROBE, quick_rome
from tests.helpers import Case, assert_untouched
from tests.studies.probes.support import TINY, identity, leak
from tests.studies.probes.test_layers import RECORDS

pytestmark = [pytest.mark.filterwarnings(NO_PROBE), pytest.mark.filterwarnings(DISABLING)]

EDITOR = quick_rome(prepend_bos=False, contexts=("", "He said. "))
"""On models whose own setting is a BOS token."""
RELATED = [RelatedSubject(name, EditRequest(name, "The {} is", "cat", "dog")) for name in ("Eiffel", "Louvre")]
DIRECTION, STRENGTH = DirectionCase("a", TINY, ("A {o} is the",)), StrengthCase("a", TINY, ("An Eiffel was",))
FEW: dict[str, Any] = {"samples": 1, "tokens": 2}


@pytest.fixture
def model(shared_model: Any) -> Any:
    """Nobody may change it."""
    return shared_model(Case("gpt2", "bridge"))


@pytest.fixture
def all_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions count although a random model does not know their answers."""
    for probe in ("hops", "bleed"):
        monkeypatch.setattr(sys.modules[f"lens_rome.studies.probes.{probe}"], "begins_with", lambda *_: True)


def asked(probe: str, model: Any, edits: Any, **settings: Any) -> Finding:
    """One of the probes that take edits, of one small case."""
    if probe == "direction":
        return direction(model, edits, [DIRECTION], known=False, **FEW, **settings)
    if probe == "strength":
        return strength(model, edits, [STRENGTH], **FEW, **settings)
    if probe == "hops":
        return hops(model, edits, [HopsCase("a", TINY, ("The tower is",))], **settings)
    if probe == "bleed":
        return bleed(model, edits, [BleedCase("a", TINY, ("An Eiffel.",), (("He is", "dog"),))], **settings)
    return concept(model, edits, RELATED, **settings)


PROBES = ("direction", "strength", "hops", "bleed", "concept")


def logprobs(rows: Any) -> set[float]:
    return {row["logprob"] for row in rows}


@pytest.mark.usefixtures("all_count")
def test_all_probes_ask_as_the_edit_was_made_where_nothing_else_is_said(model: Any) -> None:
    assert as_surface(model).prepends_bos()
    edit = EDITOR.edit(model, TINY, moments="identity")
    told = {name: asked(name, model, edit) for name in PROBES}
    told["layers"] = layers(model, EDITOR, RECORDS[:1], moments="identity", layers=(1,), tokens=("subject_last",))
    told["prefixes"] = prefixes(model, EDITOR, RECORDS[:1], sets=[PrefixSet("none", ("",))], moments="identity")
    assert {name: finding.settings["prepend_bos"] for name, finding in told.items()} == dict.fromkeys(told, False)
    for name, place in (("layers", "layer 1, subject_last"), ("prefixes", "none")):
        assert {*told[name].settings["changes"][place]} == {str(RECORDS[0].case_id)}
        assert told[name].settings["changes"][place]["4"] > 0
    for name in PROBES:
        without, with_it = (asked(name, model, edit, prepend_bos=bos).rows for bos in (False, True))
        assert logprobs(told[name].rows) == logprobs(without)
        assert not logprobs(with_it) & logprobs(without)


@pytest.mark.usefixtures("all_count")
@pytest.mark.parametrize("probe", PROBES)
def test_an_editor_is_asked_about_as_it_makes_its_edits_and_what_is_said_wins(model: Any, probe: str) -> None:
    told = asked(probe, model, EDITOR, moments="identity").settings
    assert told["prepend_bos"] is False and told["edits_prepend_bos"] is False
    assert told["editor_settings"]["prepend_bos"] is False and not told["edits_differ"]
    other = asked(probe, model, EDITOR, moments="identity", prepend_bos=True).settings
    assert other["prepend_bos"] is True and other["edits_prepend_bos"] is False
    assert all(0 < change < 10 for change in told["changes"].values())


def test_what_the_unedited_model_knows_is_asked_with_the_same_setting(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = []

    def greedy(_: Any, prompts: Any, *, prepend_bos: bool, **__: Any) -> dict[str, str]:
        settings.append(prepend_bos)
        return dict.fromkeys(prompts, "nothing")

    edit = EDITOR.edit(model, TINY, moments="identity")
    for probe in ("direction", "hops", "bleed"):
        monkeypatch.setattr(sys.modules[f"lens_rome.studies.probes.{probe}"], "greedy", greedy)
    direction(model, edit, [DIRECTION], **FEW)
    asked("hops", model, edit)
    asked("bleed", model, edit)
    assert settings == [False] * 3


def test_edits_that_were_made_otherwise_need_a_setting(model: Any) -> None:
    surface, edit = as_surface(model), identity(model)
    other, same = (replace(edit, provenance={"editor": "x", "prepend_bos": bos}) for bos in (False, True))
    cases = [replace(DIRECTION, name=name) for name in "ab"]
    with pytest.raises(EditError, match=r"some edits were made with a BOS token and some without\. Say"):
        direction(model, {"a": other, "b": same}, cases, **FEW)
    told = direction(model, {"a": other, "b": other, "c": same}, cases, known=False, **FEW).settings
    assert told["prepend_bos"] is False, "an edit of no case does not count"
    told = direction(model, {"a": other, "b": same}, cases, known=False, prepend_bos=True, **FEW).settings
    assert (told["prepend_bos"], told["edits_prepend_bos"]) == (True, [False, True])
    with pytest.raises(EditError, match="some edits were made with a BOS token"):
        concept(model, {"Eiffel": other, "Louvre": same}, RELATED)
    assert bos_of(surface, edit, None) is True, "an edit that does not tell"
    with pytest.raises(EditError, match="some edits were made with a BOS token"):
        bos_of(surface, other + same, None)
    assert bos_of(surface, other + other, None) is False


def test_a_mapping_holds_edits(model: Any) -> None:
    surface = as_surface(model)
    for wrong, what in ((EDITOR, "a ROME"), (type(EDITOR), "the class ROME"), (None, "a NoneType")):
        with pytest.raises(EditError, match=f"the edit of case 'b' is {what}. Give an Edit for each name"):
            check_edits(surface, {"a": identity(model), "b": wrong}, ["a", "b"])
    check_edits(surface, {"a": identity(model), "b": None}, ["a"])


class Silent:
    """Stands in the place of what a model says."""

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("something was asked")


@pytest.mark.parametrize("probe", PROBES)
def test_edits_that_cannot_be_are_told_before_anything_is_asked(
    model: Any, monkeypatch: pytest.MonkeyPatch, probe: str
) -> None:
    made = leak(model, "cat")
    with made.applied(model):
        other = leak(model, "dog")
    monkeypatch.setattr(type(as_surface(model)), "run", Silent())
    for grow in ("grow", "new_cache"):
        monkeypatch.setattr(type(as_surface(model)), grow, Silent())
    names = {"a", *(case.name for case in RELATED)}
    with pytest.raises(EditError, match="cases have no edit, the first is"):
        asked(probe, model, {"z": made})
    with assert_untouched(model), pytest.raises(EditMismatchError, match=r"case '\w+': the b_out of layer 3 is not"):
        asked(probe, model, dict.fromkeys(names, other))
    with assert_untouched(model), pytest.raises(EditMismatchError, match="the b_out of layer 3 is not"):
        asked(probe, model, other)


def test_what_is_told_of_edits_says_where_they_differ_and_how_large_they_are(model: Any) -> None:
    one, two = (EDITOR.edit(model, TINY, moments="identity"), leak(model, "cat"))
    told = made_by({"a": one, "b": one, "c": two})
    assert told["editor"] == "ROME" and told["editor_settings"] == one.provenance["settings"]
    assert told["edits_differ"] and not made_by({"a": one, "b": one})["edits_differ"]
    assert told["changes"] == {"a": relative_norm(one), "b": relative_norm(one), "c": relative_norm(two)}
    weight, change = as_surface(model).weight(EDITOR.layer), one.deltas[EDITOR.layer, "W_out"].dense()
    assert told["changes"]["a"] == pytest.approx(float(change.norm() / weight.detach().norm()))
    assert made_by({}) == {
        "editor": None, "editor_settings": None, "edits_differ": False, "edits_prepend_bos": None, "changes": {}
    }  # fmt: skip
    twice: Edit = one.scaled(2)
    assert made_by({"a": twice})["changes"]["a"] == pytest.approx(2 * told["changes"]["a"])
