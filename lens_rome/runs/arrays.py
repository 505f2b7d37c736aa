"""Tensors inside JSON rows: base64 of compressed little-endian bytes, so that every bit survives, NaN included."""

import base64
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from lens_rome._typing import Tensor
from lens_rome.errors import FileFormatError, RunError

_STORED_AS = {"float32": "<f4", "float64": "<f8", "int64": "<i8", "bool": "|b1"}


def encode_array(tensor: Tensor) -> dict[str, Any]:
    """`tensor` as a JSON object of `dtype`, `shape` and `data`; `decode_array` gives it back bit for bit.

    Raises:
        RunError: not of float32, float64, int64 or bool.
    """
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in _STORED_AS:
        raise RunError(f"a row cannot hold an array of {dtype}, only of {', '.join(_STORED_AS)}. Cast it first.")
    data = tensor.detach().cpu().contiguous().numpy().astype(_STORED_AS[dtype], copy=False).tobytes()
    return {
        "dtype": dtype,
        "shape": list(tensor.shape),
        "data": base64.b64encode(zlib.compress(data)).decode("ascii"),
    }


def decode_array(encoded: Mapping[str, Any]) -> Tensor:
    """The tensor that `encode_array` was given, on the CPU.

    Raises:
        FileFormatError: damaged, or not such an object.
    """
    try:
        stored = np.dtype(_STORED_AS[encoded["dtype"]])
        shape = [int(size) for size in encoded["shape"]]
        if min(shape, default=0) < 0:
            raise ValueError(f"shape {shape}")
        data = _decompressed(base64.b64decode(encoded["data"], validate=True), math.prod(shape) * stored.itemsize)
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise FileFormatError(
            f"an array in a row is damaged ({error!r}). Delete the row's line; its id is computed again."
        ) from error
    array = np.ndarray(shape, stored, buffer=data)
    return torch.from_numpy(array.astype(stored.newbyteorder("="), copy=False))


def _decompressed(data: bytes, size: int) -> bytearray:
    """Exactly `size` bytes, writable; never inflates more than that."""
    stream = zlib.decompressobj()
    found = bytearray(stream.decompress(data, size + 1))
    if len(found) != size or not stream.eof:
        raise ValueError(f"expected {size} bytes, found {len(found)}{'' if stream.eof else ' or more'}")
    return found
