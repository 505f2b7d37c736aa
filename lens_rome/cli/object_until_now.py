"""The object that a fact has until now, where nobody gives it: the bundled world's, or what the model says."""

import re
import unicodedata
from dataclasses import dataclass

import torch

from lens_rome.cli.models import Loaded
from lens_rome.facts import EditRequest

_TOKENS = 12
"""In which a name has to end."""
_ARTICLES = ("the", "a", "an")
_TITLES = ("St", "Mt", "Ft", "Dr", "Mr", "Mrs", "Ms")
_BETWEEN = re.compile(r"(?: (?:&|of|the|de|del|della|di|da|do|dos|das|des|du|la|le|el|al|van|von|der|den|bin))* ")
"""What may stand between two words of a name, with the spaces."""
_JOINERS = "'’.&-"


@dataclass(frozen=True)
class Spoken:
    """The name or word that a text begins with."""

    text: str
    """Empty where the text begins with none."""
    ends: bool
    """Whether the text goes on in a way that cannot belong to it."""


def object_until_now(loaded: Loaded, asked: EditRequest, bos: bool | None) -> Spoken:
    """The object that the bundled world states, or the name or word that the model says most likely."""
    known = loaded.known_fact(asked.subject, asked.template)
    return Spoken(known.target, ends=True) if known else said(loaded, asked.prompt, bos)


@torch.no_grad()
def said(loaded: Loaded, prompt: str, bos: bool | None) -> Spoken:
    """The name or word with which the model goes on: its most likely tokens, as many as belong to it."""
    asked = list(loaded.surface.encode(prompt, bos).ids)
    told: list[int] = []
    found = Spoken("", ends=False)
    room = loaded.surface.cfg.n_ctx - len(asked) + 1
    while not found.ends and len(told) < min(_TOKENS, room):
        logits = loaded.surface.run(torch.tensor([asked + told]))
        told.append(int(logits[0, -1].argmax()))
        found = spoken(str(loaded.surface.tokenizer.decode(told)))
    return found


def spoken(text: str) -> Spoken:
    """The name or word at the beginning of a text, an article before it included: capitalised words go together.

    >>> spoken(" New York, where"), spoken(" Rio de Jane"), spoken(" the Louvre. It"), spoken(" painter and")
    (Spoken(text='New York', ends=True), Spoken(text='Rio de Jane', ends=False), Spoken(text='the Louvre', ends=True), Spoken(text='painter', ends=True))
    """  # noqa: E501
    if text.endswith("\N{REPLACEMENT CHARACTER}"):  # the bytes of a character that is not whole yet
        return Spoken(spoken(text[:-1]).text, ends=False)
    body = text.lstrip(" ")
    start, end = 0, _word_end(body, 0)
    if body[:end].lower() in _ARTICLES and _word_end(body, end + 1) > end + 1 and body[end] == " ":
        start, end = end + 1, _word_end(body, end + 1)
    if not end:
        return Spoken("", ends=bool(body))
    while body[start].isupper() and (further := _next_word(body, start, end)):
        start, end = further
    return Spoken(body[:end], ends=not _may_go_on(body, start, end))


def _next_word(body: str, start: int, end: int) -> tuple[int, int] | None:
    """Where the next word of a name begins and ends, after the one from `start` to `end`."""
    short = body[start:end] in _TITLES or end - start == 1
    between = _BETWEEN.match(body, end + 1 if short and body[end : end + 1] == "." else end)
    if between is None:
        return None
    begin = between.end()
    found = _word_end(body, begin)
    elided = 2 if body[begin + 1 : begin + 2] in ("'", "’") else 0  # d'Or
    named = found > begin + elided and (body[begin + elided].isupper() or body[begin].isdigit())
    return (begin, found) if named else None


def _may_go_on(body: str, start: int, end: int) -> bool:
    """Whether a longer text could show that the word goes on, or that another one belongs to it."""
    rest = body[end:]
    if body[:end].lower() in _ARTICLES:
        return rest.strip() == ""
    if not body[start].isupper():
        return rest in ("", *_JOINERS)
    return rest in ("", *_JOINERS, ". ") or _BETWEEN.fullmatch(f"{rest} ".replace("  ", " ")) is not None


def _word_end(text: str, start: int) -> int:
    """Where the word ends that begins at `start`; `start` where none does."""
    end = start
    while end < len(text):
        joined = end > start and text[end] in _JOINERS and _in_word(text[end + 1 : end + 2])
        if not (joined or _in_word(text[end])):
            break
        end += 1
    return end


def _in_word(character: str) -> bool:
    """Letters, digits and their marks; not the empty text."""
    return character != "" and unicodedata.category(character)[0] in "LMN"
