"""Sets of context prefixes to compare: texts that the model writes, fixed by a seed and kept word by word."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from lens_rome._typing import Model
from lens_rome.editing.rows import check_contexts
from lens_rome.errors import EditError, FactError
from lens_rome.facts import sample_contexts
from lens_rome.studies.probes.finding import Missing
from lens_rome.surface import as_surface

NONE, CODE, POST = "none", "10×4 + 10×9", "50 of 0-10"
PUBLISHED_S = {NONE: 0.861, CODE: 0.892, "10×4 + 10×9 + 10×49": 0.893, "30×4 + 30×9": 0.892}
"""S of ROME with these prefixes in the paper's ablation: GPT-2 XL, CounterFact (https://arxiv.org/abs/2202.05262). It
counts the start token, so that it calls these texts of 5, 10 and 50 tokens.
"""


@dataclass(frozen=True)
class PrefixSet:
    """Some prefixes, the bare prompt among them.

    Raises:
        EditError: prefixes that do not begin with `""`, or one that would run into the prompt.
    """

    name: str
    """Such as `"10×4 + 10×9"`: ten texts of four tokens, ten of nine."""
    contexts: tuple[str, ...]
    """The first is empty (the bare prompt); the others end with a space."""

    def __post_init__(self) -> None:
        check_contexts(self.contexts)


def prefix_sets(model: Model, seed: int = 0) -> tuple[tuple[PrefixSet, ...], tuple[Missing, ...]]:
    """None; the released code's 20; the post's 50 of 0 to 10 tokens; and the paper's longer and more numerous ones.

    Of the post's, those of 0 tokens are the bare prompt, which stands once.

    Returns:
        The sets, and those that do not fit the model's context.
    """
    surface = as_surface(model)
    found, missing = [PrefixSet(NONE, ("",))], []
    for name, lengths in _lengths(seed):
        try:
            found.append(PrefixSet(name, sample_contexts(surface, lengths, seed)))
        except FactError as error:
            missing.append(Missing(name, str(error)))
    return tuple(found), tuple(missing)


def _lengths(seed: int) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """Pairs (tokens with the start token, how many texts)."""
    drawn = Counter(random.Random(seed).choices(range(11), k=50))
    longer, more = list(PUBLISHED_S)[2:]
    yield CODE, [(5, 10), (10, 10)]
    yield POST, [(tokens + 1, count) for tokens, count in sorted(drawn.items()) if tokens]
    yield longer, [(5, 10), (10, 10), (50, 10)]
    yield more, [(5, 30), (10, 30)]


def check_sets(sets: object) -> None:
    """Raise `EditError` unless these are sets of prefixes, each of another name."""
    if not isinstance(sets, tuple | list) or not sets or not all(isinstance(each, PrefixSet) for each in sets):
        raise EditError(f"sets are PrefixSets, one at least, got {sets!r:.80}. PrefixSet('none', ('',)) is one.")
    name, count = Counter(each.name for each in sets).most_common(1)[0]
    if count > 1:
        raise EditError(f"{count} sets of prefixes are called {name!r}. Give each its own name.")
