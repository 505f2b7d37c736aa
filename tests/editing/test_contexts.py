"""Context prefixes that a model writes itself."""

from types import SimpleNamespace
from typing import Any

import pytest

from lens_rome.errors import FactError
from lens_rome.facts import sample_contexts
from lens_rome.surface import as_surface
from tests.helpers import Case, assert_untouched


def test_the_same_seed_gives_the_same_twenty_one_contexts_and_another_gives_others(gpt2: Any) -> None:
    surface = as_surface(gpt2)
    contexts = sample_contexts(surface)
    assert len(contexts) == 21 and contexts[0] == ""
    assert contexts == sample_contexts(surface, seed=0) != sample_contexts(surface, seed=1)
    assert len(set(contexts)) > 10


def test_contexts_end_a_sentence_and_hold_no_braces_or_line_breaks(gpt2: Any) -> None:
    for seed in range(2):
        for context in sample_contexts(as_surface(gpt2), seed=seed)[1:]:
            assert context.endswith(". ") and not set(context) & set("{}\n")


def test_what_the_model_writes_becomes_one_plain_line(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpt2.tokenizer, "decode", lambda *_, **__: " the {b}\n\n of\N{LATIN SMALL LIGATURE FI}ce")
    assert sample_contexts(as_surface(gpt2), ((2, 1),)) == ("", "the b office. ")


def test_lengths_count_the_start_token(gpt2: Any) -> None:
    (_, context) = sample_contexts(as_surface(gpt2), ((2, 1),))
    one_token = context.removesuffix(". ")
    assert one_token.strip() in {gpt2.tokenizer.decode([i]).strip() for i in range(gpt2.cfg.d_vocab)}


def test_both_surfaces_write_the_same_contexts(shared_model: Any) -> None:
    hooked, bridge = (as_surface(shared_model(Case("neox", surface))) for surface in ("hooked", "bridge"))
    assert sample_contexts(hooked) == sample_contexts(bridge)


def test_sampling_leaves_the_model_alone(gpt2: Any) -> None:
    with assert_untouched(gpt2):
        sample_contexts(as_surface(gpt2), ((3, 2),))


def test_a_tokenizer_without_a_start_token_is_refused(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    without = SimpleNamespace(bos_token_id=None, eos_token_id=None)
    monkeypatch.setattr(type(as_surface(gpt2)), "tokenizer", without)
    with pytest.raises(FactError, match=r"pass contexts=\('', \.\.\.\)"):
        sample_contexts(as_surface(gpt2))
