"""A run that has only embedded its tokens can be resumed from position 0; ids of many texts are those of each."""

from typing import Any

import pytest
import torch

from lens_rome.errors import SurfaceError
from lens_rome.surface import as_surface
from tests.helpers import VOCAB, Case


@torch.no_grad()
def test_blocks_of_a_fresh_run_give_the_logits_of_a_whole_run(
    any_model: Any, any_case: Case, rng: torch.Generator
) -> None:
    surface, tokens = as_surface(any_model), torch.randint(0, VOCAB, (3, 6), generator=rng)
    base = surface.fresh_run(tokens)
    resid = surface.resume(base, 0, base.resid[0], 0)
    expected = any_model(tokens)
    torch.testing.assert_close(surface.logits(resid), expected, rtol=0, atol=10 * any_case.tolerance)
    # More rows than the run has, and the end of the last block alone.
    index = torch.tensor([2, 0, 2, 1])
    last, chosen = surface.n_layers - 1, base.select(index)
    resid = base.resid[0][index]
    for layer in range(last):
        resid = surface.block(chosen, layer, resid, 0)
    found = surface.logits(surface.last_block(chosen, resid, 0, 4))
    torch.testing.assert_close(found, expected[index][:, 4:], rtol=0, atol=10 * any_case.tolerance)


@pytest.mark.parametrize("prepend_bos", [True, False, None])
def test_ids_of_many_texts_are_those_of_each(gpt2: Any, prepend_bos: bool | None) -> None:
    surface, texts = as_surface(gpt2), ["Steve Jobs", "The café is in ROME.", "E"]
    assert surface.encode_ids(texts, prepend_bos) == [surface.encode(text, prepend_bos).ids for text in texts]
    assert surface.encode_ids([], prepend_bos) == []


def test_texts_without_tokens_or_with_too_many_are_refused(gpt2: Any) -> None:
    surface = as_surface(gpt2)
    with pytest.raises(SurfaceError, match="has no tokens"):
        surface.encode_ids(["Rome", ""], False)
    with pytest.raises(SurfaceError, match="context holds 64"):
        surface.encode_ids(["Rome", "It was a quiet day in the winter. " * 20])
