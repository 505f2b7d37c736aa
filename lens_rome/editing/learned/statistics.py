"""Running mean and standard deviation of gradient factors, over tokens."""

import torch
from jaxtyping import Float
from torch import nn

from lens_rome._typing import Tensor
from lens_rome.errors import EditError

EPSILON = 1e-7
"""Added to the standard deviation, as in the released code; without it a constant feature would divide by zero."""


class RunningStatistics(nn.Module):
    """Mean and deviation of all rows added so far, merged batch by batch in float64 (Chan, Golub and LeVeque 1979).

    They change only in `add`: an edit never touches them.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        for name, shape in {"count": (), "mean": (size,), "squares": (size,)}.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    @torch.no_grad()
    def add(self, rows: Float[Tensor, "row feature"]) -> None:
        """Count more rows in."""
        if not len(rows):
            return
        rows = rows.to(device=self.mean.device, dtype=torch.float64)
        total, shift = self.count + len(rows), rows.mean(0) - self.mean
        self.squares += (rows - rows.mean(0)).square().sum(0) + shift.square() * self.count * len(rows) / total
        self.mean += shift * len(rows) / total
        self.count.copy_(total)

    def normalise(self, rows: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        """`(rows - mean) / (deviation + ε)`, in the dtype of `rows`; the deviation is that of a sample (n - 1).

        Raises:
            EditError: fewer than two rows have been added.
        """
        if self.count < 2:
            raise EditError("no statistics of gradients yet; an editor is made by fit(...) or load(...).")
        deviation = (self.squares / (self.count - 1)).sqrt()
        return ((rows.double() - self.mean) / (deviation + EPSILON)).to(rows.dtype)
