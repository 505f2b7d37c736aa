"""Keys that cannot be told apart under a metric: found and named, so that a message can say which requests to merge."""

import torch
from jaxtyping import Float

from lens_rome._typing import Tensor

PARALLEL = 1e-9
"""Largest `1 - |cosine|` of two keys that pass for parallel: an angle of 5e-5, some hundred roundings of float32."""


def parallel_pair(whitened: Float[Tensor, "n rank"]) -> tuple[int, int, float] | None:
    """The first two rows `(i, j)`, `i < j`, that are parallel, with their cosine; None if no two are."""
    lengths = whitened.norm(dim=1, keepdim=True)
    unit = whitened / torch.where(lengths > 0, lengths, 1.0)
    cosines = unit @ unit.T
    found = ((cosines.abs() >= 1 - PARALLEL).triu(1)).nonzero()
    if not len(found):
        return None
    i, j = (int(row) for row in found[0])
    return i, j, float(cosines[i, j])


def dependent_rows(whitened: Float[Tensor, "n rank"], smallest: float = 1e-6) -> list[int]:
    """Rows that lie in the span of the rows before them, or have no length.

    Args:
        whitened: the rows.
        smallest: sine of the angle to that span from which a row counts as independent.
    """
    spanned = whitened[:0]
    found = []
    for index, row in enumerate(whitened):
        length = row.norm()
        rest = row - (spanned @ row) @ spanned
        rest = rest - (spanned @ rest) @ spanned  # once more: the first pass leaves round-off
        if length == 0 or rest.norm() <= smallest * length:
            found.append(index)
        else:
            spanned = torch.cat([spanned, (rest / rest.norm())[None]])
    return found


def without_roundoff(
    rows: Float[Tensor, "n rank"], wholes: Float[Tensor, "n width"], share: float = 1e-10
) -> Float[Tensor, "n rank"]:
    """`rows`, projections of `wholes`, with those set to exactly zero whose length is round-off of the projection."""
    kept = rows.norm(dim=1) > share * wholes.norm(dim=1)
    return torch.where(kept[:, None], rows, 0.0)
