"""What a learned editor is trained on: requests with other wordings, checked and tokenised before the first step."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lens_rome.editing.learned.rows import TokenPair, token_pair
from lens_rome.errors import EditError
from lens_rome.facts import EditRequest, EvalRecord, Fact
from lens_rome.surface import AbstractSurface


@dataclass(frozen=True)
class Example:
    """A request, its other wordings and its neighbours, as tokens."""

    subject: str
    request: TokenPair
    rephrasings: tuple[TokenPair, ...]
    """The request itself where there are none."""
    neighbors: tuple[tuple[int, ...], ...] = ()
    """Prompts about other subjects whose next word the edit shall not change."""


def examples_of(
    surface: AbstractSurface, items: Iterable[EvalRecord | EditRequest], kind: str, prepend_bos: bool | None
) -> tuple[Example, ...]:
    """Records (a request with paraphrases) and plain requests as examples; `kind` is what a message calls them.

    Raises:
        EditError: there are none, or one is neither a record nor a request.
        SubjectSpanError, SurfaceError: a target without tokens of its own, or a text too long for the model.
    """
    found = tuple(_example(surface, item, kind, prepend_bos) for item in items)
    if not found:
        raise EditError(f"no {kind} facts were given; fit(model, records, validation=records, texts=texts) needs some.")
    return found


def _example(surface: AbstractSurface, item: object, kind: str, prepend_bos: bool | None) -> Example:
    if isinstance(item, Fact):
        raise EditError(f"{item} is a fact, no request; use fact.rewrite(...) to say what shall be true.")
    request = item.request if isinstance(item, EvalRecord) else item
    if not isinstance(request, EditRequest):
        raise EditError(f"{kind} facts are EvalRecords or EditRequests, got {item!r}.")
    prompts = item.paraphrase_prompts if isinstance(item, EvalRecord) else ()
    pair = token_pair(surface, request.prompt, request.target_new, prepend_bos)
    others = tuple(token_pair(surface, prompt, request.target_new, prepend_bos) for prompt in prompts)
    near = item.neighborhood_prompts if isinstance(item, EvalRecord) else ()
    neighbors = tuple(surface.encode(prompt, prepend_bos).ids for prompt in near)
    return Example(request.subject, pair, others or (pair,), neighbors)


def check_disjoint(training: Sequence[Example], validation: Sequence[Example]) -> None:
    """Raise `EditError` if training and validation share a subject: the choice of the best step would mean nothing."""
    shared = sorted({example.subject for example in training} & {example.subject for example in validation})
    if shared:
        named = ", ".join(map(repr, shared[:5])) + (", …" if len(shared) > 5 else "")
        raise EditError(
            f"{len(shared)} subjects are in training and in validation: {named}. Split the facts by subject."
        )


def texts_of(
    surface: AbstractSurface, texts: Iterable[str], most: int, prepend_bos: bool | None
) -> tuple[tuple[int, ...], ...]:
    """Texts as tokens, cut after `most`.

    Raises:
        EditError: a single text for several, or fewer than one text of two tokens.
    """
    if isinstance(texts, str):
        raise EditError(f"texts {texts[:40]!r} is one text; its letters would count as texts. Give a list.")
    # A token takes four characters at least on average in any text; cutting early keeps long documents cheap.
    found = tuple(surface.encode(text[: 16 * most], prepend_bos).ids[:most] for text in texts)
    if not found or min(map(len, found)) < 2:
        raise EditError(
            "texts must hold at least one text, each of two tokens or more; the editor learns to keep them."
        )
    return found


@dataclass(frozen=True)
class Draws:
    """Which examples, wordings and texts each step uses: a function of seed and step alone, so that a continued
    training draws what an uninterrupted one would.
    """

    seed: int
    batch: int

    def examples(self, index: int, count: int) -> list[int]:
        """The examples of batch `index`, of `count`: each once before any comes again."""
        epoch_of = [divmod(index * self.batch + i, count) for i in range(self.batch)]
        orders = {epoch: self._order(epoch, count) for epoch in {epoch for epoch, _ in epoch_of}}
        return [orders[epoch][place] for epoch, place in epoch_of]

    def choices(self, index: int, what: str, counts: Sequence[int]) -> list[int]:
        """A number below each of `counts`."""
        generator = random.Random(f"{self.seed} {what} {index}")
        return [generator.randrange(count) for count in counts]

    def _order(self, epoch: int, count: int) -> list[int]:
        order = list(range(count))
        random.Random(f"{self.seed} epoch {epoch}").shuffle(order)
        return order
