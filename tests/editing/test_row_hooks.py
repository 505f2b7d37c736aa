"""Every row of a batch runs as the model with its own edit."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from lens_rome.editing import Edit, row_hooks
from lens_rome.editing.row_hooks import _row_products, rows_hooked
from lens_rome.errors import EditError, EditMismatchError
from lens_rome.surface import as_surface, owner_hooks
from tests.evaluation.support import bias, dense, embedding_row, inner, lowrank, made, rank_one, several_layers
from tests.helpers import Case, assert_untouched

TOKENS = torch.tensor([[5, 17, 300, 41], [8, 8, 120, 3], [1, 2, 3, 4], [5, 17, 300, 41], [9, 9, 60, 2], [7, 6, 5, 4]])
OWNERS = torch.tensor([0, -1, 2, 1, 3, 0])


@torch.no_grad()
def logits(model: Any, tokens: torch.Tensor = TOKENS) -> torch.Tensor:
    return model(tokens)


def edits_of(model: Any) -> list[Edit]:
    return [rank_one(model, 1), rank_one(model, 2, 4), several_layers(model, 7), inner(model, 9)]


def by_loop(model: Any, edits: Sequence[Edit], owners: torch.Tensor) -> torch.Tensor:
    """Row by row with the edit in the weights."""
    rows = []
    for tokens, owner in zip(TOKENS, owners.tolist(), strict=True):
        if owner == -1:
            rows.append(logits(model, tokens[None]))
        else:
            with edits[owner].applied(model):
                rows.append(logits(model, tokens[None]))
    return torch.cat(rows)


def test_each_row_runs_as_the_model_with_its_own_edit_in_the_weights(raw_model: Any, raw_case: Case) -> None:
    surface, edits = as_surface(raw_model), edits_of(raw_model)
    expected = by_loop(raw_model, edits, OWNERS)
    with assert_untouched(raw_model):
        with torch.no_grad():
            found = raw_model.run_with_hooks(TOKENS, fwd_hooks=row_hooks(surface, edits, OWNERS))
        with rows_hooked(surface, edits, OWNERS):
            assert owner_hooks(raw_model) == []
            hooked = logits(raw_model)
    # Logits are about ten times as large as the probabilities that the tolerance is meant for.
    for each in (found, hooked):
        torch.testing.assert_close(each, expected, rtol=0, atol=10 * raw_case.tolerance)
    plain = logits(raw_model)
    changed = (expected - plain).abs().amax((1, 2)) > 1e3 * raw_case.tolerance
    assert changed.tolist() == [True, False, True, True, True, True]


def test_rows_of_the_unedited_model_and_of_an_edit_of_nothing_are_as_without_hooks(gpt2: Any) -> None:
    surface, nothing = as_surface(gpt2), rank_one(gpt2, 1).scaled(0)
    with rows_hooked(surface, [rank_one(gpt2, 1), nothing], torch.tensor([0, -1, 1, -1, 1, 0])):
        found = logits(gpt2)
    assert torch.equal(found[1:5], logits(gpt2)[1:5])


@pytest.mark.parametrize("ranks", [(1, 2, 3), (40, 1, 50)], ids=["all columns for all rows", "factors of each row"])
def test_products_of_each_rows_own_factors_equal_a_loop(gpt2: Any, ranks: tuple[int, ...]) -> None:
    weight = as_surface(gpt2).weight(1)
    deltas = [lowrank(gpt2, (1, "W_out"), rank, i) for i, rank in enumerate(ranks)]
    index = torch.tensor([2, -1, 0, 1, 1])
    key = torch.randn(5, 3, len(weight), dtype=torch.float64)
    expected = torch.stack(
        [x @ deltas[i].dense() if i >= 0 else 0 * x @ weight for x, i in zip(key, index, strict=True)]
    )
    torch.testing.assert_close(_row_products(deltas, index, weight)(key), expected, rtol=0, atol=1e-11)


def test_a_row_does_not_hear_of_factors_that_overflow_in_another(gpt2: Any) -> None:
    weight = as_surface(gpt2).weight(1)
    huge, small = (lowrank(gpt2, (1, "W_out"), 1, seed, size) for seed, size in ((0, 1e306), (1, 0.1)))
    key = torch.full((2, 1, len(weight)), 1e4, dtype=torch.float64)
    found = _row_products([huge, small], torch.tensor([0, 1]), weight)(key)
    assert not found[0].isfinite().all()
    torch.testing.assert_close(found[1], key[1] @ small.dense())


def halve(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
    return activation.sin() * 0.5


def test_the_order_among_hooks_of_the_models_owner_is_kept(gpt2: Any, gpt2_case: Case) -> None:
    edits = edits_of(gpt2)
    owners = [("blocks.1.mlp.hook_post", halve), ("blocks.1.hook_mlp_out", halve), ("blocks.2.hook_mlp_out", halve)]
    with gpt2.hooks(fwd_hooks=owners):
        expected = by_loop(gpt2, edits, OWNERS)
        with assert_untouched(gpt2), rows_hooked(as_surface(gpt2), edits, OWNERS):
            found = logits(gpt2)
    torch.testing.assert_close(found, expected, rtol=0, atol=10 * gpt2_case.tolerance)


def test_hooks_are_taken_away_after_an_exception(gpt2: Any) -> None:
    with assert_untouched(gpt2), pytest.raises(RuntimeError), rows_hooked(as_surface(gpt2), edits_of(gpt2), OWNERS):
        raise RuntimeError


def test_what_cannot_be_hooked_is_refused(gpt2: Any, shared_model: Any, gpt2_case: Case) -> None:
    surface, one = as_surface(gpt2), torch.tensor([0])
    for edit in (dense(gpt2), embedding_row(gpt2)):
        with pytest.raises(EditError, match="has no hook form; use applied"):
            row_hooks(surface, [edit], one)
    other = shared_model(Case("gpt2", gpt2_case.surface, True))
    with pytest.raises(EditMismatchError, match="not the one this edit was made for"):
        row_hooks(as_surface(other), [rank_one(gpt2, 1)], one)
    for owner in (1, -2):
        with pytest.raises(EditError, match="-1 is the unedited model"):
            row_hooks(surface, [rank_one(gpt2, 1)], torch.tensor([owner]))
    for edit in (rank_one(gpt2, 1), made(gpt2, {(2, "b_out"): bias(gpt2, (2, "b_out"))})):
        with pytest.raises(EditError, match="Give every row an owner"):
            gpt2.run_with_hooks(TOKENS, fwd_hooks=row_hooks(surface, [edit], one))


def test_a_bias_alone_is_hooked(gpt2: Any, gpt2_case: Case) -> None:
    edits = [made(gpt2, {(2, "b_in"): bias(gpt2, (2, "b_in"), seed)}) for seed in (1, 2)]
    owners = torch.tensor([0, 1, -1, 1, 0, 0])
    with rows_hooked(as_surface(gpt2), edits, owners):
        found = logits(gpt2)
    torch.testing.assert_close(found, by_loop(gpt2, edits, owners), rtol=0, atol=10 * gpt2_case.tolerance)
