"""Edits are values: they can be scaled and added where that means something."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from lens_rome.editing import Edit, LowRankDelta
from lens_rome.errors import EditError, EditMismatchError
from lens_rome.surface import as_surface
from tests.editing.support import DISABLING, LAYER, NO_PROBE, OTHER_REQUEST, dense, quick_edit
from tests.helpers import Case

pytestmark = [pytest.mark.filterwarnings(NO_PROBE), pytest.mark.filterwarnings(DISABLING)]


def edited_weight(model: Any, edit: Edit, layer: int = LAYER) -> torch.Tensor:
    with edit.applied(model):
        return as_surface(model).weight(layer).detach().clone()


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, -2.0])
def test_a_scaled_edit_changes_the_weight_by_that_multiple(gpt2: Any, factor: float) -> None:
    edit, weight = quick_edit(gpt2), as_surface(gpt2).weight(LAYER).detach().clone()
    expected = weight + factor * dense(edit)
    torch.testing.assert_close(edited_weight(gpt2, edit.scaled(factor)), expected, rtol=0, atol=1e-12)
    ((change, share),) = edit.scaled(factor).norms().values()
    assert change == pytest.approx(abs(factor) * float(dense(edit).norm()), rel=1e-9)
    assert share == pytest.approx(change / float(weight.norm()), rel=1e-9)


def test_scaling_twice_is_recorded_as_the_product(gpt2: Any) -> None:
    assert quick_edit(gpt2).scaled(0.5).scaled(3.0).provenance["scaled"] == 1.5


def test_the_sum_of_edits_of_the_same_weights_changes_them_by_both(gpt2: Any) -> None:
    first, second = quick_edit(gpt2), quick_edit(gpt2, OTHER_REQUEST)
    weight = as_surface(gpt2).weight(LAYER).detach().clone()
    total = first + second
    torch.testing.assert_close(edited_weight(gpt2, total), weight + dense(first) + dense(second), rtol=0, atol=1e-12)
    torch.testing.assert_close(dense(second + first), dense(total), rtol=0, atol=1e-12)
    assert total.rank == 2 and total.bases[LAYER, "W_out"].after is None
    assert total.norms()[LAYER, "W_out"][0] == pytest.approx(float(dense(total).norm()), rel=1e-9)


def test_the_sum_of_edits_made_one_after_the_other_is_both_in_order(gpt2: Any) -> None:
    first = quick_edit(gpt2)
    with first.applied(gpt2):
        second = quick_edit(gpt2, OTHER_REQUEST)
        with second.applied(gpt2):
            expected = as_surface(gpt2).weight(LAYER).detach().clone()
    total = first + second
    torch.testing.assert_close(edited_weight(gpt2, total), expected, rtol=0, atol=1e-12)
    with pytest.raises(EditMismatchError):
        second + first


def test_a_chain_of_three_can_be_added_link_by_link(gpt2: Any) -> None:
    first = quick_edit(gpt2)
    with first.applied(gpt2):
        second = quick_edit(gpt2, OTHER_REQUEST)
        with second.applied(gpt2):
            third = quick_edit(gpt2)
            with third.applied(gpt2):
                expected = as_surface(gpt2).weight(LAYER).detach().clone()
    torch.testing.assert_close(edited_weight(gpt2, first + second + third), expected, rtol=0, atol=1e-12)


def test_the_sum_of_edits_of_different_layers_changes_both(gpt2: Any) -> None:
    low, high = quick_edit(gpt2, layer=0), quick_edit(gpt2, layer=2)
    total = low + high
    assert set(total.deltas) == {(0, "W_out"), (2, "W_out")}
    for edit, layer in ((low, 0), (high, 2)):
        assert torch.equal(edited_weight(gpt2, total, layer), edited_weight(gpt2, edit, layer))


def test_edits_of_different_weights_cannot_be_added(gpt2: Any, shared_model: Any, gpt2_case: Case) -> None:
    processed = quick_edit(shared_model(replace(gpt2_case, processed=True)))
    with pytest.raises(EditMismatchError, match="Make both for the same model"):
        quick_edit(gpt2) + processed


def test_changes_of_different_shapes_cannot_be_added() -> None:
    with pytest.raises(EditError, match="cannot be added"):
        LowRankDelta(torch.ones(4, 1), torch.ones(1, 3)) + LowRankDelta(torch.ones(5, 1), torch.ones(1, 3))


def test_an_edit_prints_what_it_does(gpt2: Any) -> None:
    edit = quick_edit(gpt2)
    for text in ("ROME, rank 1", "Steve Jobs was the founder of → French piano", "layer 1 W_out: norm"):
        assert text in repr(edit)
    assert "rank 2" in repr(edit + edit)
