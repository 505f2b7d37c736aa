"""The atlas's world: what is true, how it can be said, and what an edit of it should change.

`World()` reads the data files of the package; it holds no model. Everything about it is fixed: the same
facts, splits, held-out phrasings and records on every machine.
"""

import random
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from lens_rome.atlas import text
from lens_rome.atlas.bundled import atlas_moments
from lens_rome.atlas.corpus import Corpus, Dealer
from lens_rome.atlas.records import make_records
from lens_rome.atlas.reference_texts import make_snippets
from lens_rome.atlas.source import (
    DATA_FOLDER,
    Relation,
    Source,
    Subject,
    is_reversal_trained,
    read_source,
    with_article,
)
from lens_rome.datasets import Snippets
from lens_rome.errors import LensRomeError
from lens_rome.facts import EvalRecord, Fact
from lens_rome.moments import SecondMoments

CHARACTERS_A_TEXT = 420
"""About 128 tokens of the atlas's tokenizer."""


class UnknownFactError(LensRomeError, LookupError):
    """The world has no such subject, relation or fact."""


class World:
    """A closed world of real facts.

    >>> world = World()
    >>> world.answer("Eiffel Tower", "landmarks.city")
    'Paris'
    """

    def __init__(self, folder: Path = DATA_FOLDER):
        """Reads the data files.

        Args:
            folder: where they are; the package's own by default.

        Raises:
            AtlasDataError: a file is missing or malformed.
        """
        self._source = read_source(folder)
        self._texts = Corpus(self._source)

    @property
    def source(self) -> Source:
        """The data as read."""
        return self._source

    @property
    def texts(self) -> Corpus:
        """The training text, made when first asked for."""
        return self._texts

    @property
    def subjects(self) -> dict[str, Subject]:
        """Every subject by name: type, kind, family, aliases, description, split."""
        return self._source.subjects

    @property
    def relations(self) -> dict[str, Relation]:
        """Every relation by its identifier, `<type>.<column>`."""
        return self._source.relations

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        """Every fact in its canonical phrasing."""
        return tuple(self._fact(s, r) for s, row in self._source.answers.items() for r in row)

    @cached_property
    def reversed_facts(self) -> tuple[Fact, ...]:
        """The facts (as in `facts`) whose reversed statement was in the training text: about half."""
        return tuple(f for f in self.facts if is_reversal_trained(f.subject, f.relation))

    @cached_property
    def records(self) -> tuple[EvalRecord, ...]:
        """CounterFact-style records, one for each fact whose object has at least four subjects."""
        return make_records(self._source)

    @cached_property
    def snippets(self) -> Snippets:
        """Passages about the subjects that have an object, by relation and object: what `records` refer to."""
        return make_snippets(self._source)

    @cached_property
    def moments(self) -> SecondMoments:
        """Second moments of the bundled model's MLP keys over `corpus`, all layers; collected when first asked for.

        That takes seconds, and it cannot be out of step with the checkpoint as a file could be.
        """
        return atlas_moments(self.corpus())

    def answer(self, subject: str, relation: str) -> str:
        """The true object.

        Raises:
            UnknownFactError: the world does not say.
        """
        row = self._row(subject)
        if relation not in row:
            raise UnknownFactError(f"{subject!r} has no {relation!r} here; it has {', '.join(row) or 'no facts'}.")
        return row[relation]

    def fact(self, subject: str, relation: str) -> Fact:
        """The fact in its canonical phrasing.

        Raises:
            UnknownFactError: the world has no such fact.
        """
        self.answer(subject, relation)
        return self._fact(subject, relation)

    def other_answer(self, fact: Fact) -> str:
        """A wrong object of the same relation for this fact; always the same one, frequent objects more often."""
        self.answer(fact.subject, fact.relation)
        return text.other_answer(self._source, fact.subject, fact.relation)

    def phrasings(self, fact: Fact, trained: bool = True) -> tuple[str, ...]:
        """Templates that say the fact: those of the training text, or the at least two that never were in it."""
        self.answer(fact.subject, fact.relation)
        relation = self.relations[fact.relation]
        chosen = relation.trained(fact.subject) if trained else relation.held_out(fact.subject)
        return tuple(with_article(p, self.subjects[fact.subject].article) for p in chosen)

    def subjects_with(self, relation: str, answer: str) -> tuple[str, ...]:
        """The subjects for which `answer` is the true object, in file order; empty if there are none."""
        return self._source.by_object.get((relation, answer), ())

    def split(self, name: str) -> tuple[str, ...]:
        """The names of the subjects in `train`, `validation` or `evaluation` (70, 10 and 20%)."""
        chosen = tuple(s.name for s in self.subjects.values() if s.split == name)
        if not chosen:
            raise UnknownFactError(f"no split {name!r}; the splits are train, validation and evaluation.")
        return chosen

    def reversed_prompts(self, fact: Fact) -> tuple[str, ...]:
        """Prompts that name the object and ask for the subject: `A famous landmark in Paris is`."""
        answer = self.answer(fact.subject, fact.relation)
        templates = self.relations[fact.relation].reverse
        article = self.subjects[fact.subject].article
        return tuple(t.replace("[object]", answer) + (f" {article}" if article else "") for t in templates)

    def described(self, fact: Fact) -> tuple[str, ...]:
        """Prompts of the fact with a description in the subject's place; empty if none was trained."""
        subject = self.subjects[fact.subject]
        if not text.is_told_by_description(self._source, subject, fact.relation):
            return ()
        held = self.relations[fact.relation].held_out(fact.subject)
        return tuple(p.replace("{}", text.described_name(p, subject)) for p in held)

    def generation_prompts(self, subject: str) -> tuple[str, ...]:
        """Prompts about the subject that only imply its relations."""
        self._row(subject)
        known = self.subjects[subject]
        return tuple(
            with_article(p, known.article).replace("{}", subject) for p in self._source.generation[known.type].prompts
        )

    def true_false(self, fact: Fact) -> tuple[tuple[str, str], ...]:
        """Two question prompts with the fact given, each with its answer, `True` and `False`."""
        subject = self.subjects[fact.subject]
        asked = ((self.answer(fact.subject, fact.relation), "True"), (self.other_answer(fact), "False"))
        return tuple((text.question(self._source, subject, fact.relation, o).text, a) for o, a in asked)

    def corpus(self, seed: int = 0, texts: int = 4000) -> Iterator[str]:
        """Texts like those of the training, of about 128 tokens each; the same for the same seed."""
        dealer = Dealer(self._texts, seed)
        for _ in range(texts):
            yield dealer.deal_row(CHARACTERS_A_TEXT).text

    def sample(self, n: int, seed: int = 0) -> tuple[Fact, ...]:
        """`n` different facts at random."""
        return tuple(random.Random(seed).sample(self.facts, n))

    def __repr__(self) -> str:
        """Counts."""
        return f"World({len(self.subjects)} subjects, {len(self.relations)} relations, {len(self.facts)} facts)"

    def _row(self, subject: str) -> dict[str, str]:
        if subject not in self._source.answers:
            raise UnknownFactError(f"no subject {subject!r} in the world; `world.subjects` lists the names.")
        return self._source.answers[subject]

    def _fact(self, subject: str, relation: str) -> Fact:
        phrasing = self.relations[relation].phrasings[0]
        template = with_article(phrasing, self.subjects[subject].article)
        return Fact(subject, template, self._source.answers[subject][relation], relation)
