"""What models write after prompts, and which names a text mentions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lens_rome.evaluation.generation import generate_tokens, plain_text
from lens_rome.studies.words import composed, whole_words
from lens_rome.surface import AbstractSurface

_ARTICLES = re.compile(r"(?:(?:the|a|an)\s+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Written:
    """What a model wrote after a prompt."""

    text: str
    """Without the prompt."""
    tokens: tuple[int, ...]
    """Of the prompt (with BOS, where it has one) and of what was written."""
    start: int
    """How many of them are the prompt's."""


def written(
    surface: AbstractSurface,
    prompts: Sequence[str],
    *,
    tokens: int,
    top_k: int = 5,
    seed: int = 0,
    ids: Sequence[str] | None = None,
    prepend_bos: bool | None = None,
) -> list[Written]:
    """What the model writes after each prompt: `tokens` tokens, as `generate` draws them.

    Under an edit in the weights the same streams of chance are drawn from. A text ends where the context does.

    Args:
        top_k: 1 for the most likely token always.
        ids: names of the streams, one a prompt; None for the prompts themselves.
    """
    bos = int(surface.prepends_bos(prepend_bos))
    starts = [surface.encode(prompt, prepend_bos).ids for prompt in prompts]
    names = [f"{prompt}\x1f0" for prompt in prompts] if ids is None else list(ids)
    rows = generate_tokens(surface, prompts, tokens=tokens, top_k=top_k, seed=seed, ids=names, prepend_bos=prepend_bos)
    found = []
    for start, row in zip(starts, rows, strict=True):
        shown = len(plain_text(surface, start[bos:]))
        found.append(Written(plain_text(surface, row[bos:])[shown:], tuple(row), len(start)))
    return found


def greedy(
    surface: AbstractSurface, prompts: Sequence[str], *, tokens: int, prepend_bos: bool | None = None
) -> dict[str, str]:
    """The most likely continuation of each prompt, by prompt."""
    asked = list(dict.fromkeys(prompts))
    told = written(surface, asked, tokens=tokens, top_k=1, prepend_bos=prepend_bos)
    return {prompt: each.text for prompt, each in zip(asked, told, strict=True)}


def tokens_for(surface: AbstractSurface, names: Sequence[str]) -> int:
    """Tokens in which a model can write the longest of the names after an article."""
    return 2 + max(len(surface.encode(f" {name}", False).ids) for name in names)


def mentions(text: str, names: Sequence[str]) -> int:
    """How often a text mentions one of the names, as whole words, in upper or lower case.

    >>> mentions("ROME is not Romeo; in Rome, the Eternal City", ["Rome", "Eternal City"])
    3
    """
    plain = _plain(text)
    folded = plain.casefold()
    near = [name for name in names if composed(name).casefold() in folded]  # a pattern is dear to make
    return len(whole_words(near).findall(plain)) if near else 0


def after_mention(text: str, names: Sequence[str]) -> str | None:
    """What stands after the first mention of one of the names; None where there is none."""
    plain = _plain(text)
    found = whole_words(names).search(plain)
    return None if found is None else plain[found.end() :]


def begins_with(text: str, names: Sequence[str]) -> bool:
    """Whether a text begins with one of the names, an article before it or not.

    >>> begins_with(" the Eiffel Tower. It", ["Eiffel Tower"]), begins_with(" Parisian", ["Paris"])
    (True, False)
    """
    plain = _plain(text).lstrip()
    article = _ARTICLES.match(plain)
    starts = {0, article.end() if article else 0}
    return any(whole_words(names).match(plain, start) for start in starts)


def _plain(text: str) -> str:
    """As `generate` gives texts, but with accents where they belong."""
    return composed(text).replace("\n\n", " ")
