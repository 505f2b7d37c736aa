"""Rows of tokens from which the answers to questions are read.

A prompt runs once for all targets whose predictions stand in the same row: those of one token at the prompt's end,
and a longer one's first token there as well. A target of several tokens is read from a row that holds all but its
last.

First tokens that several rows of one model have in common are a stem, which runs once: the neighbours of a record begin
as their template does, and two long targets have their whole prompt in common.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from lens_rome.evaluation.questions import Question
from lens_rome.evaluation.shared_starts import shared_starts
from lens_rome.facts import answer_tokens, with_answer
from lens_rome.surface import AbstractSurface


@dataclass(frozen=True)
class Ask:
    """A question in tokens."""

    question: Question
    prompt: tuple[int, ...]
    target: tuple[int, ...]

    @property
    def row(self) -> tuple[int, ...]:
        """The tokens that predict all of the target."""
        return (*self.prompt, *self.target[:-1])

    @property
    def start(self) -> int:
        """Where the first token of the target is predicted."""
        return len(self.prompt) - 1


Stem = tuple[int, tuple[int, ...]]
"""The owner of rows, and the tokens that they begin with."""


@dataclass(frozen=True)
class ScoreRow:
    """A row of tokens and the questions that are answered by it."""

    tokens: tuple[int, ...]
    asks: tuple[Ask, ...]
    owner: int = -1
    """The index of its edit; -1 for the model as it is."""
    first: int = 0
    """The lowest block that the edit changes."""
    start: int = 0
    """How many of its first tokens are a stem."""

    @property
    def stem(self) -> Stem:
        """Where the row resumes; nothing is read before its last token."""
        return self.owner, self.tokens[: self.start]


def rows_of(asks: Sequence[Ask], owner: int = -1, first: int = 0, *, shared: bool = True) -> list[ScoreRow]:
    """Rows that answer all questions, as few as sharing gives.

    Args:
        shared: False for a row a question: hooks that look at positions may see the tokens after a prompt.
    """
    rows: list[ScoreRow] = []
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for ask in sorted(asks, key=lambda ask: -len(ask.row)):
        for index in by_prompt.setdefault(ask.prompt, []) if shared else ():
            row = rows[index]
            if row.tokens[: len(ask.row)] == ask.row:
                rows[index] = replace(row, asks=(*row.asks, ask))
                break
        else:
            by_prompt.setdefault(ask.prompt, []).append(len(rows))
            rows.append(ScoreRow(ask.row, (ask,), owner, first))
    if not shared:
        return rows
    starts = shared_starts([row.asks[0].prompt[:-1] for row in rows])
    return [replace(row, start=start) for row, start in zip(rows, starts, strict=True)]


def with_common_starts(rows: Sequence[ScoreRow], least: int) -> list[ScoreRow]:
    """The rows with fewer different starts: one at which stems save less than `least` tokens gives its rows to the next
    lower one, for only rows of one start run together.
    """
    found: list[ScoreRow] = []
    left: list[ScoreRow] = []
    for start in sorted({row.start for row in rows}, reverse=True):
        left = [replace(row, start=start) for row in left] + [row for row in rows if row.start == start]
        if start * (len(left) - len({row.stem for row in left})) >= least:
            found += left
            left = []
    return found + [replace(row, start=0) for row in left]


def stems_of(rows: Sequence[ScoreRow], *, unedited: bool) -> dict[Stem, None]:
    """The different stems of rows.

    Args:
        unedited: those of the unedited model too.
    """
    stems = [row.stem for row in rows if row.start]
    return dict.fromkeys([*stems, *((-1, tokens) for _, tokens in stems)] if unedited else stems)


def parts_of(rows: Sequence[ScoreRow], tokens: int) -> Iterator[list[ScoreRow]]:
    """Rows whose stems run together and are kept meanwhile: of one length, and at most `tokens` tokens in all; one stem
    at least.
    """
    for start, same in groupby(sorted(rows, key=lambda row: (row.start, row.stem)), key=lambda row: row.start):
        part: list[ScoreRow] = []
        stems: set[Stem] = set()
        for row in same:
            if part and start and row.stem not in stems and (len(stems) + 1) * start > tokens:
                yield part
                part, stems = [], set()
            part.append(row)
            stems.add(row.stem)
        yield part


def batches_of(rows: Sequence[ScoreRow], tokens: int, *, padded: bool = True) -> Iterator[list[ScoreRow]]:
    """Rows of about one length, one lowest block and one start together, each batch of at most `tokens` positions after
    the start, padding included, of which an eighth may be padding; one row at least.

    Args:
        padded: False for rows of exactly one length in each.
    """
    batch: list[ScoreRow] = []
    for row in sorted(rows, key=lambda row: (row.first, row.start, len(row.tokens), row.tokens)):
        if batch:
            size = (len(batch) + 1) * (len(row.tokens) - row.start)
            padding = sum(len(row.tokens) - len(other.tokens) for other in batch)
            full = size > tokens or 8 * padding > tokens
            other = (row.first, row.start) != (batch[0].first, batch[0].start)
            other |= not padded and len(row.tokens) != len(batch[0].tokens)
            if full or other:
                yield batch
                batch = []
        batch.append(row)
    if batch:
        yield batch


@dataclass
class Tokenized:
    """Questions in tokens, many in one call of the tokenizer."""

    surface: AbstractSurface
    _known: dict[tuple[str, bool], tuple[int, ...]] = field(default_factory=dict)

    def asks(self, questions: Sequence[Question]) -> list[Ask]:
        """Each question in tokens.

        Raises:
            FactError, SubjectSpanError: a target that is empty or has no tokens of its own, as `answer_tokens`.
            SurfaceError: a text that does not fit the model's context.
        """
        whole = [with_answer(question.prompt, question.target) for question in questions]
        for bos in {question.prepend_bos for question in questions}:
            pairs = [(q.prompt, text) for q, text in zip(questions, whole, strict=True) if q.prepend_bos == bos]
            texts = dict.fromkeys(text for pair in pairs for text in pair)
            new = [text for text in texts if (text, bos) not in self._known]
            for text, ids in zip(new, self.surface.encode_ids(new, bos), strict=True):
                self._known[text, bos] = ids
        return [self._ask(question, text) for question, text in zip(questions, whole, strict=True)]

    def _ask(self, question: Question, whole: str) -> Ask:
        prompt, both = (self._known[text, question.prepend_bos] for text in (question.prompt, whole))
        target = both[len(prompt) :]
        if both[: len(prompt)] != prompt or not target:
            target = answer_tokens(self.surface, question.prompt, question.target, question.prepend_bos)  # raises
        return Ask(question, prompt, target)
