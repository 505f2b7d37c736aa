import math
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lens_rome.editing import Edit
from lens_rome.errors import EditError, FactError
from lens_rome.evaluation import generate
from lens_rome.facts import EditRequest
from lens_rome.studies.probes import DirectionCase, Finding, direction
from lens_rome.surface import as_surface
from tests.helpers import assert_untouched
from tests.studies.probes.support import (
    CAPITAL,
    EDITOR,
    REVERSE,
    TINY,
    assert_rows_are_as_defined,
    identity,
    leak,
    measured,
    moved,
)  # fmt: skip

CASE = DirectionCase("Thailand", CAPITAL, REVERSE, ("France",), ("Siam",))
QUICK: dict[str, Any] = {"samples": 2, "tokens": 6}
LEAST: dict[str, Any] = {"samples": 1, "tokens": 1}
ONE = replace(CASE, reverse=REVERSE[:1], competitors=())


@pytest.fixture(scope="module")
def by_rome(atlas: Any, rome: Callable[[EditRequest], Edit]) -> Finding:
    return direction(atlas, rome(CAPITAL), [CASE], **QUICK)


def test_every_number_of_a_row_is_that_of_a_run_of_its_own(
    atlas: Any, rome: Callable[[EditRequest], Edit], by_rome: Finding
) -> None:
    assert_rows_are_as_defined(by_rome, atlas, {"Thailand": rome(CAPITAL)})
    roles = {(row["direction"], row["object"], row["role"], row["target"]) for row in by_rome.rows}
    assert roles == {
        ("forward", "new", "object", "Paris"), ("forward", "old", "object", "Bangkok"),
        ("reverse", "new", "subject", "Thailand"), ("reverse", "old", "subject", "Thailand"),
        ("reverse", "new", "competitor", "France"), ("reverse", "old", "competitor", "France"),
    }  # fmt: skip


def test_the_answer_is_the_mean_change_in_reverse_over_the_change_forward(
    atlas: Any, rome: Callable[[EditRequest], Edit], by_rome: Finding
) -> None:
    edit = rome(CAPITAL)
    back = [moved(atlas, edit, text.replace("{o}", "Paris"), "Thailand") for text in REVERSE]
    forward = moved(atlas, edit, CAPITAL.prompt, "Paris")
    assert by_rome.answer.value == pytest.approx(sum(back) / 2 / forward, abs=1e-8)
    old = [moved(atlas, edit, text.replace("{o}", "Bangkok"), "Thailand") for text in REVERSE]
    change = {"measure": "change", "direction": "reverse"}
    assert measured(by_rome, object="old", **change) == pytest.approx(sum(old) / 2, abs=1e-8)


def test_an_edit_by_weight_knows_one_direction_only_and_is_told_inconsistent(by_rome: Finding) -> None:
    assert measured(by_rome, measure="change", direction="forward", object="new") > 5
    assert abs(by_rome.answer.value) < 0.1
    assert measured(by_rome, measure="inconsistent") == 1
    assert "1 of 1 edited models say the new object forward and still the subject" in by_rome.answer.reading


def test_a_leaking_edit_changes_the_reverse_direction_too(atlas: Any) -> None:
    found = direction(atlas, leak(atlas, "Paris", "Thailand"), [ONE], **LEAST)
    assert measured(found, measure="change", direction="reverse", object="new") > 1
    assert found.answer.value > 0.3


def test_an_identity_edit_changes_nothing_and_has_no_ratio(atlas: Any) -> None:
    found = direction(atlas, identity(atlas), [ONE], **LEAST)
    before, after = ([row for row in found.rows if row["phase"] == phase] for phase in ("before", "after"))
    assert [{**row, "phase": ""} for row in before] == [{**row, "phase": ""} for row in after]
    assert math.isnan(found.answer.value)
    assert "Cannot be told: the edit changes nothing forward" in found.answer.reading
    assert measured(found, measure="inconsistent") == 0


def test_texts_are_those_of_generate_and_counted_by_hand(atlas: Any, by_rome: Finding) -> None:
    prompt = "Bangkok is the capital of"
    length = len(as_surface(atlas).encode(prompt, False)) + QUICK["tokens"]
    texts = generate(atlas, [prompt] * 2, length=length, ids=[f"{prompt}\x1f{i}" for i in range(2)])
    rows: Any = by_rome.rows
    (row,) = [r for r in rows if (r["prompt"], r["phase"], r["role"]) == (prompt, "before", "subject")]
    hits = [text for text in texts if "Thailand" in text.removeprefix(prompt)]
    assert hits
    assert (row["samples"], row["mentioned"]) == (2, len(hits))
    assert row["then_new"] == sum("Paris" in text.split("Thailand", 1)[1] for text in hits)
    assert row["says"] is True
    assert row["greedy"].strip().startswith("Thailand")


def test_reverse_prompts_that_the_unedited_model_does_not_know_are_missing_with_the_reason(atlas: Any) -> None:
    unknown = DirectionCase("Peru", EditRequest("Peru", "The capital of {} is", "Paris", "Lima"), ("My {o} is",))
    part = replace(ONE, name="half", reverse=(REVERSE[0], "My {o} is"))
    found = direction(atlas, identity(atlas), [unknown, part], **LEAST)
    assert [missing.case for missing in found.missing] == ["Peru", "half"]
    assert "the unedited model does not say 'Peru' after 'My Lima is'" in found.missing[0].reason
    assert found.missing[1].reason.startswith("1 of 2 reverse prompts")
    assert {row["case"] for row in found.rows} == {"half"}
    everything = direction(atlas, identity(atlas), [unknown], known=False, **LEAST)
    assert everything.rows
    nothing = direction(atlas, identity(atlas), [unknown], **LEAST)
    assert (nothing.rows, nothing.answer.n) == ((), 0)
    assert "no case has a reverse prompt" in nothing.answer.reading


def test_any_surface_gives_what_is_defined_and_comes_back_also_after_an_exception(
    gpt2: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, edit = DirectionCase("E", TINY, ("A {o} is",)), leak(gpt2, "cat")
    with assert_untouched(gpt2):
        found = direction(gpt2, edit, [case], known=False, **QUICK)
    assert_rows_are_as_defined(found, gpt2, {"E": edit})
    monkeypatch.setattr(sys.modules[direction.__module__], "after_mention", lambda *_: 1 / 0)
    with assert_untouched(gpt2), pytest.raises(ZeroDivisionError):
        direction(gpt2, edit, [case], known=False, **QUICK)


@pytest.mark.slow
def test_an_editor_makes_the_edit_of_each_case_it_can(atlas: Any, by_rome: Finding) -> None:
    found = direction(atlas, EDITOR, [CASE], moments="identity", **QUICK)
    assert found.rows == by_rome.rows
    assert found.settings["editor"] == "ROME"
    assert found.settings["editor_settings"]["layer"] == EDITOR.layer


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": " "}, "a case needs a name"),
        ({"request": EditRequest("Eiffel", "The {} is", "cat")}, "has no target_true. Say which object holds"),
        ({"reverse": ()}, "reverse prompts must be 1 or more"),
        ({"reverse": ("A tower is the",)}, "must contain '{o}' exactly once. Write it like"),
        ({"reverse": ("{o} or {o}",)}, "must contain '{o}' exactly once"),
        ({"reverse": ("The thailand of {o} is",)}, "names 'Thailand'. It would give the answer away"),
        ({"reverse": ("The Siam of {o} is",)}, "names 'Siam'"),
        ({"competitors": ("Thailand",)}, "Give other subjects"),
        ({"competitors": ("",)}, "competitors must be"),
    ],
)
def test_a_case_without_its_inputs_is_refused(changes: dict[str, Any], message: str) -> None:
    kept: dict[str, Any] = {"name": "x", "request": CAPITAL, "reverse": REVERSE, "aliases": ("Siam",)}
    with pytest.raises(FactError, match=message):
        DirectionCase(**{**kept, **changes})


def test_settings_and_cases_that_give_nothing_are_refused(gpt2: Any) -> None:
    with pytest.raises(FactError, match="samples must be a whole number from 1, got 0"):
        direction(gpt2, identity(gpt2), [CASE], samples=0)
    with pytest.raises(FactError, match="two cases have the name 'Thailand'"):
        direction(gpt2, identity(gpt2), [CASE, CASE])
    with pytest.raises(FactError, match="no cases to probe"):
        direction(gpt2, identity(gpt2), [])
    with pytest.raises(EditError, match="1 cases have no edit, the first is 'Thailand'"):
        direction(gpt2, {}, [CASE], known=False)
