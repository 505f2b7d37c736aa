"""Cases of the probes made from the atlas's world. The same cases for the same seed, on every machine."""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from lens_rome.atlas import World
from lens_rome.errors import FactError
from lens_rome.facts import EditRequest, Fact
from lens_rome.studies.probes.bleed import BleedCase
from lens_rome.studies.probes.direction import SLOT, DirectionCase
from lens_rome.studies.probes.hops import HopsCase
from lens_rome.studies.probes.strength import StrengthCase
from lens_rome.studies.probes.texts import mentions

Case = TypeVar("Case", DirectionCase, StrengthCase, HopsCase, BleedCase)
_COMPETITORS = 3
_QUESTIONS = 4


def direction_cases(world: World, *, n: int = 20, seed: int = 0) -> tuple[DirectionCase, ...]:
    """Facts whose reversed statement was trained and whose object has this one subject only, so that the reverse
    question has one right answer. Competitors are subjects of the new object.

    The model has learned about a third of them so that it says the subject; `direction` tells which.

    Raises:
        FactError: n below 1, or more than the world has.
    """
    facts = [f for f in world.reversed_facts if len(world.subjects_with(f.relation, f.target)) == 1]
    return _cases(facts, n, seed, lambda fact: _direction_case(world, fact))


def strength_cases(world: World, *, n: int = 6, objects: int = 2, seed: int = 0) -> tuple[StrengthCase, ...]:
    """`n` different subjects with `objects` different new objects each; the prompts are those of the world's texts
    about them. The answer of fewer than five subjects has no interval.

    Raises:
        FactError: n or objects below 1, or more than the world has.
    """
    if objects < 1:
        raise FactError(f"objects must be 1 or more, got {objects}.")

    seen: set[str] = set()

    def several(fact: Fact) -> tuple[StrengthCase, ...]:
        cases = () if fact.subject in seen else _strength_cases(world, fact, objects)
        seen.update(case.request.subject for case in cases)
        return cases

    told = _told_relations(world)
    facts = [fact for fact in world.facts if fact.relation in told]
    return tuple(case for cases in _several(facts, n, seed, several) for case in cases)


def hops_cases(world: World, *, n: int = 20, seed: int = 0) -> tuple[HopsCase, ...]:
    """Facts whose subject has a description that does not name the object, trained to lead to the subject.

    Of two thirds of them the fact itself was also trained with the description, so what they show of a second hop is
    what such a model can do of it.

    Raises:
        FactError: n below 1, or more than the world has.
    """
    return _cases([fact for fact in world.facts if world.described(fact)], n, seed, lambda f: _hops_case(world, f))


def bleed_cases(world: World, *, n: int = 10, seed: int = 0) -> tuple[BleedCase, ...]:
    """Facts with four questions each: two of the same relation about others, two of other relations.

    Raises:
        FactError: n below 1, or more than the world has.
    """
    generator = random.Random(f"bleed questions {seed}")
    return _cases(list(world.facts), n, seed, lambda fact: _bleed_case(world, fact, generator))


def _cases(facts: Sequence[Fact], n: int, seed: int, make: Callable[[Fact], Case | None]) -> tuple[Case, ...]:
    def one(fact: Fact) -> tuple[Case, ...]:
        case = make(fact)
        return () if case is None else (case,)

    return tuple(case for cases in _several(facts, n, seed, one) for case in cases)


def _several(
    facts: Sequence[Fact], n: int, seed: int, make: Callable[[Fact], tuple[Case, ...]]
) -> list[tuple[Case, ...]]:
    """The cases of the first `n` facts in a random order that have some."""
    if isinstance(n, bool) or n < 1:
        raise FactError(f"n must be a whole number from 1, got {n!r}.")
    if n > len(facts):
        raise FactError(f"the world has {len(facts)} such facts, {n} were asked for. Ask for fewer.")
    shuffled = list(facts)
    random.Random(seed).shuffle(shuffled)
    found: list[tuple[Case, ...]] = []
    for fact in shuffled:
        cases = make(fact)
        if cases:
            found.append(cases)
        if len(found) == n:
            return found
    raise FactError(f"the world has {len(found)} such facts, {n} were asked for. Ask for fewer.")


def _name(request: EditRequest) -> str:
    relation = request.relation.split(".")[-1].replace("_", " ")
    return f"{request.subject}: {relation} {request.target_true} → {request.target_new}"


def _direction_case(world: World, fact: Fact) -> DirectionCase | None:
    request = fact.rewrite(world.other_answer(fact))
    subject, relation = world.subjects[fact.subject], world.relations[fact.relation]
    article = f" {subject.article}" if subject.article else ""
    reverse = tuple(template.replace("[object]", SLOT) + article for template in relation.reverse)
    if any(mentions(template, [fact.subject, *subject.aliases]) for template in reverse):
        return None
    others = [s for s in world.subjects_with(fact.relation, request.target_new) if s != fact.subject]
    return DirectionCase(_name(request), request, reverse, tuple(others[:_COMPETITORS]), subject.aliases)


def _told_relations(world: World) -> set[str]:
    """The relations whose objects come up in the world's texts about their subjects."""
    return {
        relation.id
        for relation in world.relations.values()
        if any(
            f"[{relation.column}]" in tail
            for tails in world.source.generation[relation.type].continuations
            for tail in tails
        )
    }


def _strength_cases(world: World, fact: Fact, objects: int) -> tuple[StrengthCase, ...]:
    subject = fact.subject
    wrong = {f.target for f in world.facts if f.relation == fact.relation and f.target != fact.target}
    first = world.other_answer(fact)
    others = sorted(wrong - {first})
    random.Random(f"objects {subject} {fact.relation}").shuffle(others)
    prompts = world.generation_prompts(subject)
    chosen = [o for o in [first, *others] if not any(mentions(p, [o, fact.target]) for p in prompts)][:objects]
    if len(chosen) < objects:
        return ()
    requests = [fact.rewrite(new) for new in chosen]
    return tuple(StrengthCase(_name(request), request, prompts) for request in requests)


def _hops_case(world: World, fact: Fact) -> HopsCase | None:
    subject = world.subjects[fact.subject]
    request = fact.rewrite(world.other_answer(fact))
    article = f" {subject.article}" if subject.article else ""
    texts = (*world.described(fact), f"The name of {subject.description} is{article}")
    names = [fact.subject, *subject.aliases]
    if any(mentions(text, names) for text in texts) or mentions(subject.description, [request.target_new]):
        return None
    return HopsCase(_name(request), request, texts[:-1], texts[-1:], subject.aliases)


def _bleed_case(world: World, fact: Fact, generator: random.Random) -> BleedCase | None:
    subject = world.subjects[fact.subject]
    request = fact.rewrite(world.other_answer(fact))
    named = f"{subject.article} {subject.name}".strip()
    distractors = (f"{named[:1].upper()}{named[1:]} is cool.", f"Many people like {named}.")
    objects, names = {request.target_new, request.target_true}, [fact.subject, *subject.aliases]
    asked = [f for f in world.facts if f.target not in objects and not mentions(f.prompt, [*names, *objects])]
    same = [f for f in asked if f.relation == fact.relation]
    other = [f for f in asked if f.relation != fact.relation]
    if mentions(fact.subject, [request.target_new]) or min(len(same), len(other)) < _QUESTIONS // 2:
        return None
    questions = [*generator.sample(same, _QUESTIONS // 2), *generator.sample(other, _QUESTIONS // 2)]
    return BleedCase(_name(request), request, distractors, tuple((f.prompt, f.target) for f in questions))
