"""Edits on disk: what comes back is what was saved, and what is not an edit ends in one clear error."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lens_rome._files import save_tensors
from lens_rome.editing import Edit
from lens_rome.editing.fingerprint import fingerprint
from lens_rome.errors import EditError, FileFormatError
from lens_rome.moments import SecondMoments
from tests.editing.support import DISABLING, LAYER, NO_PROBE, OTHER_REQUEST, quick_edit, random_moment
from tests.helpers import Case

pytestmark = [pytest.mark.filterwarnings(NO_PROBE), pytest.mark.filterwarnings(DISABLING)]

NOT_READABLE = "truncated, corrupt, or written by another program"


@pytest.fixture
def saved(gpt2: Any, tmp_path: Path) -> Path:
    return quick_edit(gpt2).save(tmp_path / "jobs.edit.safetensors")


def test_a_saved_edit_comes_back_as_it_was(gpt2: Any, tmp_path: Path) -> None:
    edit = quick_edit(gpt2) + quick_edit(gpt2, OTHER_REQUEST, layer=2)
    again = Edit.load(edit.save(tmp_path / "edit.safetensors"))
    assert again.deltas.keys() == edit.deltas.keys() and again.bases == edit.bases
    for place, delta in edit.deltas.items():
        assert torch.equal(again.deltas[place].left, delta.left) and torch.equal(again.deltas[place].right, delta.right)
    tokens = torch.tensor([[5, 17, 300]])
    with edit.applied(gpt2):
        expected = gpt2(tokens)
    with again.applied(gpt2):
        assert torch.equal(gpt2(tokens), expected)


def test_provenance_survives_the_file(gpt2: Any, tmp_path: Path) -> None:
    edit = quick_edit(gpt2)
    again = Edit.load(edit.save(tmp_path / "edit.safetensors"))
    # JSON knows lists, not tuples.
    settings = again.provenance["settings"]
    assert [tuple(pair) for pair in settings["context_lengths"]] == [(5, 10), (10, 10)]
    for name in ("editor", "model", "requests", "contexts", "diagnostics", "losses", "moment", "prepend_bos"):
        assert again.provenance[name] == edit.provenance[name]
    assert repr(again) == repr(edit)


def test_saving_leaves_no_other_file_behind_and_replaces_the_old_one(saved: Path, gpt2: Any) -> None:
    quick_edit(gpt2, OTHER_REQUEST).save(saved)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
    assert Edit.load(saved).provenance["requests"][0]["subject"] == "Danielle Darrieux"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    with pytest.raises(FileFormatError, match=NOT_READABLE):
        Edit.load(saved)


def test_a_corrupt_header_is_refused(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[8:40] = b"\xff" * 32
    saved.write_bytes(bytes(content))
    with pytest.raises(FileFormatError, match=NOT_READABLE):
        Edit.load(saved)


def test_a_file_of_another_program_or_no_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not an edit, and longer than the eight bytes of a safetensors length")
    with pytest.raises(FileFormatError, match=NOT_READABLE):
        Edit.load(path)
    with pytest.raises(FileFormatError, match="there is no file"):
        Edit.load(tmp_path / "nothing")


def test_a_file_of_moments_is_refused_as_an_edit_and_the_reverse(gpt2: Any, saved: Path, tmp_path: Path) -> None:
    moments = SecondMoments([random_moment(gpt2)]).save(tmp_path / "moments.safetensors")
    with pytest.raises(FileFormatError, match="holds a 'moments', expected a 'edit'"):
        Edit.load(moments)
    with pytest.raises(FileFormatError, match="holds a 'edit', expected a 'moments'"):
        SecondMoments.load(saved)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = save_tensors(tmp_path / "edit", "edit", {"x": torch.ones(1)}, {"format_version": 99})
    with pytest.raises(FileFormatError, match=r"has format version 99.*Update lens_rome"):
        Edit.load(path)


@pytest.mark.parametrize("missing", ["changes", "factor", "fingerprint"])
def test_an_incomplete_edit_is_refused(gpt2: Any, tmp_path: Path, missing: str) -> None:
    edit = quick_edit(gpt2)
    base, delta = edit.bases[LAYER, "W_out"], edit.deltas[LAYER, "W_out"]
    change = {"layer": LAYER, "parameter": "W_out", "delta": "lowrank", **vars(base)}
    tensors = {f"{LAYER}.W_out.{name}": tensor for name, tensor in delta.tensors().items()}
    if missing == "factor":
        tensors.pop(f"{LAYER}.W_out.right")
    if missing == "fingerprint":
        change.pop("before")
    header = {} if missing == "changes" else {"changes": [change]}
    path = save_tensors(tmp_path / "edit", "edit", tensors, header)
    with pytest.raises(FileFormatError, match="not a complete edit file"):
        Edit.load(path)


def test_a_kind_of_change_that_is_not_known_is_refused(tmp_path: Path) -> None:
    change = {"layer": 0, "parameter": "W_out", "delta": "network"}
    path = save_tensors(tmp_path / "edit", "edit", {"x": torch.ones(1)}, {"changes": [change]})
    with pytest.raises(FileFormatError, match=r"does not know. Update lens_rome"):
        Edit.load(path)


def test_factors_with_nan_are_refused_on_loading(gpt2: Any, tmp_path: Path) -> None:
    edit = quick_edit(gpt2)
    edit.deltas[LAYER, "W_out"].right[0, 0] = torch.nan
    path = edit.save(tmp_path / "edit")
    with pytest.raises(FileFormatError, match=r"not a complete edit file: .*not finite"):
        Edit.load(path)


def test_a_folder_that_does_not_exist_is_refused(gpt2: Any, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"does not exist. Create it first"):
        quick_edit(gpt2).save(tmp_path / "no" / "edit")


def test_a_folder_in_the_files_place_is_refused(gpt2: Any, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"it is a folder. Name a file in it"):
        quick_edit(gpt2).save(tmp_path)
    assert list(tmp_path.parent.glob("*.tmp")) == [] and list(tmp_path.parent.glob(".*.tmp")) == []


def test_an_edit_saved_before_there_were_steps_is_read(gpt2: Any, tmp_path: Path) -> None:
    edit = quick_edit(gpt2)
    base = {name: value for name, value in vars(edit.bases[LAYER, "W_out"]).items() if name != "in_steps"}
    tensors = {f"{LAYER}.W_out.{name}": tensor for name, tensor in edit.deltas[LAYER, "W_out"].tensors().items()}
    change = {"layer": LAYER, "parameter": "W_out", "delta": "lowrank", **base}
    assert Edit.load(save_tensors(tmp_path / "old", "edit", tensors, {"changes": [change]})).bases == edit.bases


def test_an_edit_of_a_single_precision_model_survives_the_file(
    shared_model: Any, gpt2_case: Case, tmp_path: Path
) -> None:
    model = shared_model(replace(gpt2_case, dtype=torch.float32))
    edit = quick_edit(model)
    again = Edit.load(edit.save(tmp_path / "edit"))
    with again.applied(model), pytest.raises(EditError, match="already in"):
        edit.apply_(model)


@pytest.mark.parametrize("header", ["[1]", '"text"', "3"])
def test_a_description_that_is_no_object_is_refused(tmp_path: Path, header: str) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "e.safetensors", metadata={"lens_rome": header})
    with pytest.raises(FileFormatError, match="not a JSON object"):
        Edit.load(tmp_path / "e.safetensors")


def test_factors_that_do_not_multiply_are_a_damaged_file(gpt2: Any, tmp_path: Path) -> None:
    edit = quick_edit(gpt2)
    tensors = {"1.W_out.left": torch.zeros(4, 2), "1.W_out.right": torch.zeros(3, 4)}
    change = {"layer": 1, "parameter": "W_out", "delta": "lowrank", **vars(edit.bases[1, "W_out"])}
    save_tensors(tmp_path / "e.safetensors", "edit", tensors, {"changes": [change]})
    with pytest.raises(FileFormatError, match=r"not a complete edit file: .*(do not multiply|rank)"):
        Edit.load(tmp_path / "e.safetensors")


def test_a_fingerprint_tells_dtype_shape_and_bits_also_of_a_single_number() -> None:
    number = torch.tensor(0.5, dtype=torch.float64)
    others = (number.float(), number[None], number.nextafter(torch.tensor(1.0, dtype=torch.float64)))
    assert fingerprint(number) == fingerprint(number.clone()) not in [fingerprint(each) for each in others]
