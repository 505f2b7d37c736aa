"""What writing a change into a weight's precision loses is measured and told."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lens_rome._files import save_tensors
from lens_rome.editing import DenseDelta, Edit, LowRankDelta, RowsDelta
from lens_rome.editing.weights import rounded
from lens_rome.errors import EditMismatchError
from lens_rome.surface import as_surface
from tests.helpers import Case

PLACE = (1, "W_in")


def small_edit(model: Any, size: float) -> Edit:
    left = size * torch.randn(32, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    right = torch.randn(1, 128, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Edit.made_for(as_surface(model), {PLACE: LowRankDelta(left, right)}, {})


def by_hand(model: Any, edit: Edit, dtype: torch.dtype) -> float:
    """From the definition, number by number: the weight as that precision holds it, plus the change, rounded."""
    weight, change = as_surface(model).parameter(*PLACE).detach().to(dtype), edit.deltas[PLACE].dense()
    squares = 0.0
    for row, column in torch.cartesian_prod(torch.arange(32), torch.arange(128)).tolist():
        exact = float(weight[row, column].double() + change[row, column])
        squares += (float(torch.tensor(exact, dtype=torch.float64).to(dtype).double()) - exact) ** 2
    return squares**0.5 / float(change.norm())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_loss_is_the_rounding_error_over_the_change(gpt2: Any, dtype: torch.dtype) -> None:
    edit = small_edit(gpt2, 1e-3)
    assert edit.rounding(gpt2, dtype)[PLACE] == pytest.approx(by_hand(gpt2, edit, dtype), rel=1e-9)


def test_the_loss_grows_as_the_change_and_the_precision_shrink(gpt2: Any) -> None:
    losses = [small_edit(gpt2, 1e-3).rounding(gpt2, dtype)[PLACE] for dtype in (None, torch.float32, torch.bfloat16)]
    assert losses[0] < 1e-12 < losses[1] < 1e-3 < 1e-1 < losses[2]
    assert small_edit(gpt2, 1e-9).rounding(gpt2, torch.bfloat16)[PLACE] == pytest.approx(1, rel=0.01)  # all of it


def test_the_loss_in_the_models_own_precision_is_told_if_it_is_worth_it(shared_model: Any, gpt2_case: Case) -> None:
    exact, single = shared_model(gpt2_case), shared_model(replace(gpt2_case, dtype=torch.float32))
    assert "rounding" not in repr(small_edit(exact, 1e-6)) and "rounding" not in repr(small_edit(single, 1e-2))
    edit = small_edit(single, 1e-7)
    assert edit.bases[PLACE].rounding == edit.rounding(single)[PLACE] > 0.01
    assert f"{edit.rounding(single)[PLACE]:.1%} of it lost by rounding to float32" in repr(edit)


def test_what_is_measured_is_what_is_written(shared_model: Any, gpt2_case: Case) -> None:
    weight = as_surface(shared_model(replace(gpt2_case, dtype=torch.float32))).parameter(*PLACE)
    rows = torch.tensor([3, 5])
    for delta in (DenseDelta(torch.ones(32, 128) / 3), RowsDelta(rows, torch.ones(2, 128) / 3, 32)):
        written, lost = rounded(delta, weight)
        assert torch.equal(written, delta.added_to(weight)) and 0 < lost < 1e-6
    assert rounded(delta.scaled(0), weight)[1] == 0.0


def test_the_loss_of_sums_and_multiples_is_not_known_until_they_are_fitted(gpt2: Any, tmp_path: Path) -> None:
    edit = small_edit(gpt2, 1e-3)
    for unknown in (edit.scaled(2), edit + edit):
        assert unknown.bases[PLACE].rounding is None
        assert unknown.fitted(gpt2).bases[PLACE].rounding == unknown.rounding(gpt2)[PLACE]
    assert edit.scaled(1).bases == edit.bases == Edit.load(edit.save(tmp_path / "edit")).bases


def test_a_file_from_before_the_loss_was_measured_is_read(gpt2: Any, tmp_path: Path) -> None:
    edit = small_edit(gpt2, 1e-3)
    base = {name: value for name, value in vars(edit.bases[PLACE]).items() if name not in ("in_steps", "rounding")}
    tensors = {f"1.W_in.{name}": tensor for name, tensor in edit.deltas[PLACE].tensors().items()}
    change = {"layer": 1, "parameter": "W_in", "delta": "lowrank", **base}
    again = Edit.load(save_tensors(tmp_path / "old", "edit", tensors, {"changes": [change]}))
    assert again.bases[PLACE] == replace(edit.bases[PLACE], rounding=None) and again.keys == {}


def test_the_loss_is_asked_of_the_model_that_the_edit_was_made_for(gpt2: Any, shared_model: Any) -> None:
    with pytest.raises(EditMismatchError):
        small_edit(gpt2, 1e-3).rounding(shared_model(Case("gptj", "bridge")))
