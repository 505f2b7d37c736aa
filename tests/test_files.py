"""The file format that all results share."""

from pathlib import Path

import pytest
import torch

from lens_rome._files import load_tensors, save_tensors
from lens_rome.errors import FileFormatError


def test_a_flipped_byte_in_the_numbers_is_noticed(tmp_path: Path) -> None:
    path = save_tensors(tmp_path / "a.safetensors", "thing", {"numbers": torch.arange(64.0)}, {"note": "x"})
    tensors, header = load_tensors(path, "thing")
    assert torch.equal(tensors["numbers"], torch.arange(64.0)) and header["note"] == "x"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(FileFormatError, match="corrupt"):
        load_tensors(path, "thing")


def test_nothing_is_left_behind_when_writing_fails(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        save_tensors(tmp_path / "a.safetensors", "thing", {"numbers": torch.zeros(2)}, {"note": object()})
    assert list(tmp_path.iterdir()) == []
