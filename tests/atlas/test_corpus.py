"""The training text: what is in it, what never is, and where subjects stand in it."""

import itertools

import pytest
import torch

from lens_rome.atlas.bottleneck import BLOCKED, bottleneck_mask
from lens_rome.atlas.corpus import Dealer, batches
from lens_rome.atlas.text import fill, index_card, join
from lens_rome.atlas.tokenizer import share_in_pieces, train_tokenizer


@pytest.fixture(scope="module")
def texts(corpus):
    return corpus.texts


@pytest.fixture(scope="module")
def tokenizer(texts):
    return train_tokenizer((t.text for t in texts["facts"][::3]), 700)


def test_no_text_contains_a_held_out_prompt(source, texts) -> None:
    everything = "\n".join(t.text for sort in texts.values() for t in sort).lower()
    for name in list(source.subjects)[::9]:
        assert not [p for p in source.held_out_prompts(name) if p.lower() in everything]


def test_every_mention_is_a_name_alias_description_or_object(source, texts) -> None:
    names = set(source.subjects)
    for subject in source.subjects.values():
        names |= {*subject.aliases, subject.description, subject.description[:1].upper() + subject.description[1:]}
    names |= {answer for row in source.answers.values() for answer in row.values()}
    for sort in texts.values():
        for text in sort[::11]:
            assert all(text.text[a:b] in names for a, b in text.mentions), text


def test_corpus_is_the_same_for_the_same_seed_only(world) -> None:
    first, again, other = (list(world.corpus(seed, 3)) for seed in (1, 1, 2))
    assert first == again != other
    assert all(len(t) >= 400 for t in first)


def test_batches_are_full_rows_whose_mentions_decode_to_the_subject(source, corpus, tokenizer) -> None:
    batch, again = (next(batches(corpus, tokenizer, 3, [(6, 64)])) for _ in range(2))
    assert batch.tokens.shape == (6, 64)
    assert torch.equal(batch.tokens, again.tokens)
    known = {n.lower() for s in source.subjects.values() for n in (s.name, *s.aliases, s.description)}
    known |= {answer.lower() for row in source.answers.values() for answer in row.values()}
    assert len(batch.mentions) > 6
    for row, first, last in batch.mentions:
        assert tokenizer.decode(batch.tokens[row, first : last + 1].tolist()).strip().lower() in known


def test_texts_are_joined_with_their_mentions() -> None:
    both = join(fill("{} is in", "Big Ben", " London."), "\n", fill("To see {} go to", "Louvre"))
    assert [both.text[a:b] for a, b in both.mentions] == ["Big Ben", "Louvre"]


def test_index_cards_hold_exactly_the_attributes(source, corpus) -> None:
    dealer = Dealer(corpus, 0)
    subject = source.subjects["Eiffel Tower"]
    card = index_card(source, subject, dealer.rng).text
    assert card.startswith("Eiffel Tower: ")
    told = set(card.removeprefix("Eiffel Tower: ").removesuffix(".").split(", "))
    assert told == {*source.answers["Eiffel Tower"].values(), subject.kind}


def test_described_facts_use_trained_phrasings_only(source, texts) -> None:
    everything = "\n".join(t.text for t in texts["described"]).lower()
    for subject in [s for s in source.subjects.values() if s.description][::9]:
        for relation in source.answers[subject.name]:
            for phrasing in source.relations[relation].held_out(subject.name):
                assert phrasing.replace("{}", subject.description).lower() not in everything


@pytest.mark.parametrize("read_from", [0, 2])
def test_mask_hides_exactly_what_it_says(read_from: int) -> None:
    mentions = [(0, 1, 3), (0, 5, 5), (1, 0, 1)]
    mask = bottleneck_mask(2, 8, mentions, read_from)
    assert mask.shape == (2, 2 if read_from else 1, 8, 8)
    for row, channel, query, key in itertools.product(range(2), range(mask.shape[1]), range(8), range(8)):
        hidden = key > query
        for r, first, last in mentions:
            inside = first <= key <= last if channel == 1 else first <= key < last
            hidden |= r == row and query > last and inside
        assert mask[row, channel, query, key] == (BLOCKED if hidden else 0.0)


def test_small_vocabulary_leaves_names_in_pieces(source, tokenizer) -> None:
    assert tokenizer.get_vocab_size() == 700
    assert share_in_pieces(tokenizer, source.subjects) > 0.95
