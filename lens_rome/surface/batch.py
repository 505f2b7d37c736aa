"""Rows of tokens as one batch."""

from collections.abc import Sequence

import torch

from lens_rome._typing import Tensor


def pad_right(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Rows of ids as one tensor padded on the right with 0, and the mask of what is real. Causal attention never sees
    the padding.
    """
    tokens = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    for index, row in enumerate(rows):
        tokens[index, : len(row)] = torch.tensor(row)
        mask[index, : len(row)] = True
    return tokens, mask
