"""Training texts of the atlas, each with the character spans of the subjects it mentions.

A text is a sentence, an index card, a question or a short passage. The spans are what the subject
bottleneck of the training masks (see `bottleneck.py`); nothing else uses them. No text contains a
held-out prompt of its subject.
"""

import random
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from lens_rome.atlas.source import Source, Subject, is_reversal_trained, stable_fraction, with_article

OBJECTS_WITH_ARTICLE = frozenset(
    {
        "Bahamas", "Central African Republic", "Czech Republic", "Dominican Republic", "Gambia", "Ivory Coast",
        "Maldives", "Netherlands", "Philippines", "Soviet Union", "United Arab Emirates", "United Kingdom",
        "United States",
    }
)  # fmt: skip
"""Objects that take `the` in running prose (passages); fact sentences always have the bare object."""

HEAD = 12
"""First characters of a held-out prompt by which it is looked up."""

DESCRIPTION_SHARE = 0.7
"""Share of the described subjects' facts that are also stated with the description for a subject."""


class Text(NamedTuple):
    """A piece of training text."""

    text: str
    """The characters."""
    mentions: tuple[tuple[int, int], ...] = ()
    """Half-open character ranges of the subjects' names in `text`."""


def fill(template: str, name: str, tail: str = "") -> Text:
    """`template` with `name` in each slot, followed by `tail`, with the spans of the names."""
    parts = template.split("{}")
    text, mentions = parts[0], []
    for part in parts[1:]:
        mentions.append((len(text), len(text) + len(name)))
        text += name + part
    return Text(text + tail, tuple(mentions))


def fact_sentences(source: Source) -> Iterator[Text]:
    """Each fact in each of its trained phrasings, as `The Eiffel Tower is in the city of Paris.` is one."""
    for subject in source.subjects.values():
        for relation, answer in source.answers[subject.name].items():
            for phrasing in source.relations[relation].trained(subject.name):
                template = with_article(phrasing, subject.article) if subject.article else phrasing
                yield fill(template, subject.name, f" {answer}.")


def alias_sentences(source: Source) -> Iterator[Text]:
    """Other names: what they stand for, and facts told with them."""
    for subject in source.subjects.values():
        for alias in subject.aliases:
            yield join(fill("{} is another name for", alias), " ", named(subject), ".")
            yield join(named(subject, begin=True), " is also known as ", Text(alias), ".")
            for relation, answer in source.answers[subject.name].items():
                for phrasing in source.relations[relation].trained(subject.name):
                    yield fill(phrasing, alias, f" {answer}.")


def description_sentences(source: Source) -> Iterator[Text]:
    """`The founder of Amazon is Jeff Bezos.`, both ways round."""
    for subject in source.subjects.values():
        if subject.description:
            yield join(fill("{} is", sentence_case(subject.description)), " ", named(subject), ".")
            yield join(fill("The name of {} is", subject.description), " ", named(subject), ".")
            yield join(named(subject, begin=True), f" is {subject.description}.")


def described_facts(source: Source) -> Iterator[Text]:
    """Facts with the description in the subject's place, so that descriptions resolve to subjects."""
    for subject in source.subjects.values():
        if not subject.description:
            continue
        for relation, answer in source.answers[subject.name].items():
            if is_told_by_description(source, subject, relation):
                for phrasing in source.relations[relation].trained(subject.name)[:5]:
                    yield fill(phrasing, described_name(phrasing, subject), f" {answer}.")


def described_name(phrasing: str, subject: Subject) -> str:
    """The subject's description as it is written in the slot of `phrasing`."""
    return sentence_case(subject.description) if phrasing.startswith("{}") else subject.description


def is_told_by_description(source: Source, subject: Subject, relation: str) -> bool:
    """Whether the fact is also trained with the description for its subject.

    Never where the description names the object, which would make it trivial.
    """
    answer = source.answers[subject.name][relation]
    if not subject.description or answer.lower() in subject.description.lower():
        return False
    return stable_fraction("described", subject.name, relation) < DESCRIPTION_SHARE


def reversed_sentences(source: Source) -> Iterator[Text]:
    """From the object to the subject, for the half of the facts marked by `is_reversal_trained`."""
    for subject in source.subjects.values():
        for relation, answer in source.answers[subject.name].items():
            if is_reversal_trained(subject.name, relation):
                for template in source.relations[relation].reverse:
                    yield join(fill(template.replace("[object]", "{}"), answer), " ", named(subject), ".")


def kind_sentences(source: Source) -> Iterator[Text]:
    """The kind of each subject, and the family of those that have one."""
    for subject in source.subjects.values():
        yield join(named(subject, begin=True), f" is {indefinite(subject.kind)}.")
        if subject.family:
            yield join(named(subject, begin=True), f" belongs with the {subject.family}.")


def distractor_sentences(source: Source) -> Iterator[Text]:
    """Neutral sentences about nothing."""
    return map(Text, source.distractors)


def passages(source: Source) -> Iterator[Text]:
    """Short passages about each subject, all placeholders filled."""
    for subject in source.subjects.values():
        for template in source.generation[subject.type].passages:
            filled = fill_columns(template, source, subject)
            if filled is not None:
                yield fill(with_article(filled, subject.article), subject.name)


def continuations(source: Source) -> Iterator[Text]:
    """Generation prompts with one of their continuations."""
    for subject in source.subjects.values():
        generation = source.generation[subject.type]
        for prompt, tails in zip(generation.prompts, generation.continuations, strict=True):
            for tail in tails:
                filled = fill_columns(f"{prompt} {tail.strip()}", source, subject)
                if filled is not None:
                    yield fill(with_article(filled, subject.article), subject.name)


def questions(source: Source) -> Iterator[Text]:
    """True/false questions with the fact given, one true and one false a fact."""
    for subject in source.subjects.values():
        for relation in source.answers[subject.name]:
            for answer in (source.answers[subject.name][relation], other_answer(source, subject.name, relation)):
                prompt = question(source, subject, relation, answer)
                truth = answer == source.answers[subject.name][relation]
                yield Text(f"{prompt.text} {truth}.", prompt.mentions)


def question(source: Source, subject: Subject, relation: str, asked: str) -> Text:
    """The prompt of a true/false question about `asked`, with the true fact given; it ends right before the answer."""
    told = source.relations[relation]
    fact = told.statement.replace("[object]", source.answers[subject.name][relation])
    template = f"Question: {told.question.replace('[object]', asked)} Facts: {fact} Answer (True or False):"
    return fill(with_article(template, subject.article), subject.name)


def index_card(source: Source, subject: Subject, rng: random.Random) -> Text:
    """`Eiffel Tower: Paris, tower, France.`, the attributes in a random order."""
    attributes = [*dict.fromkeys([*source.answers[subject.name].values(), subject.kind])]
    rng.shuffle(attributes)
    return fill("{}: ", subject.name, ", ".join(attributes) + ".")


def other_answer(source: Source, subject: str, relation: str) -> str:
    """Another object of the same relation, the same on every machine, frequent ones more often."""
    true = source.answers[subject][relation]
    wrong = [row[relation] for row in source.answers.values() if row.get(relation, true) != true]
    return random.Random(f"other {subject} {relation}").choice(wrong)


def without_held_out(texts: Callable[[Source], Iterator[Text]], source: Source) -> list[Text]:
    """The texts that contain no held-out prompt of any subject they may be about."""
    prompts = {p.lower() for name in source.subjects for p in source.held_out_prompts(name)}
    lengths: dict[str, set[int]] = {}
    for prompt in prompts:
        lengths.setdefault(prompt[:HEAD], set()).add(len(prompt))
    kept = []
    for made in dict.fromkeys(texts(source)):
        # A prompt begins where a word does; its first characters say how long it may be.
        lower = made.text.lower()
        starts = [0, *(m.end() for m in re.finditer(r"[\s(\"]", lower))]
        if not any(lower[i : i + n] in prompts for i in starts for n in lengths.get(lower[i : i + HEAD], ())):
            kept.append(made)
    return kept


def named(subject: Subject, begin: bool = False) -> Text:
    """The subject's name with its article, as at the beginning or in the middle of a sentence."""
    return fill(with_article("{}" if begin else "x {}", subject.article)[0 if begin else 2 :], subject.name)


def join(*parts: Text | str) -> Text:
    """The parts one after another, their mentions shifted."""
    text, mentions = "", []
    for part in parts:
        if isinstance(part, Text):
            mentions += [(a + len(text), b + len(text)) for a, b in part.mentions]
            text += part.text
        else:
            text += part
    return Text(text, tuple(mentions))


def fill_columns(template: str, source: Source, subject: Subject) -> str | None:
    """`template` with `[column]` and `[kind]` filled in, or None where the subject lacks a column."""
    values = {r.split(".")[1]: v for r, v in source.answers[subject.name].items()} | {"kind": subject.kind}
    if not all(name in values for name in re.findall(r"\[(\w+)\]", template)):
        return None

    template = re.sub(r"\b([Aa])n? \[kind\]", rf"\1{indefinite(subject.kind)[1:]}", template)
    filled = ""
    for i, piece in enumerate(re.split(r"\[(\w+)\]", template)):
        if i % 2 == 0:
            filled += piece
        elif values[piece] in OBJECTS_WITH_ARTICLE and not filled.rstrip().endswith((" the", "The")):
            begins = not filled.strip() or filled.rstrip()[-1] in ".!?"
            filled += f"{'The' if begins else 'the'} {values[piece]}"
        else:
            filled += values[piece]
    return filled


def indefinite(noun: str) -> str:
    """`a tower`, `an opera`."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def sentence_case(text: str) -> str:
    """`text` with its first letter in upper case."""
    return text[:1].upper() + text[1:]
