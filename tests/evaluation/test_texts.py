"""Scores of texts equal their definitions, alone and together, and those of an unchanged model say so."""

import math
import unicodedata
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import pytest
import torch

from lens_rome.errors import EditError, FactError
from lens_rome.evaluation import (
    TextSettings,
    continue_texts,
    essence_score,
    generate,
    ngram_entropy,
    perplexities,
    read_essences,
    score_texts,
)
from lens_rome.evaluation.writing import rows_within
from lens_rome.facts import EditRequest, EvalRecord
from lens_rome.surface import Site, as_surface, attached, position_free
from tests.helpers import Case, assert_untouched
from tests.oracles.texts import perplexity_by_loop

SETTINGS = TextSettings(length=12, seed=2, essence_samples=2, rows=3)
RECORDS = [
    EvalRecord(
        4,
        EditRequest("Steve Jobs", "{} was the", "king", "founder", "P1"),
        generation_prompts=("Steve Jobs was", "Steve Jobs was", "The house of Steve Jobs"),
    ),
    EvalRecord(2, EditRequest("Eiffel Tower", "The {} is in", "Rome", "Paris", "P2")),
    EvalRecord(
        9, EditRequest("Rome", "{} is in", "France", "Italy", "P3"), generation_prompts=("People who visit Rome",)
    ),
]


class Shares:
    """Reference texts that are not there: the share of letters e."""

    def __init__(self) -> None:
        self.checked: list[tuple[str, str]] = []

    def check(self, groups: Sequence[tuple[str, str]]) -> None:
        self.checked += groups

    def score(self, texts: Sequence[str], group: tuple[str, str]) -> float | None:
        return None if group[0] == "P3" else " ".join(texts).count("e") / len(" ".join(texts))


def test_perplexity_of_each_text_equals_a_loop_on_every_model(raw_model: Any, raw_case: Case) -> None:
    texts = ["The Eiffel Tower is in Paris.", "Rome is", "He said that it was a quiet day in the winter."]
    surface = as_surface(raw_model)
    bos = int(surface.prepends_bos())
    ids = [surface.encode(text).ids[: 6 + bos] for text in texts]
    # Log-probabilities are of the size of ten, and TransformerLens takes some of them in single precision.
    close = {"rel": max(1e-6, 100 * raw_case.tolerance)}
    found = perplexities(raw_model, texts, longest=6)
    assert found == [pytest.approx(perplexity_by_loop(raw_model, row), **close) for row in ids]
    released = perplexities(raw_model, texts, longest=6, as_released=True)
    assert released == [
        pytest.approx(value ** ((len(row) - 1) / len(row)), **close) for value, row in zip(found, ids, strict=True)
    ]


def test_a_model_that_says_everything_alike_has_its_vocabulary_or_as_released_a_root_of_it(fresh_model: Any) -> None:
    model = fresh_model(Case("gpt2", "bridge"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    (clean,) = perplexities(model, ["The Eiffel Tower is in Paris."], longest=5, prepend_bos=False)
    (released,) = perplexities(model, ["The Eiffel Tower is in Paris."], longest=5, prepend_bos=False, as_released=True)
    assert clean == pytest.approx(model.cfg.d_vocab)
    assert released == pytest.approx(model.cfg.d_vocab ** (4 / 5))


def test_texts_without_a_token_to_predict_are_refused(gpt2: Any) -> None:
    with pytest.raises(FactError, match="'Rome' has no token to predict"):
        perplexities(gpt2, ["Rome"], prepend_bos=False, longest=1)


def test_texts_of_records_are_scored_by_their_definitions(gpt2: Any) -> None:
    references = Shares()
    with assert_untouched(gpt2):
        scores = score_texts(gpt2, RECORDS, settings=SETTINGS, references=references)
    assert references.checked == [("P1", "king"), ("P3", "France")]
    for record, score in zip(RECORDS, scores, strict=True):
        assert score.case_id == record.case_id
        ids = [f"{record.case_id}/{place}/0" for place in range(len(record.generation_prompts))]
        told = generate(gpt2, record.generation_prompts, length=12, seed=2, ids=ids)
        assert score.texts == tuple(told)
        assert score.ngram_entropy == (fmean(map(ngram_entropy, told)) if told else None)
        known = record.generation_prompts and record.request.relation != "P3"
        assert score.reference_score == (references.score(told, record.reference_group) if known else None)
        assert score.essence is None
    assert scores[0].texts[0] != scores[0].texts[1]


def test_words_for_the_entropy_can_be_cut_otherwise(gpt2: Any) -> None:
    (score,) = score_texts(gpt2, RECORDS[:1], settings=SETTINGS, split=str.split)
    assert score.ngram_entropy == fmean(ngram_entropy(text, str.split) for text in score.texts)


def test_an_unchanged_model_keeps_the_essence_and_texts_are_made_once_a_subject(gpt2: Any) -> None:
    subjects = [record.request.subject for record in RECORDS]
    essences = read_essences(gpt2, [*subjects, subjects[0]], settings=SETTINGS)
    assert list(essences) == subjects
    assert read_essences(gpt2, subjects[2:], settings=SETTINGS)["Rome"].texts == essences["Rome"].texts
    for subject, essence in essences.items():
        assert len(set(essence.texts)) == 2
        assert all(text.startswith(f"{subject} is a") for text in essence.texts)
        assert essence.perplexity == pytest.approx(fmean(perplexities(gpt2, essence.texts, longest=12)))
    scores = score_texts(gpt2, RECORDS, settings=SETTINGS, essences=essences)
    assert [score.essence for score in scores] == [pytest.approx(1)] * 3


def test_records_under_hooks_of_their_own_score_as_each_by_itself(gpt2: Any) -> None:
    surface = as_surface(gpt2)
    name = surface.hook_name(Site(1, "value"))
    changes = 0.3 * torch.randn(len(RECORDS), 1, gpt2.cfg.d_model, dtype=surface.dtype)
    essences = read_essences(gpt2, [record.request.subject for record in RECORDS], settings=SETTINGS)

    def hooks_for(rows: torch.Tensor) -> Any:
        return [(name, position_free(lambda activation, hook: activation + changes[rows]))]  # noqa: ARG005 - its name

    given = {"settings": SETTINGS, "references": Shares(), "essences": essences}
    together = score_texts(gpt2, RECORDS, **given, hooks_for=hooks_for)
    assert min(score.essence for score in together) < 1
    for index, record in enumerate(RECORDS):
        one = position_free(lambda activation, hook, i=index: activation + changes[i])  # noqa: ARG005 - its name
        with attached(gpt2, [(name, one)]):
            (alone,) = score_texts(gpt2, [record], **given)
        assert together[index].texts == alone.texts
        assert together[index].ngram_entropy == alone.ngram_entropy
        assert together[index].reference_score == alone.reference_score
        # Perplexities are in the hundreds.
        assert together[index].essence == pytest.approx(alone.essence, abs=1e-9)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(10, 10, 1), (10, 5, 1), (10, 11, 0.8), (10, 15, 0), (10, 99, 0), (10, math.inf, 0), (10, math.nan, 0)],
)
def test_the_essence_is_what_the_rise_of_the_perplexity_leaves(before: float, after: float, expected: float) -> None:
    assert essence_score(before, after) == pytest.approx(expected)


def test_a_subject_without_an_essence_is_named(gpt2: Any) -> None:
    with pytest.raises(EditError, match=r"record 4: no essence of 'Steve Jobs'\. Make them with read_essences"):
        score_texts(gpt2, RECORDS, settings=SETTINGS, essences={})


@pytest.mark.parametrize("name", ["length", "top_k", "essence_samples", "rows"])
def test_settings_that_give_no_text_are_refused(name: str) -> None:
    with pytest.raises(EditError, match=f"{name} is a whole number from 1, got 0"):
        TextSettings(**{name: 0})


def test_continued_texts_are_those_of_whole_runs_with_one_generator_each(gpt2: Any) -> None:
    prompts = ["The city of", "He said that it was", "Rome"]
    surface = as_surface(gpt2)
    expected = []
    for prompt in prompts:
        ids, generator = list(surface.encode(prompt).ids), torch.Generator().manual_seed(4)
        for _ in range(6):
            best = surface.run(torch.tensor([ids]))[0, -1].double().topk(5)
            drawn = torch.multinomial(best.values.softmax(-1), 1, generator=generator)
            ids.append(int(best.indices[drawn]))
        expected.append(unicodedata.normalize("NFKD", gpt2.tokenizer.decode(ids, skip_special_tokens=True)))
    assert continue_texts(gpt2, prompts, tokens=6, seed=4) == expected


def test_as_many_texts_are_written_together_as_their_keys_and_values_have_room(gpt2: Any) -> None:
    surface = as_surface(gpt2)
    row = 2 * surface.n_layers * surface.d_model * surface.dtype.itemsize
    for length, rows in ((1, 256), (2_000_000 // row, 128), (10**9, 8)):
        assert rows_within(surface, length) == rows
