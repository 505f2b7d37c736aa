"""An edit in a model's weights: what it does there, and that everything comes back bit for bit."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError

from lens_rome.editing import Edit, LowRankDelta
from lens_rome.errors import EditError, EditMismatchError, SurfaceError
from lens_rome.surface import as_surface
from tests.editing.support import DISABLING, LAYER, NO_PROBE, OTHER_REQUEST, dense, quick_edit
from tests.helpers import Case, assert_untouched

pytestmark = [pytest.mark.filterwarnings(NO_PROBE), pytest.mark.filterwarnings(DISABLING)]

TOKENS = torch.tensor([[5, 17, 300, 41, 99, 7], [8, 8, 120, 3, 55, 60]])


def weight_of(model: Any, layer: int = LAYER) -> torch.Tensor:
    return as_surface(model).weight(layer).detach().clone()


def test_applied_adds_the_change_and_restores_every_bit(any_model: Any, any_case: Case) -> None:
    edit, before = quick_edit(any_model), weight_of(any_model)
    plain = any_model(TOKENS).detach()
    with assert_untouched(any_model), edit.applied(any_model) as inside:
        assert inside is any_model
        expected = (before.double() + dense(edit)).to(before.dtype)
        assert torch.equal(weight_of(any_model), expected)
        assert (any_model(TOKENS).detach() - plain).abs().max() > 1e3 * any_case.tolerance
    assert torch.equal(any_model(TOKENS).detach(), plain)


def test_applied_restores_every_bit_after_an_exception(gpt2: Any) -> None:
    edit = quick_edit(gpt2)
    for error in (RuntimeError, KeyboardInterrupt):
        with assert_untouched(gpt2), pytest.raises(error), edit.applied(gpt2):
            raise error


def test_a_weight_that_subtraction_would_not_restore_is_restored(fresh_model: Any, gpt2_case: Case) -> None:
    model = fresh_model(replace(gpt2_case, dtype=torch.float32))
    with torch.no_grad():
        as_surface(model).weight(LAYER)[0, :3] = torch.tensor([1e-30, -0.0, 3e-39])
    edit = quick_edit(model)
    with assert_untouched(model), edit.applied(model):
        pass


def test_edits_nest_in_the_order_in_which_they_were_made(gpt2: Any) -> None:
    first = quick_edit(gpt2)
    with assert_untouched(gpt2), first.applied(gpt2):
        between = weight_of(gpt2)
        second = quick_edit(gpt2, OTHER_REQUEST)
        with second.applied(gpt2):
            assert torch.equal(weight_of(gpt2), second.deltas[LAYER, "W_out"].added_to(between))
        assert torch.equal(weight_of(gpt2), between)
    with pytest.raises(EditMismatchError, match="Load the model as it was then"), second.applied(gpt2):
        pass


def test_edits_of_different_layers_can_be_reverted_in_any_order(gpt2: Any) -> None:
    low, high = quick_edit(gpt2, layer=0), quick_edit(gpt2, layer=2)
    with assert_untouched(gpt2):
        first, second = low.apply_(gpt2), high.apply_(gpt2)
        first.revert()
        second.revert()


def test_apply_and_revert_restore_every_bit_and_reverting_twice_is_harmless(gpt2: Any) -> None:
    edit, before = quick_edit(gpt2), weight_of(gpt2)
    with assert_untouched(gpt2):
        applied = edit.apply_(gpt2)
        assert not torch.equal(weight_of(gpt2), before)
        applied.revert()
        applied.revert()
        applied.restore()


def test_an_applied_edit_is_refused_a_second_time(gpt2: Any) -> None:
    edit = quick_edit(gpt2)
    with edit.applied(gpt2):
        inside = weight_of(gpt2)
        for use in (edit.apply_, edit.hooks):
            with pytest.raises(EditMismatchError, match=r"already in this model's W_out of layer 1. Revert it first"):
                use(gpt2)
        assert torch.equal(weight_of(gpt2), inside)


def test_reverting_out_of_order_is_refused_and_changes_nothing(gpt2: Any) -> None:
    with assert_untouched(gpt2):
        first = quick_edit(gpt2).apply_(gpt2)
        second = quick_edit(gpt2, OTHER_REQUEST).apply_(gpt2)
        inside = weight_of(gpt2)
        with pytest.raises(EditMismatchError, match="Revert later edits first, in reverse order"):
            first.revert()
        assert torch.equal(weight_of(gpt2), inside)
        second.revert()
        first.revert()


def test_a_model_with_other_weights_is_refused(fresh_model: Any, gpt2_case: Case) -> None:
    model = fresh_model(gpt2_case)
    edit = quick_edit(model)
    with torch.no_grad():
        as_surface(model).weight(LAYER)[3, 4] += 1e-12
    with assert_untouched(model), pytest.raises(EditMismatchError, match="not the one this edit was made for"):
        edit.apply_(model)


def test_the_same_model_with_processed_weights_is_refused(shared_model: Any, gpt2_case: Case) -> None:
    edit = quick_edit(shared_model(gpt2_case))
    with pytest.raises(EditMismatchError, match=r"processing \(fold_ln, centring\)"):
        edit.apply_(shared_model(replace(gpt2_case, processed=True)))


def test_the_same_model_in_another_precision_is_refused_by_name(shared_model: Any, gpt2_case: Case) -> None:
    edit = quick_edit(shared_model(gpt2_case))
    with pytest.raises(EditMismatchError, match=r"in float64, this model has float32\. Load .* in float64"):
        edit.apply_(shared_model(replace(gpt2_case, dtype=torch.float32)))


def test_a_model_of_another_shape_or_depth_is_refused(gpt2: Any, shared_model: Any) -> None:
    narrow = shared_model(Case("neox", "bridge"))
    with pytest.raises(EditMismatchError, match=r"of shape \(128, 32\) at layer 1; this model's is \(96, 32\)"):
        quick_edit(gpt2).apply_(narrow)
    deep = Edit({(40, "W_out"): LowRankDelta(torch.ones(2, 1), torch.ones(1, 2))}, {(40, "W_out"): base_of(gpt2)})
    with pytest.raises(EditMismatchError, match="this model has layers 0 to 3"):
        deep.apply_(gpt2)


def base_of(model: Any) -> Any:
    return quick_edit(model).bases[LAYER, "W_out"]


def test_the_same_weights_on_the_other_surface_are_accepted(shared_model: Any) -> None:
    edit = quick_edit(shared_model(Case("gpt2", "bridge")))
    other = shared_model(Case("gpt2", "hooked"))
    with edit.applied(other):
        assert torch.equal(weight_of(other), edit.deltas[LAYER, "W_out"].added_to(weight_of_bridge(shared_model)))


def weight_of_bridge(shared_model: Any) -> torch.Tensor:
    return weight_of(shared_model(Case("gpt2", "bridge")))


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_a_change_that_is_not_finite_is_refused(number: float) -> None:
    with pytest.raises(EditError, match="Lower the learning rate"):
        LowRankDelta(torch.full((4, 1), number), torch.ones(1, 3))
    with pytest.raises(EditError, match="Lower the learning rate"):
        LowRankDelta(torch.ones(4, 1), torch.full((1, 3), number))


def test_factors_that_do_not_multiply_are_refused() -> None:
    # With checked annotations, as in these tests, the shapes are refused even before the package looks at them.
    with pytest.raises((EditError, TypeCheckError), match=r"do not multiply|rank"):
        LowRankDelta(torch.ones(4, 2), torch.ones(1, 3))


def test_an_edit_that_overflows_the_weights_precision_is_refused_before_anything_is_written(
    shared_model: Any, gpt2_case: Case
) -> None:
    model = shared_model(replace(gpt2_case, dtype=torch.float32))
    huge = quick_edit(model).scaled(1e45)
    with assert_untouched(model), pytest.raises(EditError, match=r"not finite in torch.float32. Nothing was written"):
        huge.apply_(model)


def test_deltas_and_bases_must_be_of_the_same_places(gpt2: Any) -> None:
    edit = quick_edit(gpt2)
    with pytest.raises(EditError, match="must be the same"):
        Edit(edit.deltas, {})


def test_an_unknown_parameter_is_refused(gpt2: Any) -> None:
    edit = quick_edit(gpt2)
    other = Edit({(0, "W_new"): edit.deltas[LAYER, "W_out"]}, {(0, "W_new"): edit.bases[LAYER, "W_out"]})
    with pytest.raises(EditMismatchError, match="changes W_new of layer 0, but there is no parameter 'W_new'"):
        other.apply_(gpt2)


def test_flags_and_gradients_stay_as_they_are(fresh_model: Any, gpt2_case: Case) -> None:
    model = fresh_model(gpt2_case)
    edit, weight = quick_edit(model), as_surface(model).weight(LAYER)
    other = as_surface(model).weight(0)
    weight.requires_grad_(False)
    gradient = other.grad = torch.ones_like(other)
    with assert_untouched(model), edit.applied(model):
        assert not weight.requires_grad and not model.training
        model(TOKENS).sum().backward()
    assert weight.grad is None and other.grad is gradient


def test_a_model_in_training_mode_is_refused(fresh_model: Any, gpt2_case: Case) -> None:
    model = fresh_model(gpt2_case)
    edit = quick_edit(model)
    model.train()
    with assert_untouched(model), pytest.raises(SurfaceError, match=r"model\.eval\(\)"):
        edit.apply_(model)
