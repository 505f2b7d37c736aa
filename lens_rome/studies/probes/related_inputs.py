"""Related subjects to edit one by one: those of the atlas, and their other names."""

from collections.abc import Iterator

from lens_rome.atlas import World
from lens_rome.atlas.source import Subject, with_article
from lens_rome.errors import FactError
from lens_rome.facts import Fact
from lens_rome.studies.probes.concept import RelatedSubject
from lens_rome.studies.probes.texts import mentions

RELATION, OBJECT, NEW = "foods.ingredient", "cow's milk", "grapes"
"""The atlas's cheeses, in the place of the post's (milk to poop)."""
TESTS = 3


def atlas_related(
    world: World, n: int = 8, relation: str = RELATION, answer: str = OBJECT, new: str = NEW, tests: int = TESTS
) -> tuple[RelatedSubject, ...]:
    """The first `n` subjects with one object, each to be given another; asked in `tests` phrasings.

    Raises:
        FactError: fewer than two such subjects.
    """
    names = world.subjects_with(relation, answer)[: max(n, 2)]
    if len(names) < 2:
        raise FactError(
            f"the world has {len(names)} subjects whose {relation!r} is {answer!r}, and two are needed. Choose another "
            "relation or object; `world.relations` lists the relations."
        )
    return tuple(_case(world, name, name, relation, new, tests) for name in names)


def atlas_aliases(world: World, n: int = 8, tests: int = TESTS) -> tuple[RelatedSubject, ...]:
    """`n` subjects of the atlas, each grouped with another name of its own: the same thing in other words.

    ROME writes at the name's last token, so names are left out that end in the same word ("Denmark", "Kingdom of
    Denmark") or stand one inside the other: they would be moved because they are spelled alike. (Different words can
    still end in the same token; the column `same_token` of the finding tells.) Only subjects whose names take no
    article, for that of the alias is not known. There are fewer than `n` where the world has no more: 70.
    """
    found: list[RelatedSubject] = []
    pairs = ((subject, next(_other_names(subject), "")) for subject in world.subjects.values() if not subject.article)
    for subject, alias in [pair for pair in pairs if pair[1]][:n]:
        fact = next(fact for fact in world.facts if fact.subject == subject.name)
        new = world.other_answer(fact)
        for name in (subject.name, alias):
            case = _case(world, subject.name, name, fact.relation, new, tests)
            found.append(RelatedSubject(name, case.request, case.templates, subject.name, subject.name))
    return tuple(found)


def _other_names(subject: Subject) -> Iterator[str]:
    """The subject's aliases that are in other tokens."""
    for alias in subject.aliases:
        inside = mentions(alias, [subject.name]) or mentions(subject.name, [alias])
        if not inside and alias.split()[-1].lower() != subject.name.split()[-1].lower():
            yield alias


def _case(world: World, subject: str, name: str, relation: str, new: str, tests: int) -> RelatedSubject:
    """The subject's fact told of `name`, asked in the relation's first phrasings: the same for all, so that tests pair.
    A few may be held out of the training text for a subject.
    """
    fact, article = world.fact(subject, relation), world.subjects[subject].article
    templates = tuple(with_article(phrasing, article) for phrasing in world.relations[relation].phrasings[:tests])
    return RelatedSubject(name, Fact(name, fact.template, fact.target, relation).rewrite(new), templates)
