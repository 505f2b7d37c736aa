"""Recognise the exact weight that an edit was made for."""

import hashlib

import torch

from lens_rome._typing import Tensor


def fingerprint(weight: Tensor) -> str:
    """sha256 of a tensor's dtype, shape and bytes: equal only for bit-equal weights."""
    weight = weight.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{weight.dtype}{tuple(weight.shape)}".encode())
    digest.update(weight.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
