"""The closed-form editors as published: each a function of its own, matrices as in the papers (keys and residuals are
columns, `Delta: [m, d]` multiplies from the left), explicit inverses, nothing shared and nothing of the package.
"""

import torch

Tensor = torch.Tensor
_inverse = torch.linalg.inv


def rome(moment: Tensor, mean_key: Tensor, bare_key: Tensor, residual: Tensor) -> Tensor:
    """`residual (C⁻¹ k_mean)ᵀ / (k_bareᵀ C⁻¹ k_mean)`, the released code's two keys."""
    direction = _inverse(moment) @ mean_key
    return torch.outer(residual, direction) / (bare_key @ direction)


def r_rome(moment: Tensor, key: Tensor, residual: Tensor) -> Tensor:
    """`residual (C⁻¹ k)ᵀ / (kᵀ C⁻¹ k)`."""
    return torch.outer(residual, _inverse(moment) @ key) / (key @ _inverse(moment) @ key)


def memit(moment: Tensor, keys: Tensor, residuals: Tensor, weight: float) -> Tensor:
    """`R Xᵀ` with `X = (λ C + K Kᵀ)⁻¹ K`."""
    return residuals @ torch.linalg.solve(weight * moment + keys @ keys.T, keys).T


def memit_sequential(moment: Tensor, keys: Tensor, residuals: Tensor, weight: float, past: Tensor) -> Tensor:
    """`R Kᵀ (λ C + K_p K_pᵀ + K Kᵀ)⁻¹`."""
    return residuals @ keys.T @ _inverse(weight * moment + past @ past.T + keys @ keys.T)


def emmet(moment: Tensor, keys: Tensor, residuals: Tensor) -> Tensor:
    """The paper's `R (Kᵀ C⁻¹ K)⁻¹ Kᵀ C⁻¹`."""
    inverse = _inverse(moment)
    return residuals @ _inverse(keys.T @ inverse @ keys) @ keys.T @ inverse


def emmet_released(
    moment: Tensor, keys: Tensor, residuals: Tensor, weight: float, ridge: float, diagonal: float = 0.0
) -> Tensor:
    """The released code: `C' = w C + μ I`, and `ε I` added to `Kᵀ C'⁻¹ K` where there are several requests."""
    inverse = _inverse(weight * moment + diagonal * torch.eye(len(moment), dtype=moment.dtype))
    inner = keys.T @ inverse @ keys
    if keys.shape[1] > 1:
        inner = inner + ridge * torch.eye(len(inner), dtype=moment.dtype)
    return residuals @ _inverse(inner) @ keys.T @ inverse


def null_projector(moment: Tensor, threshold: float) -> Tensor:
    """`U₀ U₀ᵀ`, U₀ the left singular vectors of C of singular value below the threshold."""
    left, values, _ = torch.linalg.svd(moment)
    free = left[:, values < threshold]
    return free @ free.T


def alphaedit_released(projector: Tensor, keys: Tensor, residuals: Tensor, cache: Tensor, penalty: float) -> Tensor:
    """The released code's solve, not symmetric: `(P (K Kᵀ + S) + L2 I) Deltaᵀ = P K Rᵀ`."""
    eye = torch.eye(len(projector), dtype=projector.dtype)
    system = projector @ (keys @ keys.T + cache) + penalty * eye
    return torch.linalg.solve(system, projector @ keys @ residuals.T).T


def alphaedit_paper(projector: Tensor, keys: Tensor, residuals: Tensor, cache: Tensor) -> Tensor:
    """`R Kᵀ P (S P + K Kᵀ P + I)⁻¹`."""
    eye = torch.eye(len(projector), dtype=projector.dtype)
    return residuals @ keys.T @ projector @ _inverse(cache @ projector + keys @ keys.T @ projector + eye)


def alphaedit_symmetric(projector: Tensor, keys: Tensor, residuals: Tensor, cache: Tensor, penalty: float) -> Tensor:
    """`R Kᵀ P (P (K Kᵀ + S) P + L2 I)⁻¹`."""
    eye = torch.eye(len(projector), dtype=projector.dtype)
    return residuals @ keys.T @ projector @ _inverse(projector @ (keys @ keys.T + cache) @ projector + penalty * eye)


def alphaedit_first(projector: Tensor, keys: Tensor, residuals: Tensor, penalty: float) -> Tensor:
    """The first batch: `R (L2 I + Kᵀ P K)⁻¹ Kᵀ P`."""
    inner = penalty * torch.eye(keys.shape[1], dtype=keys.dtype) + keys.T @ projector @ keys
    return residuals @ _inverse(inner) @ keys.T @ projector


def conditioned(metric: Tensor, past: Tensor) -> Tensor:
    """`G - G K (I + Kᵀ G K)⁻¹ Kᵀ G`."""
    inner = torch.eye(past.shape[1], dtype=past.dtype) + past.T @ metric @ past
    return metric - metric @ past @ _inverse(inner) @ past.T @ metric


def protected(metric: Tensor, past: Tensor) -> Tensor:
    """`G - G K (Kᵀ G K)⁻¹ Kᵀ G`."""
    return metric - metric @ past @ _inverse(past.T @ metric @ past) @ past.T @ metric
