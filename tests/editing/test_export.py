"""An edit folded into a Hugging Face checkpoint: what transformers and lens_rome load from it is the edited model."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lens_rome.editing import Delta, DenseDelta, Edit, LowRankDelta, RowsDelta
from lens_rome.editing.delta import Place
from lens_rome.editing.export import _same
from lens_rome.errors import EditError, EditMismatchError, FileFormatError, SurfaceError
from lens_rome.surface import as_surface, load_model
from tests.helpers import VOCAB, Case, assert_untouched

TOKENS = torch.tensor([[5, 17, 300, 41, 99, 7], [8, 8, 120, 3, 55, 60]])


def normal(*shape: int, seed: int) -> torch.Tensor:
    return 0.2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def edit_of(model: Any, *, biases: bool = True, embedding: bool = False) -> Edit:
    """A low-rank change of both matrices of block 1, and dense ones elsewhere."""
    surface = as_surface(model)
    d_mlp = surface.d_mlp
    deltas: dict[Place, Delta] = {
        (1, "W_in"): LowRankDelta(normal(32, 2, seed=0), normal(2, d_mlp, seed=1)),
        (1, "W_out"): LowRankDelta(normal(d_mlp, 2, seed=2), normal(2, 32, seed=3)),
        (2, "W_out"): DenseDelta(normal(d_mlp, 32, seed=4)),
    }
    if biases:
        deltas[3, "b_out"] = DenseDelta(normal(32, seed=5))
    if embedding:
        deltas[-1, "W_E"] = RowsDelta(torch.tensor([17, 300]), normal(2, 32, seed=6), VOCAB)
    return Edit.made_for(surface, deltas, {"model": "tiny"})


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    output = model(TOKENS)
    return output if isinstance(output, torch.Tensor) else output.logits


def test_the_exported_checkpoint_is_the_edited_model(
    raw_case: Case, shared_model: Callable[[Case], Any], tmp_path: Path
) -> None:
    model = shared_model(raw_case)
    edit = edit_of(model, biases=raw_case.architecture != "llama")
    plain = logits(model)
    with edit.applied(model):
        expected = logits(model)
    with assert_untouched(model):
        folder = edit.export(model, tmp_path / "edited")
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1  # readable for whom the others are
    assert [path.name for path in tmp_path.iterdir()] == ["edited"]
    found = AutoModelForCausalLM.from_pretrained(folder, dtype=raw_case.dtype).eval()
    # Logits are about ten times as large as the probabilities that the tolerance is meant for.
    torch.testing.assert_close(logits(found), expected, rtol=0, atol=max(1e-5, 10 * raw_case.tolerance))
    again = load_model(folder, raw_case.surface, dtype=raw_case.dtype)
    # TransformerLens takes a HookedTransformer's weights through single precision on loading.
    rough = 1e-5 if raw_case.surface == "hooked" else 10 * raw_case.tolerance
    torch.testing.assert_close(logits(again), expected, rtol=0, atol=rough)
    exact = as_surface(load_model(folder, "bridge", dtype=raw_case.dtype))
    assert (expected - plain).abs().max() > 1e-2
    for place, delta in edit.deltas.items():
        written = delta.added_to(as_surface(model).parameter(*place))
        assert torch.equal(exact.parameter(*place), written), place


def test_rows_of_a_tied_embedding_are_exported_from_the_bridge(shared_model: Any, tmp_path: Path) -> None:
    model = shared_model(Case("gpt2", "bridge"))
    edit = edit_of(model, embedding=True)
    with edit.applied(model):
        expected = logits(model)
    found = AutoModelForCausalLM.from_pretrained(edit.export(model, tmp_path / "edited"), dtype=torch.float64).eval()
    torch.testing.assert_close(logits(found), expected, rtol=0, atol=1e-11)


def test_the_tokenizer_and_the_settings_are_those_of_the_checkpoint(
    gpt2: Any, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = edit_of(gpt2).export(gpt2, tmp_path / "edited")
    text = "Steve Jobs was the founder of"
    first, second = (AutoTokenizer.from_pretrained(each) for each in (folder, model_folder("gpt2")))
    assert first(text)["input_ids"] == second(text)["input_ids"]
    first, second = (json.loads((each / "config.json").read_text()) for each in (folder, model_folder("gpt2")))
    assert {**first, "dtype": ""} == {**second, "dtype": ""}
    for file in folder.glob("*.json"):
        assert str(model_folder("gpt2")) not in file.read_text(), file  # no path of the machine that wrote it


def test_an_export_in_single_precision_loads_as_the_edited_model(
    shared_model: Any, gpt2_case: Case, tmp_path: Path
) -> None:
    model = shared_model(replace(gpt2_case, dtype=torch.float32))
    edit = edit_of(model)
    with edit.applied(model):
        expected = logits(model)
    again = load_model(edit.export(model, tmp_path / "edited"), gpt2_case.surface)
    assert torch.equal(logits(again), expected)


@pytest.mark.parametrize("surface", ["hooked", "bridge"])
def test_a_processed_model_is_refused_with_the_reason(shared_model: Any, surface: str, tmp_path: Path) -> None:
    model = shared_model(Case("gpt2", surface, processed=True))
    edit = edit_of(model)
    with assert_untouched(model), pytest.raises(EditError, match=r"folded.*Load the model with process_weights=False"):
        edit.export(model, tmp_path / "edited")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_empty_is_refused_and_an_empty_one_is_used(gpt2: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with assert_untouched(gpt2), pytest.raises(FileFormatError, match=r"it is not an empty folder\. Name a new one"):
        edit_of(gpt2).export(gpt2, tmp_path)
    with pytest.raises(FileFormatError, match=r"does not exist\. Create it first"):
        edit_of(gpt2).export(gpt2, tmp_path / "no" / "edited")
    (tmp_path / "empty").mkdir()
    edit_of(gpt2).export(gpt2, tmp_path / "empty")
    assert (tmp_path / "empty" / "config.json").is_file()


def test_nothing_is_left_behind_when_writing_fails(gpt2: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lens_rome.editing.export.write_checkpoint", fail)
    with assert_untouched(gpt2), pytest.raises(KeyboardInterrupt):
        edit_of(gpt2).export(gpt2, tmp_path / "edited")
    assert list(tmp_path.iterdir()) == []


def test_an_edit_for_other_weights_is_refused(gpt2: Any, shared_model: Any, tmp_path: Path) -> None:
    with pytest.raises(EditMismatchError):
        edit_of(gpt2).export(shared_model(Case("gptj", "bridge")), tmp_path / "edited")


def test_another_source_is_refused_and_the_right_one_can_be_named(
    shared_model: Any, model_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = shared_model(Case("gpt2", "hooked"))
    edit = edit_of(model)
    with pytest.raises(EditMismatchError, match=r"does not hold the weights that this edit was made for.*source="):
        edit.export(model, tmp_path / "edited", source=model_folder("gptj"))
    # The folder is known from the tokenizer, whatever the model is called.
    monkeypatch.setattr(model.cfg, "model_name", "a model of mine")
    edit.export(model, tmp_path / "known")
    monkeypatch.setattr(model.tokenizer, "name_or_path", "a tokenizer of mine")
    with pytest.raises(SurfaceError, match="cannot load 'a model of mine'"):
        edit.export(model, tmp_path / "edited")
    edit.export(model, tmp_path / "edited", source=model_folder("gpt2"))


ELSEWHERE = [(-1, "W_E"), (-1, "W_U"), (-1, "b_U"), (0, "W_in"), (2, "W_Q"), (2, "W_O"), (3, "W_out")]


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_an_edit_left_in_place_elsewhere_is_not_dropped_however_small(
    fresh_model: Any, tmp_path: Path, architecture: str, dtype: torch.dtype
) -> None:
    model = fresh_model(Case(architecture, "hooked", dtype=dtype))
    edit = edit_of(model, biases=False)
    for place in [*ELSEWHERE, (0, "b_out"), (0, "b_O")]:  # Llama's checkpoint has no place for these two
        parameter = as_surface(model).parameter(*place)
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.view(-1)[0] += 1e-2
        name = place[1] if place[0] == -1 else f"{place[1]} of layer {place[0]}"
        with (
            assert_untouched(model),
            pytest.raises(EditMismatchError, match=rf"^{name} of this model.*first \+ second"),
        ):
            edit.export(model, tmp_path / "edited")
        with torch.no_grad():
            parameter.copy_(kept)
    edit.export(model, tmp_path / "edited")


def test_weights_in_double_precision_that_came_through_single_precision_are_the_same() -> None:
    exact = normal(32, 128, seed=1)
    for written, same in ((exact, True), (exact.float().double(), True), (exact * (1 + 1e-6), False)):
        assert _same(written, exact) is same
        assert _same(written.float(), exact.float()) is same


def test_a_hooked_model_whose_norms_were_changed_is_refused(fresh_model: Any, tmp_path: Path) -> None:
    model = fresh_model(Case("gpt2", "hooked"))
    with torch.no_grad():
        model.blocks[0].ln2.w.mul_(1.5)
    with pytest.raises(EditMismatchError, match=r"weights outside the edit .* processed since it was loaded"):
        edit_of(model).export(model, tmp_path / "edited")


def test_rows_of_a_tied_embedding_cannot_be_exported_from_a_model_that_unties_them(
    shared_model: Any, tmp_path: Path
) -> None:
    model = shared_model(Case("gpt2", "hooked"))
    with pytest.raises(EditError, match=r"one tensor in this checkpoint.*Make the edit on a TransformerBridge"):
        edit_of(model, embedding=True).export(model, tmp_path / "edited")
