"""Likelihoods of targets equal a plain loop, token by token, and the released code's values."""

import json
import math
from typing import Any

import pytest
import torch

from lens_rome.errors import FactError
from lens_rome.evaluation import likelihood, mean_nll
from lens_rome.surface import as_surface, load_model
from tests.helpers import GOLDEN, Case, assert_untouched, skip_without_hooked

QUESTIONS = [
    ("Steve Jobs was the founder of", "Apple"),
    ("Rome", "is a city in the country of Italy"),
    ("The language in Catalonia is", " Spanish"),
]


@torch.no_grad()
def nll_by_loop(model: Any, prompt: str, target: str, prepend_bos: bool) -> float:
    """One run a token: mean of the negative log-probabilities."""
    tokenizer = model.tokenizer
    bos = [tokenizer.bos_token_id] if prepend_bos else []
    text = f"{prompt} {target.strip()}"
    ids, known = ([*bos, *tokenizer(each, add_special_tokens=False)["input_ids"]] for each in (text, prompt))
    total = 0.0
    for at in range(len(known), len(ids)):
        probs = model(torch.tensor([ids[:at]]))[0, -1].double().softmax(-1)
        total -= math.log(float(probs[ids[at]]))
    return total / (len(ids) - len(known))


def test_mean_nll_equals_a_loop_over_tokens_on_every_model(raw_model: Any, raw_case: Case) -> None:
    surface = as_surface(raw_model)
    found = mean_nll(surface, QUESTIONS)
    expected = [nll_by_loop(raw_model, *question, surface.prepends_bos()) for question in QUESTIONS]
    # Log-probabilities of a vocabulary are of the size of ten.
    assert found == pytest.approx(expected, rel=0, abs=max(100 * raw_case.tolerance, NLL_PRECISION))


NLL_PRECISION = 1e-6
"""Log-probabilities are taken in single precision."""


@pytest.mark.parametrize("prepend_bos", [True, False])
def test_bos_can_be_chosen(gpt2: Any, prepend_bos: bool) -> None:
    found = mean_nll(as_surface(gpt2), QUESTIONS, prepend_bos)
    expected = [nll_by_loop(gpt2, *question, prepend_bos) for question in QUESTIONS]
    assert found == pytest.approx(expected, rel=0, abs=NLL_PRECISION)


@pytest.mark.parametrize("rows", [1, 2])
def test_batches_and_padding_change_nothing(gpt2: Any, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    together = mean_nll(as_surface(gpt2), QUESTIONS)
    monkeypatch.setattr(likelihood, "_ROWS", rows)
    assert mean_nll(as_surface(gpt2), QUESTIONS) == pytest.approx(together, rel=0, abs=NLL_PRECISION)
    assert mean_nll(as_surface(gpt2), QUESTIONS[::-1])[::-1] == pytest.approx(together, rel=0, abs=NLL_PRECISION)


@pytest.mark.parametrize("surface", ["hooked", "bridge"])
def test_mean_nll_equals_the_released_codes(surface: str) -> None:
    skip_without_hooked(surface)
    golden = json.loads((GOLDEN / "golden.json").read_text())["target_nll"]
    model = as_surface(load_model(GOLDEN / "model", surface))
    for prefix, expected in zip(golden["prefixes"], golden["mean_nll_per_token"], strict=True):
        for name in ("target_new", "target_true"):
            (found,) = mean_nll(model, [(prefix, golden[name])], prepend_bos=False)
            # Both compute in single precision.
            assert found == pytest.approx(expected[name], rel=0, abs=2e-5)


def test_no_questions_have_no_answers_and_an_empty_target_is_refused(gpt2: Any) -> None:
    assert mean_nll(as_surface(gpt2), []) == []
    with pytest.raises(FactError, match="answer is empty"):
        mean_nll(as_surface(gpt2), [("Rome is", " ")])


def test_measuring_leaves_the_model_alone(gpt2: Any) -> None:
    with assert_untouched(gpt2):
        mean_nll(as_surface(gpt2), QUESTIONS)
