"""What models write after prompts, and which names a text mentions."""

import re
import unicodedata
from collections.abc import Sequence

from lens_rome.evaluation import generate
from lens_rome.evaluation.generation import plain_text
from lens_rome.surface import AbstractSurface

_ARTICLES = re.compile(r"(?:(?:the|a|an)\s+)?", re.IGNORECASE)


def continuations(
    surface: AbstractSurface,
    prompts: Sequence[str],
    *,
    tokens: int,
    top_k: int = 5,
    seed: int = 0,
    ids: Sequence[str] | None = None,
    prepend_bos: bool | None = None,
) -> list[str]:
    """What the model writes after each prompt: `tokens` tokens by `generate`, without the prompt.

    Under an edit in the weights the same streams of chance are drawn from. A text ends where the context does.

    Args:
        top_k: 1 for the most likely token always.
        ids: names of the streams, one a prompt; None for the prompts themselves.
    """
    bos = int(surface.prepends_bos(prepend_bos))
    encoded = [surface.encode(prompt, prepend_bos).ids[bos:] for prompt in prompts]
    shown = [plain_text(surface, row) for row in encoded]
    names = [f"{prompt}\x1f0" for prompt in prompts] if ids is None else list(ids)
    texts = generate(surface, prompts, tokens=tokens, top_k=top_k, seed=seed, ids=names, prepend_bos=prepend_bos)
    return [text[len(start) :] for text, start in zip(texts, shown, strict=True)]


def greedy(
    surface: AbstractSurface, prompts: Sequence[str], *, tokens: int, prepend_bos: bool | None = None
) -> dict[str, str]:
    """The most likely continuation of each prompt, by prompt."""
    asked = list(dict.fromkeys(prompts))
    told = continuations(surface, asked, tokens=tokens, top_k=1, prepend_bos=prepend_bos)
    return dict(zip(asked, told, strict=True))


def tokens_for(surface: AbstractSurface, names: Sequence[str]) -> int:
    """Tokens in which a model can write the longest of the names after an article."""
    return 2 + max(len(surface.encode(f" {name}", False).ids) for name in names)


def mentions(text: str, names: Sequence[str]) -> int:
    """How often a text mentions one of the names, as whole words, in upper or lower case.

    >>> mentions("ROME is not Romeo; in Rome, the Eternal City", ["Rome", "Eternal City"])
    3
    """
    return len(_pattern(names).findall(_plain(text)))


def after_mention(text: str, names: Sequence[str]) -> str | None:
    """What stands after the first mention of one of the names; None where there is none."""
    plain = _plain(text)
    found = _pattern(names).search(plain)
    return None if found is None else plain[found.end() :]


def begins_with(text: str, names: Sequence[str]) -> bool:
    """Whether a text begins with one of the names, an article before it or not.

    >>> begins_with(" the Eiffel Tower. It", ["Eiffel Tower"]), begins_with(" Parisian", ["Paris"])
    (True, False)
    """
    plain = _plain(text).lstrip()
    article = _ARTICLES.match(plain)
    starts = {0, article.end() if article else 0}
    return any(_pattern(names).match(plain, start) for start in starts)


def _pattern(names: Sequence[str]) -> re.Pattern[str]:
    longest_first = sorted((_plain(name) for name in names), key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE)


def _plain(text: str) -> str:
    """As `generate` gives texts."""
    return unicodedata.normalize("NFKD", text).replace("\n\n", " ")
