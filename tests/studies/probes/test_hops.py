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
from lens_rome.studies.probes import Finding, HopsCase, hops
from lens_rome.studies.probes.hops import _summary
from lens_rome.studies.probes.intervals import wilson
from tests.helpers import assert_untouched
from tests.oracles import probes as oracle
from tests.studies.probes.support import (
    DESCRIBED,
    KOCH,
    NAMING,
    assert_rows_are_as_defined,
    identity,
    leak,
    measured,
    moved,
)  # fmt: skip

CASE = HopsCase("Koch", KOCH, DESCRIBED, NAMING)


@pytest.fixture(scope="module")
def by_rome(atlas: Any, rome: Callable[[EditRequest], Edit]) -> Finding:
    return hops(atlas, rome(KOCH), [CASE])


def test_every_number_is_that_of_a_run_of_its_own_and_the_answer_their_ratio(
    atlas: Any, rome: Callable[[EditRequest], Edit], by_rome: Finding
) -> None:
    edit = rome(KOCH)
    assert_rows_are_as_defined(by_rome, atlas, {"Koch": edit})
    gained = {
        prompt: moved(atlas, edit, prompt, "sports") - moved(atlas, edit, prompt, "medicine")
        for prompt in (KOCH.prompt, *DESCRIBED)
    }
    assert by_rome.answer.value == pytest.approx(gained[DESCRIBED[0]] / gained[KOCH.prompt], abs=1e-8)
    assert measured(by_rome, measure="change", way="direct") == pytest.approx(gained[KOCH.prompt], abs=1e-8)


def test_an_edit_of_a_name_hardly_reaches_its_description(by_rome: Finding) -> None:
    assert by_rome.answer.value < 0.3
    assert measured(by_rome, measure="flipped", way="direct", phase="before") == 0
    assert measured(by_rome, measure="flipped", way="direct", phase="after") == 1
    assert measured(by_rome, measure="says new", way="direct", phase="after") == 1
    assert "likelier after 1 of 1 direct and" in by_rome.answer.reading


def test_an_edit_that_leaks_everywhere_reaches_it(atlas: Any) -> None:
    found = hops(atlas, leak(atlas, "sports"), [CASE])
    assert found.answer.value > 0.5


def test_shares_of_prompts_have_intervals_over_cases() -> None:
    flips = {"a": "110", "b": "0", "c": "111", "d": "10", "e": "011"}
    rows = [
        {"case": case, "way": way, "phase": phase, "role": role, "flipped": flag == "1", "rank": 2 - (flag == "1")}
        | {"logprob": 0.0}
        for case, flags in flips.items()
        for way, own in (("description", flags), ("direct", flags[:1]))
        for flag, phase, role in itertools.product(own, ("before", "after"), ("new", "old"))
    ]
    lines: Any = list(_summary(rows, 3))
    every, of_cases = zip(*((flag == "1", case) for case, flags in flips.items() for flag in flags), strict=True)
    ends = oracle.bootstrap_by_loop(list(every), of_cases, fmean, 3)
    for measure in ("flipped", "says new"):
        for way, expected, n in (("description", (8 / 12, *ends), 12), ("direct", wilson(3, 5), 5)):
            (line,) = [x for x in lines if (x["measure"], x["way"], x["phase"]) == (measure, way, "after")]
            assert (line["mean"], line["low"], line["high"]) == pytest.approx(expected) and line["n"] == n


def test_an_identity_edit_changes_nothing_and_has_no_ratio(atlas: Any) -> None:
    found = hops(atlas, identity(atlas), [CASE])
    assert measured(found, measure="change", way="direct") == 0
    assert measured(found, measure="change", way="description") == 0
    assert math.isnan(found.answer.value)
    assert "Cannot be told: the edit changes nothing where it names its subject" in found.answer.reading


def test_descriptions_that_do_not_resolve_are_missing_with_what_the_model_says(atlas: Any) -> None:
    wrong = replace(CASE, name="wrong", naming=("The name of the founder of Microsoft is",))
    found = hops(atlas, identity(atlas), [CASE, wrong])
    assert [each.case for each in found.missing] == ["wrong"]
    assert "does not say 'Robert Koch' after 'The name of the founder of Microsoft is', but" in found.missing[0].reason
    assert {row["case"] for row in found.rows} == {"Koch"}
    nothing = hops(atlas, identity(atlas), [wrong])
    assert nothing.answer.n == 0
    assert "no description leads the unedited model to its subject" in nothing.answer.reading


def test_without_naming_prompts_the_unedited_model_must_answer_with_the_old_object(atlas: Any) -> None:
    request = EditRequest("Ginger Baker", "{} was born in the city of", "Paris", "London")
    answered = "The birth certificate of the co-founder of Cream with red hair was issued in the city of"
    case = HopsCase("Baker", request, (answered, "The founder of Apple sings in"))
    found = hops(atlas, identity(atlas), [case])
    assert {row["prompt"] for row in found.rows} == {request.prompt, answered}
    assert found.missing[0].reason.startswith("1 of 2 described prompts: the unedited model does not say 'London'")


def test_a_bridge_gives_the_same_and_comes_back_untouched(atlas: Any, atlas_bridge: Any) -> None:
    with assert_untouched(atlas_bridge):
        found = hops(atlas_bridge, leak(atlas_bridge, "sports"), [CASE])
    assert_rows_are_as_defined(found, atlas, {CASE.name: leak(atlas, "sports")})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"described": ()}, "described prompts must be 1 or more"),
        ({"described": ("The work of robert koch is",)}, "names 'Robert Koch'. Describe the subject without it"),
        ({"naming": ("Koch is called",), "aliases": ("Koch",)}, "the naming prompt 'Koch is called' names 'Koch'"),
    ],
)
def test_a_case_without_its_inputs_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FactError, match=message):
        replace(CASE, **changes)
