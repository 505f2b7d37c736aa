"""Texts about the subjects that have an object: the atlas's own part of `attribute_snippets.json`."""

from lens_rome.atlas import text
from lens_rome.atlas.source import Source, with_article
from lens_rome.datasets import Snippets


def make_snippets(source: Source) -> Snippets:
    """For every relation and object the passages about all subjects with it; their plain facts where no passage can be
    filled in for any of them.
    """
    passages = {name: _passages(source, name) for name in source.subjects}
    groups = {}
    for (relation, answer), subjects in source.by_object.items():
        told = [passage for subject in subjects for passage in passages[subject]]
        facts = (with_article(source.relations[relation].phrasings[0], source.subjects[s].article) for s in subjects)
        plain = [f"{phrasing.replace('{}', s)} {answer}." for phrasing, s in zip(facts, subjects, strict=True)]
        groups[relation, answer] = tuple(told or plain)
    return Snippets(groups)


def _passages(source: Source, name: str) -> list[str]:
    subject = source.subjects[name]
    filled = (text.fill_columns(template, source, subject) for template in source.generation[subject.type].passages)
    return [text.fill(with_article(each, subject.article), name).text for each in filled if each is not None]
