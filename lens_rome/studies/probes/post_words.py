"""The words with which the post on ROME's limits asked whether an edit is of a concept or of a token, for GPT-2.

The related words and their objects are the post's; the wordings are ours, as is the old object of its two shorter
examples.
"""

from lens_rome.facts import EditRequest
from lens_rome.studies.probes.concept import RelatedSubject

_CHEESES = ("cheese", "fromage", "cheddar", "feta", "gouda", "mozzarella")
_CHEESE_TESTS = ("{} is made from", "The main ingredient of {} is", "To make {}, you need a lot of")
_WOOD_TESTS = ("The {} was used to make", "A factory turns the {} into")
_FRUIT_TESTS = ("The {} is a kind of", "An example of a {} is a piece of")


def post_words() -> tuple[RelatedSubject, ...]:
    """Cheeses from milk to poop; tree and wood from paper to metal; apple and fruit from food to cheese."""
    return (
        *(_word(name, "milk", "poop", _CHEESE_TESTS, "cheese") for name in _CHEESES),
        *(_word(name, "paper", "metal", _WOOD_TESTS, "wood") for name in ("tree", "wood")),
        *(_word(name, "food", "cheese", _FRUIT_TESTS, "fruit") for name in ("apple", "fruit")),
    )


def _word(name: str, true: str, new: str, tests: tuple[str, ...], group: str) -> RelatedSubject:
    return RelatedSubject(name, EditRequest(name, tests[0], new, true), tests, group)
