"""Arrays inside rows: bit for bit, and damage is noticed."""

import base64
import json
import math
import zlib
from typing import Any

import pytest
import torch

from lens_rome.errors import FileFormatError, RunError
from lens_rome.runs import decode_array, encode_array

DTYPES = [torch.float32, torch.float64, torch.int64, torch.bool]


def assert_same_bits(left: torch.Tensor, right: torch.Tensor) -> None:
    assert left.dtype == right.dtype and left.shape == right.shape
    assert left.contiguous().numpy().tobytes() == right.contiguous().numpy().tobytes()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (5,), (2, 3, 4)], ids=str)
def test_an_array_comes_back_bit_for_bit_through_json(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    array = (100 * torch.randn(shape, dtype=torch.float64)).to(dtype)
    found = decode_array(json.loads(json.dumps(encode_array(array))))
    assert_same_bits(found, array)
    found.fill_(1)  # it is its own, writable memory


@pytest.mark.parametrize(("dtype", "bits"), [(torch.float32, torch.int32), (torch.float64, torch.int64)], ids=str)
def test_nan_with_its_payload_infinities_and_minus_zero_survive(dtype: torch.dtype, bits: torch.dtype) -> None:
    array = torch.tensor([math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.1], dtype=dtype)
    array.view(bits)[0] += 7  # a NaN unlike the usual one
    assert_same_bits(decode_array(json.loads(json.dumps(encode_array(array), allow_nan=False))), array)


def test_views_and_gradients_are_stored_by_value() -> None:
    array = torch.arange(6.0, requires_grad=True).reshape(2, 3).T
    assert_same_bits(decode_array(encode_array(array)), array.detach())


def test_the_stored_bytes_are_little_endian_and_compressed() -> None:
    encoded = encode_array(torch.tensor([1, 256]))
    assert encoded["dtype"] == "int64" and encoded["shape"] == [2]
    assert zlib.decompress(base64.b64decode(encoded["data"])) == bytes([1, *[0] * 7, 0, 1, *[0] * 6])
    assert len(encode_array(torch.zeros(10_000))["data"]) < 200


def test_another_dtype_is_refused() -> None:
    with pytest.raises(RunError, match=r"array of float16, only of float32, float64, int64, bool. Cast it first"):
        encode_array(torch.zeros(2, dtype=torch.float16))


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "float16"},
        {"dtype": ["float64"]},
        {"shape": [2]},
        {"shape": [4]},
        {"shape": [-3]},
        {"shape": [-1, -3]},
        {"shape": "three"},
        {"shape": None},
        {"data": "?"},
        {"data": 7},
        {"data": "AAAA"},
        {"data": base64.b64encode(zlib.compress(bytes(24))[:-1]).decode()},
        {"data": base64.b64encode(zlib.compress(bytes(10_000_000))).decode()},
    ],
    ids=repr,
)
def test_a_damaged_array_is_refused(change: dict[str, Any]) -> None:
    encoded = encode_array(torch.zeros(3, dtype=torch.float64))
    with pytest.raises(FileFormatError, match=r"array in a row is damaged .* computed again"):
        decode_array({**encoded, **change})


@pytest.mark.parametrize("name", ["dtype", "shape", "data"])
def test_an_array_without_one_of_its_fields_is_refused(name: str) -> None:
    encoded = encode_array(torch.zeros(3))
    del encoded[name]
    with pytest.raises(FileFormatError, match=name):
        decode_array(encoded)


def test_any_flipped_bit_of_the_data_is_noticed() -> None:
    encoded = encode_array(torch.arange(20.0))
    data = base64.b64decode(encoded["data"])
    for position in range(2, len(data)):  # the first two bytes are zlib's own header
        broken = bytearray(data)
        broken[position] ^= 16
        with pytest.raises(FileFormatError, match="damaged"):
            decode_array({**encoded, "data": base64.b64encode(broken).decode()})
