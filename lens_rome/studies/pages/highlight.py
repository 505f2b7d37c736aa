"""Words of a text made visible."""

import re
from collections.abc import Mapping
from itertools import takewhile

from lens_rome.studies.pages.elements import Markup, join, tag, text


def marked(content: str, words: Mapping[str, str]) -> Markup:
    """The text with each of `words` in a mark.

    Args:
        words: word, and the class of its mark. Of two that begin at one place the longer is marked.

    >>> print(marked("Paris & Rome", {"Rome": "new"}))
    Paris &amp; <mark class="new">Rome</mark>
    """
    wanted = sorted((word for word in words if word), key=lambda word: (-len(word), word))
    if not wanted:
        return text(content)
    pattern = "|".join(_whole(word) for word in wanted)
    parts, end = [], 0
    for found in re.finditer(pattern, content):
        parts += [text(content[end : found.start()]), tag("mark", found[0], class_=words[found[0]])]
        end = found.end()
    return join([*parts, text(content[end:])])


def _whole(word: str) -> str:
    """The word where it is not a part of a longer one; scripts without spaces between words have none."""
    before, after = (r"(?<![A-Za-z0-9])" if word[0].isascii() else "", r"(?![A-Za-z0-9])" if word[-1].isascii() else "")
    return before + re.escape(word) + after


def shared_words(one: str, other: str) -> int:
    """How many characters two texts share at their beginning, up to the end of a word.

    >>> shared_words("It is in Rome now", "It is in Romania")
    9
    """
    if one == other:
        return len(one)
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    return one.rfind(" ", 0, alike) + 1
