"""A fact's prompt as tokens, with the token spans of its subject and its answer.

Spans are found from the slot's own character range in the filled template, never by searching the text: right for
repeated subjects and for every tokenizer that reports offsets. A token that overlaps the subject only in part belongs
to it whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lens_rome.errors import FactError, SubjectSpanError
from lens_rome.facts.fact import EditRequest, Fact
from lens_rome.surface import AbstractSurface, Encoding


@dataclass(frozen=True)
class Prompt:
    """Tokens of a filled template. Positions count tokens as displayed, BOS included."""

    text: str
    tokens: tuple[int, ...]
    token_strings: tuple[str, ...]
    subject: str
    subject_span: tuple[int, int]
    """Half-open range of positions of the subject's tokens."""
    prepend_bos: bool

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def subject_last(self) -> int:
        """Position of the subject's last token."""
        return self.subject_span[1] - 1

    def marked(self) -> str:
        """The tokens separated by bars, subject tokens with a star; for messages."""
        return show_tokens(self.token_strings, self.subject_span)


def show_tokens(strings: Sequence[str], span: tuple[int, int] = (0, 0)) -> str:
    """`|The| Eiffel*| Tower*| is|`: tokens separated by bars, those of `span` with a star."""
    return "|" + "|".join(text + "*" * (span[0] <= i < span[1]) for i, text in enumerate(strings)) + "|"


def tokenize_prompt(
    surface: AbstractSurface, fact: Fact | EditRequest, prepend_bos: bool | None = None, before: str = ""
) -> Prompt:
    """Tokenise a fact's prompt and locate its subject.

    Args:
        before: text put in front of the template, e.g. a context prefix with its separating space.

    Raises:
        SubjectSpanError: no token covers the subject.
    """
    start = len(before) + fact.template.index("{}")
    text = before + fact.prompt
    encoding = surface.encode(text, prepend_bos)
    span = token_span(encoding, (start, start + len(fact.subject)))
    return Prompt(text, encoding.ids, encoding.strings, fact.subject, span, encoding.prepend_bos)


def token_span(encoding: Encoding, characters: tuple[int, int]) -> tuple[int, int]:
    """Half-open range of the tokens that overlap a half-open range of characters.

    Raises:
        SubjectSpanError: no token does.
    """
    first, last = characters
    hit = [i for i, (start, end) in enumerate(encoding.spans) if start < last and end > first]
    if not hit:
        raise SubjectSpanError(
            f"no token covers characters {first} to {last} ({encoding.text[first:last]!r}) of {encoding.text!r}: "
            f"{show_tokens(encoding.strings)}."
        )
    return hit[0], hit[-1] + 1


def answer_tokens(
    surface: AbstractSurface, prompt: str, answer: str, prepend_bos: bool | None = None
) -> tuple[int, ...]:
    """Tokens of `answer` as the continuation of `prompt`, found by tokenising both together.

    Raises:
        FactError: the answer is empty.
        SubjectSpanError: the tokenizer merges the end of the prompt with the answer, so the answer has no tokens of
            its own.
    """
    alone, both = (surface.encode(text, prepend_bos) for text in (prompt, with_answer(prompt, answer)))
    if both.ids[: len(alone)] != alone.ids or len(both) == len(alone):
        raise SubjectSpanError(
            f"the answer {answer!r} has no tokens of its own after {prompt!r}: alone the prompt is "
            f"{show_tokens(alone.strings)}, "
            f"with the answer {show_tokens(both.strings)}. Drop a trailing space or choose a template that ends "
            "with a whole word."
        )
    return both.ids[len(alone) :]


def with_answer(prompt: str, answer: str) -> str:
    """The prompt continued by the answer, a space between them where there is none.

    Raises:
        FactError: the answer is empty.
    """
    if not answer.strip():
        raise FactError("the answer is empty; give the text that should follow the prompt.")
    return prompt + ("" if prompt[-1:].isspace() or answer[:1].isspace() else " ") + answer
