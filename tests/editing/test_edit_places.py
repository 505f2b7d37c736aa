"""Edits of any parameter, dense, of rows or low-rank: applied, added, scaled, saved and refused like those of W_out."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lens_rome.editing import Delta, DenseDelta, Edit, LowRankDelta, RowsDelta
from lens_rome.editing.delta import Place
from lens_rome.errors import EditError, EditMismatchError
from lens_rome.surface import as_surface
from tests.helpers import VOCAB, Case, assert_untouched

TOKENS = torch.tensor([[5, 17, 300, 41, 99, 7]])
PLACES: tuple[Place, ...] = ((0, "W_in"), (1, "b_in"), (1, "W_out"), (2, "b_out"), (-1, "W_E"))


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def low_rank(model: Any, place: Place, seed: int = 0) -> LowRankDelta:
    d_in, d_out = as_surface(model).parameter(*place).shape
    return LowRankDelta(normal(d_in, 2, seed=seed), normal(2, d_out, seed=seed + 1))


def changes(model: Any, seed: int = 0) -> dict[Place, Delta]:
    """One change of each kind, at five places."""
    surface = as_surface(model)
    return {
        (0, "W_in"): low_rank(model, (0, "W_in"), seed),
        (1, "b_in"): DenseDelta(normal(surface.d_mlp, seed=seed + 2)),
        (1, "W_out"): DenseDelta(normal(surface.d_mlp, 32, seed=seed + 3)),
        (2, "b_out"): DenseDelta(normal(32, seed=seed + 4)),
        (-1, "W_E"): RowsDelta(torch.tensor([7, 17 + seed, 300]), normal(3, 32, seed=seed + 5), VOCAB),
    }


def every_kind(model: Any, seed: int = 0) -> Edit:
    keys = {1: normal(2, as_surface(model).d_mlp, seed=seed)}
    return Edit.made_for(as_surface(model), changes(model, seed), {"editor": "made up", "model": "tiny"}, keys)


def parameters(model: Any) -> dict[Place, torch.Tensor]:
    return {place: as_surface(model).parameter(*place).detach().clone() for place in PLACES}


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model(TOKENS)


@pytest.mark.parametrize("architecture", ["gpt2", "neox"])
@pytest.mark.parametrize("surface", ["hooked", "bridge"])
def test_every_kind_of_change_is_applied_and_taken_back_bit_for_bit(
    shared_model: Any, architecture: str, surface: str
) -> None:
    model = shared_model(Case(architecture, surface))
    edit, before = every_kind(model), parameters(model)
    plain = logits(model)
    with assert_untouched(model):
        with edit.applied(model):
            inside = parameters(model)
            assert (logits(model) - plain).abs().max() > 1e-3
        applied = edit.apply_(model)
        applied.revert()
    for place, delta in edit.deltas.items():
        assert torch.equal(inside[place], before[place] + delta.dense()), place
    assert torch.equal(logits(model), plain)


def test_a_change_of_only_rows_touches_only_these(gpt2: Any) -> None:
    edit = Edit.made_for(as_surface(gpt2), {(-1, "W_E"): changes(gpt2)[-1, "W_E"]}, {})
    before = parameters(gpt2)[-1, "W_E"]
    with edit.applied(gpt2):
        changed = (parameters(gpt2)[-1, "W_E"] != before).any(1)
    assert changed.nonzero().flatten().tolist() == [7, 17, 300]


def test_sums_and_multiples_change_every_place_by_sum_and_multiple(gpt2: Any) -> None:
    first, second, before = every_kind(gpt2), every_kind(gpt2, seed=1), parameters(gpt2)
    total = first + second.scaled(-2)
    with total.applied(gpt2):
        found = parameters(gpt2)
    for place in PLACES:
        expected = before[place] + first.deltas[place].dense() - 2 * second.deltas[place].dense()
        torch.testing.assert_close(found[place], expected, rtol=0, atol=1e-14)
    assert [total.deltas[place].kind for place in PLACES] == ["lowrank", "dense", "dense", "dense", "rows"]


def test_a_dense_change_made_on_top_of_a_low_rank_one_is_added_as_a_dense_one(gpt2: Any) -> None:
    place, before = (0, "W_in"), parameters(gpt2)[0, "W_in"]
    first = Edit.made_for(as_surface(gpt2), {place: low_rank(gpt2, place)}, {})
    with first.applied(gpt2):
        second = Edit.made_for(as_surface(gpt2), {place: DenseDelta(normal(*before.shape))}, {})
        with second.applied(gpt2):
            expected = parameters(gpt2)[place]
    with (first + second).applied(gpt2):
        torch.testing.assert_close(parameters(gpt2)[place], expected, rtol=0, atol=1e-14)
    assert isinstance((first + second).deltas[place], DenseDelta)


def test_every_kind_of_change_and_the_keys_survive_the_file(gpt2: Any, tmp_path: Path) -> None:
    edit = every_kind(gpt2) + every_kind(gpt2, seed=1)
    again = Edit.load(edit.save(tmp_path / "edit.safetensors"))
    assert again.bases == edit.bases and again.deltas.keys() == edit.deltas.keys() and repr(again) == repr(edit)
    for place, delta in edit.deltas.items():
        assert type(again.deltas[place]) is type(delta)
        assert torch.equal(again.deltas[place].dense(), delta.dense())
    assert again.keys.keys() == edit.keys.keys() and torch.equal(again.keys[1], edit.keys[1])


def test_keys_are_listed_one_after_the_other_in_sums_and_kept_in_multiples(gpt2: Any) -> None:
    surface = as_surface(gpt2)
    first, second = every_kind(gpt2), every_kind(gpt2, seed=1)
    elsewhere = Edit.made_for(surface, {(2, "W_in"): low_rank(gpt2, (2, "W_in"))}, {}, {2: normal(1, surface.d_mlp)})
    total = first + second.scaled(0.5) + elsewhere
    assert torch.equal(total.keys[1], torch.cat([first.keys[1], second.keys[1]]))
    assert torch.equal(total.keys[2], elsewhere.keys[2])
    assert total.fitted(gpt2).keys == total.keys
    assert Edit.made_for(surface, {}, {}).keys == {}


def test_the_print_tells_kinds_and_places(gpt2: Any) -> None:
    text = repr(every_kind(gpt2))
    assert text.startswith("Edit(made up, rank 2, 3 rows, 3 dense, model 'tiny')")
    for line in ("  layer 0 W_in: norm ", "  layer 2 b_out: norm ", "  W_E: norm "):
        assert line in text


def test_the_share_of_a_bias_of_zeros_is_infinite_and_not_an_error(shared_model: Any) -> None:
    model = shared_model(Case("llama", "hooked"))
    edit = Edit.made_for(as_surface(model), {(1, "b_out"): DenseDelta(torch.ones(32))}, {})
    assert edit.norms()[1, "b_out"][1] == float("inf") and "inf%" in repr(edit)


def test_applying_twice_and_reverting_out_of_order_name_the_place(gpt2: Any) -> None:
    place = (-1, "W_E")
    edit = Edit.made_for(as_surface(gpt2), {place: changes(gpt2)[place]}, {})
    with assert_untouched(gpt2), edit.applied(gpt2):
        with pytest.raises(EditMismatchError, match=r"already in this model's W_E\."):
            edit.apply_(gpt2)
        later = Edit.made_for(as_surface(gpt2), {place: changes(gpt2, seed=1)[place]}, {})
        first = later.apply_(gpt2)
        second = Edit.made_for(as_surface(gpt2), {place: changes(gpt2)[place]}, {}).apply_(gpt2)
        with pytest.raises(EditMismatchError, match="W_E has changed since this edit was applied"):
            first.revert()
        second.revert()
        first.revert()


def test_a_parameter_that_the_model_lacks_is_refused_and_nothing_is_written(shared_model: Any) -> None:
    hooked, bridge = (shared_model(Case("llama", surface)) for surface in ("hooked", "bridge"))
    edit = Edit.made_for(as_surface(hooked), {(1, "b_out"): DenseDelta(torch.ones(32))}, {})
    with assert_untouched(bridge), pytest.raises(EditMismatchError, match=r"changes b_out of layer 1, but .*no live"):
        edit.apply_(bridge)


def test_two_names_of_one_tensor_cannot_both_be_changed(shared_model: Any) -> None:
    """GPT-2's unembedding is its embedding; a HookedTransformer has a copy, the bridge the tensor itself."""
    surface = as_surface(shared_model(Case("gpt2", "bridge")))
    both = {(-1, "W_E"): DenseDelta(torch.ones(VOCAB, 32)), (-1, "W_U"): DenseDelta(torch.ones(32, VOCAB))}
    with pytest.raises(EditError, match="W_E and W_U are one tensor in this model"):
        Edit.made_for(surface, both, {})


def test_dense_changes_and_those_of_rows_have_no_hook_form(gpt2: Any) -> None:
    for place, text in (((1, "W_out"), "a dense change of W_out"), ((-1, "W_E"), "a rows change of W_E")):
        edit = Edit.made_for(as_surface(gpt2), {place: changes(gpt2)[place]}, {})
        with pytest.raises(EditError, match=rf"{text} has no hook form; use applied\(model\)"):
            edit.hooks(gpt2)
