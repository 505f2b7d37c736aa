"""Names found in texts as whole words, in any script."""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

_UNSPACED = (
    "\u0e00-\u0fff"  # Thai, Lao, Tibetan
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # Japanese
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters
    "\uac00-\ud7af"  # Korean has spaces, but its particles are written to the word
)
"""Scripts in which a word may stand right beside the next one."""


def composed(text: str) -> str:
    """The text with every letter and its accents in one character, as `whole_words` looks for names."""
    return unicodedata.normalize("NFKC", text)


def whole_words(names: Sequence[str]) -> re.Pattern[str]:
    """Finds each of the names in a `composed` text where it is a word of its own, in upper or lower case.

    Of two names at one place the longer is found. A letter without its accent is another letter. In scripts without
    spaces between words there is nothing that would tell a word from a part of one, and a name is found everywhere.

    >>> [found[0] for found in whole_words(["Rome", "José", "北京"]).finditer("北京是Rome, romeo, Jose")]
    ['北京', 'Rome']
    """
    known = sorted({composed(name) for name in names if name}, key=lambda name: (-len(name), name))
    return re.compile("|".join(map(_whole, known)) or r"(?!)", re.IGNORECASE)


def _whole(name: str) -> str:
    letter, marks = rf"[^\W{_UNSPACED}]", _marks()
    before = "" if re.match(f"[{_UNSPACED}]", name[0]) else f"(?<!{letter})(?<![{marks}])"
    after = f"(?![{marks}])" if re.match(f"[{_UNSPACED}]", name[-1]) else f"(?!{letter}|[{marks}])"
    return before + re.escape(name) + after


@cache
def _marks() -> str:
    """Accents and vowel signs, as ranges; they belong to the letter before them, and for `re` are no part of a word."""
    codes = [code for code in range(0x300, 0x10000) if unicodedata.category(chr(code)).startswith("M")]
    known = set(codes)
    starts = [code for code in codes if code - 1 not in known]
    ends = [code for code in codes if code + 1 not in known]
    return "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))
