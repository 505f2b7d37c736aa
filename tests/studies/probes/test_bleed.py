import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest

from lens_rome.editing import Edit
from lens_rome.errors import FactError
from lens_rome.facts import EditRequest
from lens_rome.studies.probes import BleedCase, Finding, bleed
from lens_rome.studies.probes.bleed import _summary
from lens_rome.surface import as_surface
from tests.helpers import assert_untouched
from tests.oracles import probes as oracle
from tests.studies.probes.support import (
    BECKHAM,
    assert_rows_are_as_defined,
    identity,
    late_leak,
    leak,
    measured,
    moved,
)  # fmt: skip

QUESTIONS = (
    ("Pete Sampras is famous for the sport of", "tennis"),
    ("Ethiopia is located on the continent of", "Africa"),
)
DISTRACTORS = ("David Beckham is cool.", "Many people like David Beckham.")
CASE = BleedCase("Beckham", BECKHAM, DISTRACTORS, QUESTIONS)


@pytest.fixture(scope="module")
def by_rome(atlas: Any, rome: Callable[[EditRequest], Edit]) -> Finding:
    return bleed(atlas, rome(BECKHAM), [CASE])


def test_every_number_is_that_of_a_run_of_its_own_and_bleed_the_difference_of_two_changes(
    atlas: Any, rome: Callable[[EditRequest], Edit], by_rome: Finding
) -> None:
    edit = rome(BECKHAM)
    assert_rows_are_as_defined(by_rome, atlas, {"Beckham": edit})
    assert not by_rome.missing
    expected = [
        moved(atlas, edit, f"{distractor} {question}", "basketball") - moved(atlas, edit, question, "basketball")
        for question, _ in QUESTIONS
        for distractor in DISTRACTORS
    ]
    assert by_rome.answer.value == pytest.approx(sum(expected) / 4, abs=1e-8)
    assert measured(by_rome, measure="bleed of prompts", role="new") == pytest.approx(sum(expected) / 4, abs=1e-8)
    assert {"case", "prompt", "phase", "target"} <= set(by_rome.to_dataframe().columns)


def test_an_edit_that_leaks_only_behind_other_text_bleeds_and_is_the_most_likely_word(atlas: Any) -> None:
    surface = as_surface(atlas)
    longest = max(len(surface.encode(question)) for question, _ in QUESTIONS)
    shortest = min(len(surface.encode(f"{text} {question}")) for question, _ in QUESTIONS for text in DISTRACTORS)
    assert longest < shortest
    found = bleed(atlas, late_leak(atlas, longest, "basketball"), [CASE])
    assert measured(found, measure="change", role="new", distractor="without") == 0
    assert found.answer.value > 1
    assert measured(found, measure="bleed", role="new") == found.answer.value


def test_an_edit_that_leaks_everywhere_changes_both_and_tells_the_most_likely_word(atlas: Any) -> None:
    found = bleed(atlas, leak(atlas, "basketball", size=20.0), [CASE])
    shares = {
        (place, phase): measured(found, measure="most likely", role="new", distractor=place, phase=phase)
        for place in ("with", "without")
        for phase in ("before", "after")
    }
    assert shares == {("with", "before"): 0, ("with", "after"): 1, ("without", "before"): 0, ("without", "after"): 1}
    assert measured(found, measure="change", role="new", distractor="without") > 1
    assert "most likely word after 0 of 4 such prompts before the edit and 4 of 4 after it" in found.answer.reading


def test_numbers_of_prompts_have_intervals_over_cases() -> None:
    moved = {"a": [1.0, 2.0, 0.5], "b": [0.1], "c": [3.0, 2.5], "d": [0.0, 0.3], "e": [1.5]}
    rows = [
        {"case": case, "question": f"q{index}", "distractor": place, "prompt": f"{place} q{index}", "phase": phase}
        | {"role": role, "logprob": value * (place == "with") * (phase == "after"), "rank": 1 + (value < 1)}
        for case, values in moved.items()
        for index, value in enumerate(values)
        for place, phase, role in itertools.product(("with", "without"), ("before", "after"), ("new", "known"))
    ]
    lines: Any = [line for line in _summary(rows, 3) if line["role"] == "new"]
    every, of_cases = zip(*((value, case) for case, values in moved.items() for value in values), strict=True)
    for measure, values in (("bleed of prompts", list(every)), ("most likely", [float(v >= 1) for v in every])):
        line = next(x for x in lines if x["measure"] == measure)
        ends = oracle.bootstrap_by_loop(values, of_cases, fmean, 3)
        assert (line["mean"], line["low"], line["high"]) == pytest.approx((fmean(values), *ends))
        assert line["n"] == 9


def test_an_identity_edit_does_not_bleed(atlas: Any) -> None:
    found = bleed(atlas, identity(atlas), [CASE])
    assert found.answer.value == 0
    assert all(line["mean"] == 0 for line in found.summary if line["measure"] in ("change", "bleed"))


def test_questions_that_the_unedited_model_does_not_answer_are_missing(atlas: Any) -> None:
    wrong = ("Pete Sampras is famous for the sport of", "chess")
    part = replace(CASE, questions=(*QUESTIONS, wrong))
    found = bleed(atlas, identity(atlas), [part])
    assert [each.case for each in found.missing] == ["Beckham"]
    assert (
        "does not say 'chess' after 'Pete Sampras is famous for the sport of', but 'tennis" in found.missing[0].reason
    )
    nothing = bleed(atlas, identity(atlas), [replace(CASE, questions=(wrong,))])
    assert (nothing.rows, nothing.answer.n) == ((), 0)
    assert math.isnan(nothing.answer.value)
    assert "answers none of the questions right" in nothing.answer.reading


def test_a_bridge_gives_the_same_and_comes_back_untouched(atlas: Any, atlas_bridge: Any) -> None:
    with assert_untouched(atlas_bridge):
        found = bleed(atlas_bridge, leak(atlas_bridge, "basketball"), [CASE])
    assert_rows_are_as_defined(found, atlas, {CASE.name: leak(atlas, "basketball")})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distractors": ()}, "distractors must be 1 or more"),
        ({"distractors": ("He is cool.",)}, "lacks the subject 'David Beckham'. Write it in"),
        ({"distractors": ("David Beckham likes Basketball.",)}, "The new object must come from the edit"),
        ({"questions": ()}, "questions must be 1 or more"),
        ({"questions": (("A question is", " "),)}, "answers must be 1 or more"),
        ({"questions": (("David Beckham is from", "Europe"),)}, "Ask about another subject"),
        ({"questions": (("LeBron James plays", "basketball"),)}, "is the new object. Ask something else"),
    ],
)
def test_a_case_without_its_inputs_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FactError, match=message):
        replace(CASE, **changes)
