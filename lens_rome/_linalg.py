"""Tensor algebra without models. Row vectors: `out = key @ W`, `W: [d_in, d_out]`; the papers' W is our transpose.

Everything is float64 on the CPU: solves with a second moment of a few thousand dimensions lose many digits, and not
every device has float64.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float

from lens_rome._typing import Tensor


class NotPositiveDefiniteError(ArithmeticError):
    """The matrix has no Cholesky factor that means anything in float64."""


@dataclass(frozen=True, eq=False)
class CholeskySolver:
    """Solves with one symmetric positive definite matrix, factored once."""

    factor: Float[Tensor, "d d"]
    """Lower Cholesky factor, float64."""
    condition: float
    """Estimated condition number in the 1-norm (Hager's method; a lower bound, mostly exact to a factor of 3)."""

    @classmethod
    def of(cls, matrix: Float[Tensor, "d d"], max_condition: float = 1e14) -> "CholeskySolver":
        """Factor `matrix`.

        Raises:
            NotPositiveDefiniteError: no factor exists, or the condition number passes `max_condition` (float64 keeps
                16 digits).
        """
        matrix = matrix.detach().cpu().double()
        factor, info = torch.linalg.cholesky_ex(matrix)
        if info or not torch.isfinite(factor).all():
            raise NotPositiveDefiniteError("the matrix is not positive definite")
        condition = float(matrix.abs().sum(0).max()) * _inverse_norm(factor)
        if not condition <= max_condition:
            raise NotPositiveDefiniteError(
                f"the matrix is singular in float64 (condition number about {condition:.0e})"
            )
        return cls(factor, condition)

    def solve(self, vectors: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """`matrix⁻¹ x` for each row `x`; float64 on the CPU."""
        columns = vectors.detach().cpu().double().reshape(-1, self.factor.shape[0]).T
        return torch.cholesky_solve(columns, self.factor).T.reshape(vectors.shape)

    def whiten(self, vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """`L⁻¹ x` for each row `x`, where `matrix = L Lᵀ`: products of the results are products under `matrix⁻¹`."""
        columns = vectors.detach().cpu().double().T
        return torch.linalg.solve_triangular(self.factor, columns, upper=False).T

    def lift(self, whitened: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """`L⁻ᵀ a` for each row `a`; `lift(whiten(x))` is `solve(x)`."""
        columns = whitened.detach().cpu().double().T
        return torch.linalg.solve_triangular(self.factor.T, columns, upper=True).T


def _inverse_norm(factor: Float[Tensor, "d d"]) -> float:
    """Hager's estimate of the 1-norm of the inverse from a few solves, or the smallest pivot's where that is more."""
    size = factor.shape[0]
    x = torch.full((size, 1), 1.0 / size, dtype=torch.float64)
    # A pivot is no less than the smallest eigenvalue. Hager's start is blind to the difference of two equal rows.
    best = float(factor.diagonal().square().min().reciprocal())
    for _ in range(5):
        y = torch.cholesky_solve(x, factor)
        best = max(best, float(y.abs().sum()))
        z = torch.cholesky_solve(y.sign(), factor)
        steepest = int(z.abs().argmax())
        if float(z[steepest].abs()) <= float((z * x).sum()):
            break
        x = torch.zeros_like(x)
        x[steepest] = 1.0
    return best


def rank_one_update(
    weight: Float[Tensor, "d_in d_out"],
    moment: Float[Tensor, "d_in d_in"],
    key: Float[Tensor, " d_in"],
    value: Float[Tensor, " d_out"],
) -> tuple[Float[Tensor, "d_in 1"], Float[Tensor, "1 d_out"]]:
    """Smallest change of `weight` that maps `key` exactly to `value`.

    "Smallest" is in the norm weighted by `moment`, so directions that the corpus uses often move least
    (ROME, https://arxiv.org/abs/2202.05262, eq. 2; there W is our transpose).

    Args:
        weight: the matrix to change; it is not touched.
        moment: uncentred second moment E[k kᵀ] of the layer's keys; must be positive definite.
        key: input that shall be mapped anew.
        value: output it shall have, without bias.

    Returns:
        `(left, right)`, float64; the update is `left @ right`. It is never materialised here.

    Raises:
        NotPositiveDefiniteError: `moment` is not positive definite.

    >>> left, right = rank_one_update(torch.eye(2), torch.eye(2), torch.tensor([1., 0.]), torch.tensor([0., 3.]))
    >>> torch.tensor([1., 0.]).double() @ (torch.eye(2).double() + left @ right)
    tensor([0., 3.], dtype=torch.float64)
    """
    key, value = key.detach().cpu().double(), value.detach().cpu().double()
    direction = CholeskySolver.of(moment).solve(key)
    return rank_one_factors(direction, key, value - key @ weight.detach().cpu().double())


def rank_one_factors(
    direction: Float[Tensor, " d_in"], key: Float[Tensor, " d_in"], residual: Float[Tensor, " d_out"]
) -> tuple[Float[Tensor, "d_in 1"], Float[Tensor, "1 d_out"]]:
    """Factors of the update along `direction` that moves the output for `key` by exactly `residual`; scale of
    `direction` is free.
    """
    direction = direction / direction.norm()
    return direction[:, None], (residual / (direction @ key))[None, :]
