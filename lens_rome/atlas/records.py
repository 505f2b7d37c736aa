"""Records in the CounterFact schema, made from the world.

One record for each fact whose object has at least four subjects. Everything random is drawn from a
generator seeded by the fact itself, so a record does not depend on the others.
"""

import random

from lens_rome.atlas.source import Source, with_article
from lens_rome.facts import EditRequest, EvalRecord, Fact

FEWEST_SUBJECTS = 4
"""Subjects that the true object must have, so that there are neighbours."""

MOST_PROMPTS = 10
"""Neighbour and attribute prompts in a record, at most."""

FEWEST_ATTRIBUTE_SUBJECTS = 3
"""Subjects that the new object must have."""


def make_records(source: Source) -> tuple[EvalRecord, ...]:
    """Every record of the world, in the order of its facts; `case_id` counts from 0."""
    made = []
    for subject, row in source.answers.items():
        for relation, answer in row.items():
            if len(source.by_object[relation, answer]) >= FEWEST_SUBJECTS:
                new = _new_target(source, subject, relation)
                if new is not None:
                    made.append(_record(source, len(made), subject, relation, new))
    return tuple(made)


def _new_target(source: Source, subject: str, relation: str) -> str | None:
    """A wrong object with at least three subjects, drawn as often as the world has it.

    Neither object may begin with the other ("novel" and "novella"): the longer one's first tokens are then the shorter
    one, and a comparison of their probabilities says nothing.
    """
    true = source.answers[subject][relation]
    wrong = [
        other
        for other in (row.get(relation, true) for row in source.answers.values())
        if not (other.startswith(true) or true.startswith(other))
        and len(source.by_object[relation, other]) >= FEWEST_ATTRIBUTE_SUBJECTS
    ]
    return _random("target_new", subject, relation).choice(wrong) if wrong else None


def _record(source: Source, case_id: int, subject: str, relation: str, new: str) -> EvalRecord:
    true = source.answers[subject][relation]
    told, article = source.relations[relation], source.subjects[subject].article
    fact = Fact(subject, with_article(told.phrasings[0], article), true, relation)
    generator = _random("prompts", subject, relation)
    before = generator.choice(source.distractors)
    held = [with_article(p, article).replace("{}", subject) for p in told.held_out(subject)]
    paraphrases = (f"{before} {held[0]}", *held[1:2])
    about = [
        with_article(p, article).replace("{}", subject)
        for p in source.generation[source.subjects[subject].type].prompts
    ]
    return EvalRecord(
        case_id,
        EditRequest(subject, fact.template, new, true, relation),
        paraphrases,
        _prompts_of_others(source, subject, relation, true, generator),
        _prompts_of_others(source, subject, relation, new, generator),
        tuple(about),
        extra={"pararel_idx": case_id, "wikidata": told.wikidata},
    )


def _prompts_of_others(
    source: Source, subject: str, relation: str, answer: str, generator: random.Random
) -> tuple[str, ...]:
    """Up to ten prompts in the canonical phrasing about other subjects with this object."""
    others = [s for s in source.by_object[relation, answer] if s != subject]
    chosen = generator.sample(others, min(MOST_PROMPTS, len(others)))
    phrasing = source.relations[relation].phrasings[0]
    return tuple(with_article(phrasing, source.subjects[s].article).replace("{}", s) for s in chosen)


def _random(*parts: str) -> random.Random:
    return random.Random("\x1f".join(parts))
