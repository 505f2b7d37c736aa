"""Small random problems for the closed form, in float64: rows are keys and residuals."""

from dataclasses import dataclass

import torch

from lens_rome.moments import MomentOrigin, SecondMoment

D, M = 14, 5


def normal(rng: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def made_moment(rng: torch.Generator, size: int = D, count: int = 60) -> SecondMoment:
    """A second moment far from the identity: eigenvalues over two and a half decades."""
    keys = normal(rng, count, size) * torch.logspace(-1, 0.3, size, dtype=torch.float64)
    return SecondMoment(0, keys.T @ keys, count, MomentOrigin("toy", None))


@dataclass(frozen=True, eq=False)
class Problem:
    """A moment, keys and residuals; `moment.mean` is the papers' C."""

    moment: SecondMoment
    keys: torch.Tensor
    residuals: torch.Tensor

    @classmethod
    def of(cls, rng: torch.Generator, n: int) -> "Problem":
        return cls(made_moment(rng), normal(rng, n, D), normal(rng, n, M))

    @property
    def columns(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """C, keys and residuals as the papers write them."""
        return self.moment.mean, self.keys.T, self.residuals.T


def assert_same(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-10) -> None:
    """Equal to `tolerance` of the largest entry; condition numbers of a thousand leave twelve digits."""
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * max(scale, 1e-30))
