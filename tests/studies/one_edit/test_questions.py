"""What is asked about one edit."""

from dataclasses import replace

import pytest

from lens_rome.atlas import World
from lens_rome.atlas.world import UnknownFactError
from lens_rome.errors import FactError
from lens_rome.facts import EditRequest, EvalRecord
from lens_rome.studies.one_edit import GROUPS, Question, record_questions, world_questions

WORLD = World()
FACT = WORLD.fact("Eiffel Tower", "landmarks.city")


def by_group(questions: tuple[Question, ...]) -> dict[str, list[Question]]:
    found: dict[str, list[Question]] = {}
    for each in questions:
        found.setdefault(each.group, []).append(each)
    return found


def test_the_world_asks_what_it_knows_in_every_group() -> None:
    found = by_group(world_questions(WORLD, FACT.rewrite("Rome")))
    assert set(found) == set(GROUPS) - {"rewrite", "description"}  # the tower has no description
    held_out = [template.replace("{}", "Eiffel Tower") for template in WORLD.phrasings(FACT, trained=False)]
    assert [each.prompt for each in found["paraphrase"]] == held_out
    for group, answer in (("neighbor", "Paris"), ("attribute", "Rome")):
        assert {(each.new, each.old) for each in found[group]} == {("Rome", "Paris")}
        names = [name for name in WORLD.subjects_with(FACT.relation, answer) if name != FACT.subject]
        assert all(any(name in each.prompt for name in names) for each in found[group])
    assert [(each.prompt, each.old) for each in found["own fact"]] == [
        ("The Eiffel Tower is located in the country of", "France"),
        ("The Eiffel Tower is located on the continent of", "Europe"),
    ]
    assert [each.prompt for each in found["reverse old"]] == list(WORLD.reversed_prompts(FACT))
    assert [each.prompt.replace("Rome", "Paris") for each in found["reverse new"]] == list(WORLD.reversed_prompts(FACT))
    told = {WORLD.fact(name, FACT.relation).prompt: answer for name, answer in _cities().items()}
    assert found["related"] and all(told[each.prompt] == each.old not in ("Rome", "Paris") for each in found["related"])


def _cities() -> dict[str, str]:
    return {fact.subject: fact.target for fact in WORLD.facts if fact.relation == FACT.relation}


def test_descriptions_are_asked_where_the_world_has_one() -> None:
    fact = next(fact for fact in WORLD.facts if WORLD.described(fact))
    found = by_group(world_questions(WORLD, fact.rewrite(WORLD.other_answer(fact))))
    assert [each.prompt for each in found["description"]] == list(WORLD.described(fact))


def test_the_world_knows_no_other_facts() -> None:
    with pytest.raises(UnknownFactError, match="it has landmarks"):
        world_questions(WORLD, EditRequest("Eiffel Tower", "{} weighs", "1 t", "7 t", "landmarks.weight"))


def test_a_record_asks_its_prompts() -> None:
    record = EvalRecord(3, FACT.rewrite("Rome"), ("p1", "p2"), ("n1", "n2", "n3"), ("a1",))
    found = by_group(record_questions(record))
    assert [each.prompt for each in found["paraphrase"]] == list(record.paraphrase_prompts)
    assert [each.prompt for each in found["neighbor"]] == list(record.neighborhood_prompts)
    assert [each.prompt for each in found["attribute"]] == list(record.attribute_prompts)
    answered = replace(record, neighborhood_answers=("Rouen", "Lyon", "Nice"))
    assert [each.old for each in by_group(record_questions(answered))["neighbor"]] == ["Rouen", "Lyon", "Nice"]
    with pytest.raises(FactError, match="Give one answer a prompt, or none"):
        record_questions(replace(record, neighborhood_answers=("Rouen",)))
    assert record_questions(EvalRecord(1, record.request)) == ()


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        (("gossip", "p", "a", "b"), "no group of prompts 'gossip'; there are rewrite, paraphrase"),
        (("neighbor", " ", "a", "b"), "Leave it out, or give its text"),
        (("neighbor", "p", "a"), "needs both objects"),
        (("reverse new", "p", "a", "b"), "needs the subject as `new` and no `old`"),
        (("own fact", "p", "a", "a"), "both objects are 'a'. Leave the prompt out"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(fields: tuple[str, ...], advice: str) -> None:
    with pytest.raises(FactError, match=advice):
        Question(*fields)
