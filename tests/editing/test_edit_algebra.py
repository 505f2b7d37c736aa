"""Edits are values: they can be scaled and added where that means something."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lens_rome.editing import Edit, LowRankDelta
from lens_rome.editing.fingerprint import fingerprint
from lens_rome.errors import EditError, EditMismatchError
from lens_rome.facts import EditRequest
from lens_rome.surface import as_surface
from tests.editing.support import (
    DISABLING,
    LAYER,
    NO_PROBE,
    OTHER_REQUEST,
    dense,
    quick_edit,
    quick_rome,
    quick_rrome,
    random_moment,
)
from tests.helpers import Case, assert_untouched

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


def requests(count: int) -> list[EditRequest]:
    """So many requests about different subjects."""
    names = ("Steve Jobs", "Danielle Darrieux", "Rome", "Eiffel Tower", "Catalonia")
    return [EditRequest(name, "The mother of {} is", "Spanish") for name in names[:count]]


@pytest.mark.parametrize("count", [3, 5])
def test_many_requests_in_one_edit_are_the_edits_made_one_after_another(
    gpt2: Any, gpt2_case: Case, tmp_path: Path, count: int
) -> None:
    moment, weight = random_moment(gpt2), as_surface(gpt2).weight(LAYER).detach().clone()
    with assert_untouched(gpt2):
        total = quick_rome().edit(gpt2, requests(count), moments=moment)
        with ExitStack() as stack:
            for request in requests(count):
                stack.enter_context(quick_rome().edit(gpt2, request, moments=moment).applied(gpt2))
            expected = as_surface(gpt2).weight(LAYER).detach().clone()
    scale = 1e3 * gpt2_case.tolerance * float((expected - weight).norm())
    torch.testing.assert_close(edited_weight(gpt2, total), expected, rtol=0, atol=scale)
    assert total.rank == len(total.provenance["requests"]) == count
    again = Edit.load(total.save(tmp_path / "many"))
    assert again.bases == total.bases and torch.equal(edited_weight(gpt2, again), edited_weight(gpt2, total))
    with again.applied(gpt2), pytest.raises(EditMismatchError, match="already in this model's W_out"):
        total.apply_(gpt2)


def test_a_single_precision_model_takes_three_requests_in_one_edit(shared_model: Any, gpt2_case: Case) -> None:
    model = shared_model(replace(gpt2_case, dtype=torch.float32))
    total = quick_rome().edit(model, requests(3), moments=random_moment(model))
    with total.applied(model):
        assert fingerprint(as_surface(model).weight(LAYER)) == total.bases[LAYER, "W_out"].after


def test_an_edit_made_with_a_sum_in_place_is_added_to_the_fitted_sum(gpt2: Any) -> None:
    parts = [quick_edit(gpt2, request) for request in requests(2)]
    total = parts[0] + parts[1]
    with total.applied(gpt2):
        third = quick_edit(gpt2, requests(3)[2])
        with third.applied(gpt2):
            expected = as_surface(gpt2).weight(LAYER).detach().clone()
    with pytest.raises(EditMismatchError, match=r"Make both for the same model, or, .* first\.fitted\(model\)"):
        total + third
    with total.applied(gpt2), pytest.raises(EditMismatchError, match="or an edit in place, this one included"):
        total.apply_(gpt2)
    fitted = total.fitted(gpt2)
    torch.testing.assert_close(edited_weight(gpt2, fitted + third), expected, rtol=0, atol=1e-12)
    with total.applied(gpt2):
        with pytest.raises(EditMismatchError, match="already in this model's"):
            fitted.apply_(gpt2)
        with pytest.raises(EditMismatchError, match="not the one this edit was made for"):
            total.fitted(gpt2)


def test_a_sum_in_sequence_is_recognised_where_its_parts_are_in_place_one_by_one(gpt2: Any, tmp_path: Path) -> None:
    first = quick_edit(gpt2)
    with first.applied(gpt2):
        second = quick_edit(gpt2, OTHER_REQUEST)
    total = first + second
    assert total.bases[LAYER, "W_out"].after is None  # one rounding instead of two leaves another weight
    again = Edit.load(total.save(tmp_path / "sum"))
    with first.applied(gpt2), second.applied(gpt2):
        third = quick_edit(gpt2, requests(3)[2])
        for edit in (total, again):
            with pytest.raises(EditMismatchError, match="already in this model's"):
                edit.apply_(gpt2)
    for edit in (total, again):
        assert (edit + third).rank == 3


def test_three_edits_of_one_base_can_be_added_in_any_grouping(gpt2: Any) -> None:
    a, b, c = (quick_edit(gpt2, request) for request in requests(3))
    expected = as_surface(gpt2).weight(LAYER).detach() + dense(a) + dense(b) + dense(c)
    for total in ((a + b) + c, a + (b + c)):
        torch.testing.assert_close(edited_weight(gpt2, total), expected, rtol=0, atol=1e-12)


def test_three_edits_in_sequence_can_be_added_in_any_grouping(gpt2: Any) -> None:
    with ExitStack() as stack:
        parts = []
        for request in requests(3):
            parts.append(quick_edit(gpt2, request))
            stack.enter_context(parts[-1].applied(gpt2))
        expected = as_surface(gpt2).weight(LAYER).detach().clone()
    a, b, c = parts
    for total in ((a + b) + c, a + (b + c)):
        torch.testing.assert_close(edited_weight(gpt2, total), expected, rtol=0, atol=1e-12)


def test_a_sum_tells_its_parts_and_a_scaled_edit_its_factor(gpt2: Any) -> None:
    first, second = quick_edit(gpt2), quick_rrome().edit(gpt2, OTHER_REQUEST, moments=random_moment(gpt2))
    total = first.scaled(0.5) + second + first
    assert [request["subject"] for request in total.provenance["requests"]] == [
        "Steve Jobs",
        "Danielle Darrieux",
        "Steve Jobs",
    ]
    assert [part["editor"] for part in total.provenance["sum"]] == ["ROME", "R-ROME", "ROME"]
    assert total.provenance["prepend_bos"] == first.provenance["prepend_bos"]
    for text in ("0.5 × ROME + R-ROME + ROME, rank 3", "French piano", "Spanish"):
        assert text in repr(total)
    bare = quick_rome(bare=True).edit(gpt2, OTHER_REQUEST, moments=random_moment(gpt2))
    assert bare.provenance["editor"] == "p-ROME" and "Edit(p-ROME, rank 1" in repr(bare)
    assert "-2 × ROME, rank 1" in repr(first.scaled(4).scaled(-0.5))
    assert "2 × (0.5 × ROME + R-ROME + ROME)" in repr(total.scaled(2))


def test_what_was_measured_of_an_edit_is_not_told_of_a_multiple_of_it(gpt2: Any) -> None:
    edit = quick_edit(gpt2)
    half = edit.scaled(0.5)
    assert "diagnostics" not in half.provenance
    assert half.provenance["unscaled_diagnostics"] == edit.provenance["diagnostics"]
    assert edit.scaled(1).provenance["diagnostics"] == edit.provenance["diagnostics"]


def test_a_change_is_readable_with_the_tools_of_transformer_lens(gpt2: Any) -> None:
    delta = (quick_edit(gpt2) + quick_edit(gpt2, OTHER_REQUEST)).deltas[LAYER, "W_out"]
    factored = delta.factored()
    torch.testing.assert_close(factored.AB, delta.dense(), rtol=0, atol=0)
    assert float(factored.S[..., :2].norm()) == pytest.approx(delta.norm(), rel=1e-9)
