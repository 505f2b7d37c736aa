"""Cases made from the atlas's world, and those of the post."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from lens_rome.atlas import World
from lens_rome.errors import FactError
from lens_rome.studies.probes import post
from lens_rome.studies.probes.from_world import bleed_cases, direction_cases, hops_cases, strength_cases
from lens_rome.studies.probes.intervals import FEWEST
from lens_rome.studies.probes.texts import mentions

MAKERS = (direction_cases, strength_cases, hops_cases, bleed_cases)


@pytest.mark.parametrize("make", MAKERS)
def test_cases_are_the_same_for_the_same_seed_and_named_apart(make: Callable[..., Any], world: World) -> None:
    cases = make(world, n=3, seed=1)
    assert cases == make(World(), n=3, seed=1)
    assert cases != make(world, n=3, seed=2)
    assert len({case.name for case in cases}) == len(cases)
    for case in cases:
        request = case.request
        assert request.target_true == world.answer(request.subject, request.relation)
        assert request.target_new != request.target_true
        assert request.template == world.fact(request.subject, request.relation).template


@pytest.mark.parametrize("make", MAKERS)
def test_no_cases_or_more_than_there_are_are_refused(make: Callable[..., Any], world: World) -> None:
    with pytest.raises(FactError, match="n must be a whole number from 1, got 0"):
        make(world, n=0)
    with pytest.raises(FactError, match="such facts, 100000 were asked for"):
        make(world, n=100_000)


def test_reverse_questions_have_one_right_answer_and_were_trained(world: World) -> None:
    for case in direction_cases(world, n=20):
        request = case.request
        assert world.subjects_with(request.relation, request.target_true) == (request.subject,)
        assert request.subject in {fact.subject for fact in world.reversed_facts if fact.relation == request.relation}
        assert case.asked(case.reverse[0], "old") in world.reversed_prompts(
            world.fact(request.subject, request.relation)
        )


def test_a_subject_gets_several_new_objects(world: World) -> None:
    cases = strength_cases(world, n=2, objects=3)
    assert len(cases) == 6
    assert len({case.request.subject for case in cases}) == 2
    assert len({case.request.target_new for case in cases[:3]}) == 3
    defaults = strength_cases(world)
    objects = Counter(case.request.subject for case in defaults)
    assert len(objects) >= FEWEST and max(objects.values()) > 1, "enough for an interval, several objects of some"
    assert len({case.request.subject for case in strength_cases(world, n=25, objects=1)}) == 25, "not one subject twice"
    with pytest.raises(FactError, match="objects must be 1 or more"):
        strength_cases(world, objects=0)


def test_descriptions_do_not_give_the_new_object_away(world: World) -> None:
    for case in hops_cases(world, n=10):
        assert not any(mentions(text, [case.request.target_new]) for text in case.described)
        assert case.described == world.described(world.fact(case.request.subject, case.request.relation))


def test_questions_of_bleed_are_about_others_with_other_answers(world: World) -> None:
    for case in bleed_cases(world, n=5):
        assert len(case.questions) == 4
        for prompt, answer in case.questions:
            assert answer not in (case.request.target_new, case.request.target_true)
            assert not mentions(prompt, [case.request.subject])


def test_the_posts_examples_are_whole() -> None:
    assert {case.request.subject for case in post.DIRECTION} == {"Eiffel Tower", "Louvre"}
    assert len({case.request.target_new for case in post.STRENGTH}) == len(post.STRENGTH) == 5
    assert {case.request.subject for case in post.HOPS} == {"Danielle Darrieux", "Jeff Bezos"}
    assert all(len(case.described) == len(case.naming) == 1 for case in post.HOPS), "one description, one check of it"
    assert "Barack Obama was born in" in [prompt for prompt, _ in post.BLEED[0].questions]
