"""What the bundled world can ask about an edit of one of its facts."""

import random
from collections.abc import Sequence
from typing import TypeVar

from lens_rome.atlas import World
from lens_rome.facts import EditRequest, Fact, fill_template
from lens_rome.studies.one_edit.questions import Question

MOST = 8
"""Prompts of a group, at most."""

Item = TypeVar("Item")


def world_questions(world: World, request: EditRequest) -> tuple[Question, ...]:
    """Prompts of every group that the world has some of; in the reverse ones the subject is asked for.

    Paraphrases are wordings that never were in the training text for this subject. Related subjects are of the same
    kind (`Subject.kind`), or else type, and have neither of both objects.

    Raises:
        UnknownFactError: the request is not about a fact of the world (`relation` must name it).
    """
    new, old, template = request.target_new, request.target_true, request.template
    fact = world.fact(request.subject, request.relation)
    told = [each for each in world.phrasings(fact, trained=False) if each != template]
    own = [each for each in world.facts if each.subject == request.subject and each.relation != request.relation]
    return (
        *(Question("paraphrase", fill_template(each, request.subject), new, old) for each in told),
        *(Question("neighbor", each.prompt, new, old) for each in _with_object(world, fact, old)),
        *(Question("own fact", each.prompt, new, each.target) for each in own if each.target != new),
        *(Question("attribute", each.prompt, new, old) for each in _with_object(world, fact, new)),
        *(Question("description", prompt, new, old) for prompt in world.described(fact)),
        *(Question("reverse new", prompt, request.subject) for prompt in _reversed(world, fact, new)),
        *(Question("reverse old", prompt, request.subject) for prompt in _reversed(world, fact, old)),
        *(Question("related", each.prompt, new, each.target) for each in _related(world, fact, new)),
    )


def _with_object(world: World, fact: Fact, answer: str) -> list[Fact]:
    """Facts of other subjects with this object."""
    others = [name for name in world.subjects_with(fact.relation, answer) if name != fact.subject]
    return [world.fact(name, fact.relation) for name in _some(others, fact)]


def _reversed(world: World, fact: Fact, answer: str) -> list[str]:
    """Prompts that name an object and ask for the subject."""
    article = world.subjects[fact.subject].article
    told = world.relations[fact.relation].reverse
    return [each.replace("[object]", answer) + (f" {article}" if article else "") for each in told]


def _related(world: World, fact: Fact, new: str) -> list[Fact]:
    kind = world.subjects[fact.subject].kind
    others = [
        each
        for each in world.facts
        if each.relation == fact.relation and each.subject != fact.subject and each.target not in (fact.target, new)
    ]
    alike = [each for each in others if world.subjects[each.subject].kind == kind]
    return _some(alike or others, fact)


def _some(items: Sequence[Item], fact: Fact) -> list[Item]:
    """At most `MOST` of the items, always the same ones for a fact, in their order."""
    if len(items) <= MOST:
        return list(items)
    drawn = random.Random(f"{fact.subject}\x1f{fact.relation}").sample(range(len(items)), MOST)
    return [items[place] for place in sorted(drawn)]
