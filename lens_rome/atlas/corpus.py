"""The training corpus: texts of all sorts in fixed proportions, packed into rows of tokens.

Texts of one sort are dealt from a shuffled deck, so each comes equally often. A row is a few texts joined by
a space or a line break (names are met with and without a leading space), cut at the row's length.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from tokenizers import Tokenizer
from torch import Tensor

from lens_rome.atlas import text
from lens_rome.atlas.bottleneck import Mention
from lens_rome.atlas.source import Source
from lens_rome.atlas.text import Text, join
from lens_rome.atlas.tokenizer import END_OF_TEXT

ROW_TOKENS = 128
"""Tokens of a row, BOS included."""

CHARACTERS_A_TOKEN = 7
"""Characters that surely make a token; a row is dealt this long and cut."""

BOS_SHARE = 0.8
"""Share of rows that begin with BOS; the others begin with a text, so that prompts without BOS work too."""

SORTS = {
    "facts": (0.5, text.fact_sentences),
    "described": (0.03, text.described_facts),
    "descriptions": (0.04, text.description_sentences),
    "aliases": (0.025, text.alias_sentences),
    "reversed": (0.05, text.reversed_sentences),
    "kinds": (0.025, text.kind_sentences),
    "passages": (0.015, text.passages),
    "continuations": (0.045, text.continuations),
    "questions": (0.01, text.questions),
    "distractors": (0.04, text.distractor_sentences),
}
"""For each sort of text its share of the texts and what makes them; the rest are index cards."""


class Deck:
    """Deals items in a shuffled order, reshuffled when all have been dealt."""

    def __init__(self, items: Sequence[Text], rng: random.Random):
        """Deals from `items`, which are not changed."""
        self._items, self._rng, self._left = list(items), rng, []

    def deal(self) -> Text:
        """The next item."""
        if not self._left:
            self._left = self._items[:]
            self._rng.shuffle(self._left)
        return self._left.pop()


class Corpus:
    """All training text of a world, made once and dealt as often as wanted."""

    def __init__(self, source: Source):
        """Of the given data; the texts are made when first asked for."""
        self.source = source

    @cached_property
    def texts(self) -> dict[str, list[Text]]:
        """The texts of each sort, without index cards; none contains a held-out prompt."""
        return {name: text.without_held_out(make, self.source) for name, (_, make) in SORTS.items()}

    def sentences(self) -> Iterator[str]:
        """Every text once, to train a tokenizer on."""
        return (t.text for texts in self.texts.values() for t in texts)


class Dealer:
    """An endless stream of training texts, the same for the same seed."""

    def __init__(self, corpus: Corpus, seed: int):
        """Prepares the decks.

        Args:
            corpus: what to deal from.
            seed: of everything random.
        """
        self.rng = random.Random(seed)
        self._source = corpus.source
        self._decks = {n: Deck(texts, self.rng) for n, texts in corpus.texts.items() if texts}
        self._cards = Deck([Text(name) for name in corpus.source.subjects], self.rng)
        names = list(self._decks)
        self._names = [*names, "cards"]
        shares = [SORTS[n][0] for n in names]
        self._shares = [*shares, 1.0 - sum(SORTS[n][0] for n in SORTS)]

    def deal(self) -> Text:
        """The next text."""
        name = self.rng.choices(self._names, self._shares)[0]
        if name == "cards":
            subject = self._source.subjects[self._cards.deal().text]
            return text.index_card(self._source, subject, self.rng)
        return self._decks[name].deal()

    def deal_row(self, characters: int) -> Text:
        """Texts joined by a space or a line break, at least so many characters together."""
        row = self.deal()
        while len(row.text) < characters:
            row = join(row, self.rng.choice((" ", " ", "\n")), self.deal())
        return row


@dataclass(frozen=True)
class Batch:
    """Rows of tokens and where subjects stand in them."""

    tokens: Tensor
    """`[batch, pos]`, int64."""
    mentions: tuple[Mention, ...]
    """Every whole mention of a subject: row, first token, last token."""


def batches(corpus: Corpus, tokenizer: Tokenizer, seed: int, shapes: Iterable[tuple[int, int]]) -> Iterator[Batch]:
    """One batch of full rows for each of `shapes`, (rows, tokens in a row); the same for the same seed."""
    dealer = Dealer(corpus, seed)
    bos = tokenizer.token_to_id(END_OF_TEXT)
    for rows, length in shapes:
        starts = [dealer.rng.random() < BOS_SHARE for _ in range(rows)]
        texts = [dealer.deal_row(CHARACTERS_A_TOKEN * length) for _ in range(rows)]
        encoded = tokenizer.encode_batch([t.text for t in texts])
        tokens, mentions = [], []
        for row, (begins, made, code) in enumerate(zip(starts, texts, encoded, strict=True)):
            tokens.append(([bos] * begins + code.ids)[:length])
            spans = token_spans(made.mentions, code.offsets)
            mentions += [(row, a + begins, b + begins) for a, b in spans if b + begins < length]
        yield Batch(torch.tensor(tokens), tuple(mentions))


def token_spans(mentions: Sequence[tuple[int, int]], offsets: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """First and last token (inclusive) of each character range; ranges must be in order."""
    spans, i = [], 0
    for begin, end in mentions:
        while offsets[i][1] <= begin:
            i += 1
        last = i
        while offsets[last][1] < end:
            last += 1
        spans.append((i, last))
    return spans
