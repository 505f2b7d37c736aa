"""Perplexity equals a plain loop over tokens, n-gram entropy the reference values; continuations are seeded."""

import math
import unicodedata
from typing import Any

import pytest
import torch

from lens_rome.errors import FactError, SurfaceError
from lens_rome.evaluation import continue_texts, given_texts, ngram_entropy, perplexity, words
from lens_rome.surface import as_surface
from tests.helpers import Case, assert_untouched

TEXTS = ["The Eiffel Tower is in Paris.", "Rome", "He said that it was a quiet day in the winter."]


@torch.no_grad()
def perplexity_by_loop(model: Any, texts: list[str], prepend_bos: bool) -> float:
    """One run a token."""
    told = []
    for text in texts:
        ids = [model.tokenizer.bos_token_id] * prepend_bos + model.tokenizer(text, add_special_tokens=False)[
            "input_ids"
        ]
        for at in range(1, len(ids)):
            probs = model(torch.tensor([ids[:at]]))[0, -1].double().softmax(-1)
            told.append(-math.log(float(probs[ids[at]])))
    return math.exp(sum(told) / len(told))


def test_perplexity_equals_a_loop_over_tokens_on_every_model(raw_model: Any, raw_case: Case) -> None:
    expected = perplexity_by_loop(raw_model, TEXTS, as_surface(raw_model).prepends_bos())
    # Log-probabilities are of the size of ten, and TransformerLens takes some of them in single precision.
    assert perplexity(raw_model, TEXTS) == pytest.approx(expected, rel=max(1e-6, 100 * raw_case.tolerance))


@pytest.mark.parametrize("prepend_bos", [True, False])
def test_the_start_token_can_be_chosen_and_is_not_predicted(gpt2: Any, prepend_bos: bool) -> None:
    expected = perplexity_by_loop(gpt2, TEXTS, prepend_bos)
    assert perplexity(gpt2, TEXTS, prepend_bos=prepend_bos) == pytest.approx(expected, rel=1e-6)


def test_batches_and_order_change_nothing_and_one_text_may_stand_alone(
    gpt2: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = perplexity(gpt2, TEXTS)
    monkeypatch.setattr(given_texts, "_ROWS", 1)
    assert perplexity(gpt2, TEXTS[::-1]) == pytest.approx(together, rel=1e-6)
    assert perplexity(gpt2, TEXTS[0]) == perplexity(gpt2, TEXTS[:1])


def test_a_model_that_says_everything_alike_has_the_vocabulary_as_its_perplexity(fresh_model: Any) -> None:
    model = fresh_model(Case("gpt2", "bridge"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert perplexity(model, TEXTS) == pytest.approx(model.cfg.d_vocab, rel=1e-6)


def test_a_broken_model_has_no_finite_perplexity_and_no_continuation(fresh_model: Any) -> None:
    model = fresh_model(Case("gpt2", "bridge"))
    with torch.no_grad():
        as_surface(model).weight(1).fill_(math.nan)
    assert math.isnan(perplexity(model, TEXTS))
    with pytest.raises(SurfaceError, match="not finite"):
        continue_texts(model, ["The"], tokens=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the cat sat on the mat the cat sat", 2.5144271),
        ("so so so so so", 0.0),
        ("one two three four five six seven eight", 2.6590933),
        ("two words", 0.0),
        ("", 0.0),
    ],
)
def test_ngram_entropy_has_the_reference_values(text: str, expected: float) -> None:
    assert ngram_entropy(text) == ngram_entropy(text, str.split) == pytest.approx(expected, abs=1e-7)


def test_words_are_cut_as_said_and_the_cutter_can_be_replaced() -> None:
    assert words("It's Rome, not rome.") == ["It", "'", "s", "Rome", ",", "not", "rome", "."]
    assert ngram_entropy("a, b, c", lambda text: text.split(", ")) == pytest.approx(1 / 3)


@torch.no_grad()
def test_one_candidate_is_the_greedy_continuation(gpt2: Any) -> None:
    ids = list(as_surface(gpt2).encode("The city of").ids)
    bos = int(as_surface(gpt2).prepends_bos())
    for _ in range(5):
        ids.append(int(gpt2(torch.tensor([ids]))[0, -1].argmax()))
    with assert_untouched(gpt2):
        (found,) = continue_texts(gpt2, ["The city of"], tokens=5, top_k=1)
    assert found == unicodedata.normalize("NFKD", gpt2.tokenizer.decode(ids[bos:], skip_special_tokens=True))


def test_continuations_are_seeded_and_each_is_independent_of_the_others(gpt2: Any) -> None:
    prompts = ["The city of", "He said that it was"]
    both = continue_texts(gpt2, prompts, tokens=8, seed=1)
    assert both == continue_texts(gpt2, prompts, tokens=8, seed=1)
    assert both == [text for prompt in prompts for text in continue_texts(gpt2, [prompt], tokens=8, seed=1)]
    assert both != continue_texts(gpt2, prompts, tokens=8, seed=2)
    assert all(text.startswith(prompt) for text, prompt in zip(both, prompts, strict=True))
    assert continue_texts(gpt2, []) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokens": 0}, "whole numbers from 1"),
        ({"top_k": 0}, "whole numbers from 1"),
        ({"tokens": 999}, "Choose fewer"),
    ],
)
def test_continuations_that_cannot_be_are_refused(gpt2: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(FactError, match=message):
        continue_texts(gpt2, ["The"], **settings)


def test_texts_without_a_token_to_predict_are_refused(gpt2: Any) -> None:
    with pytest.raises(FactError, match="two tokens at least"):
        perplexity(gpt2, [])
