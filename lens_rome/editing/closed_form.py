"""The one solution of the closed-form editors: ROME, R-ROME, EMMET, MEMIT and AlphaEdit.

A change Δ of a weight shall write residuals at keys and disturb little else. All these editors have the same solution
and differ in the metric (what is left alone), in the slack (how much of a residual may be missing), and in whether the
keys of the direction are those of the constraint (the preservation-memorisation view, https://arxiv.org/abs/2403.14236).
Rows are keys and residuals, `Δ = left @ right` is added to `W_out`; the papers' matrices are our transposes. Float64 on
the CPU, whatever comes in.
"""

import torch
from jaxtyping import Float

from lens_rome._linalg import CholeskySolver, NotPositiveDefiniteError
from lens_rome._typing import Tensor
from lens_rome.editing.delta import LowRankDelta
from lens_rome.editing.dependence import parallel_pair
from lens_rome.editing.metric import Metric
from lens_rome.errors import EditError, NotFiniteError, SingularSystemError

_MAX_INVERSE = 1e12
"""Largest norm of the inverse of the system in units of its diagonal. Equal keys read in float32 make one of 1e13 and
more, of which a solution would be noise."""


def closed_form(
    residuals: Float[Tensor, "n m"],
    constraint_keys: Float[Tensor, "n d"],
    *,
    metric: Metric,
    direction_keys: Float[Tensor, "n d"] | None = None,
    slack: float | Float[Tensor, " n"] = 0.0,
) -> LowRankDelta:
    """The change Δ with `K_con Δ = R - slack · right`, in the directions `G K_dirᵀ` alone.

    `left = G K_dirᵀ` and `right = (diag(slack) + K_con G K_dirᵀ)⁻¹ R`. With one set of keys K it is the minimum of
    `tr(Δᵀ G⁻¹ Δ)` subject to `K Δ = R` (slack 0: ROME, EMMET), or of `tr(Δᵀ G⁻¹ Δ) + ‖K Δ - R‖²` (slack 1: MEMIT with
    λ in the metric, AlphaEdit with its penalty there), so rows of equal keys get their average. Where the requests are
    more than the metric has dimensions, the same minimum is found in those dimensions.

    Args:
        residuals: what to add to the output for each key.
        constraint_keys: where it is to be added.
        metric: G.
        direction_keys: keys of the directions; None for the same keys. ROME takes the contexts' mean here and the
            bare prompt's key above; the product of the two may then be negative, or small and the change large.
        slack: of every request, or of each; 0 for equality, more to write less of it.

    Returns:
        Factors of rank `min(n, width of the metric)` at most; the rank is that of the requests otherwise.

    Raises:
        EditError: shapes that do not fit, values that are not finite, negative slack.
        SingularSystemError: keys that cannot be told apart, or that have no length under the metric; it names two
            parallel ones where there are such.

    >>> from lens_rome.editing.metric import Identity
    >>> delta = closed_form(torch.tensor([[0., 3.]]), torch.tensor([[2., 0.]]), metric=Identity(2))
    >>> torch.tensor([[2., 0.]]).double() @ delta.dense()
    tensor([[0., 3.]], dtype=torch.float64)
    """
    residuals, keys = residuals.detach().cpu().double(), constraint_keys.detach().cpu().double()
    direction = None if direction_keys is None else direction_keys.detach().cpu().double()
    _check(residuals, keys, direction, metric)
    slacks = _slacks(slack, len(keys))
    at = metric.whiten(keys)
    if direction is None or torch.equal(direction, keys):
        if len(keys) > at.shape[1] and bool((slacks > 0).all()):
            return _primal(residuals, at, metric, slacks)
        along = at
    else:
        along = metric.whiten(direction)
    return LowRankDelta(metric.lift(along).T, _solve(residuals, at, along, slacks))


def written_fraction(
    residuals: Float[Tensor, "n m"], constraint_keys: Float[Tensor, "n d"], delta: LowRankDelta
) -> Float[Tensor, " n"]:
    """The share of each request's residual that `delta` writes at its own constraint key: `(K_con Δ) · R / ‖R‖²`.

    1 under equality, `q / (slack + q)` with `q = k G k` for one request with slack. Other requests may add to it or
    take from it. NaN where a residual is zero.
    """
    residuals = residuals.detach().cpu().double()
    written = (constraint_keys.detach().cpu().double() @ delta.left.double()) @ delta.right.double()
    return (written * residuals).sum(1) / residuals.square().sum(1)


def _check(
    residuals: Float[Tensor, "..."], keys: Float[Tensor, "..."], direction: Float[Tensor, "..."] | None, metric: Metric
) -> None:
    """Refuse what does not fit, by name."""
    if residuals.ndim != 2 or not len(residuals):
        raise EditError(f"residuals are rows [n, d_model], one a request at least, got shape {tuple(residuals.shape)}.")
    wanted = (len(residuals), metric.d)
    for name, rows in (("constraint_keys", keys), ("direction_keys", direction)):
        if rows is not None and tuple(rows.shape) != wanted:
            raise EditError(
                f"{name} must be {wanted}, a row for each residual and as wide as the metric, got {tuple(rows.shape)}."
            )
    for name, rows in (("residuals", residuals), ("constraint_keys", keys), ("direction_keys", direction)):
        if rows is not None and not torch.isfinite(rows).all():
            raise NotFiniteError(f"{name} are not finite: the model or the search for values diverged. Lower its rate.")


def _slacks(slack: float | Tensor, n: int) -> Float[Tensor, " n"]:
    slacks = torch.as_tensor(slack, dtype=torch.float64).detach().cpu()
    if slacks.shape not in ((), (n,)) or not torch.isfinite(slacks).all() or bool((slacks < 0).any()):
        raise EditError(f"slack must be a number from 0 up, or one for each of {n} requests, got {slack!r}.")
    return slacks.expand(n)


def _primal(
    residuals: Float[Tensor, "n m"], at: Float[Tensor, "n width"], metric: Metric, slacks: Float[Tensor, " n"]
) -> LowRankDelta:
    """The same change from a system as large as the whitened keys are wide: `F (I + Aᵀ s⁻¹ A)⁻¹ Aᵀ s⁻¹ R`."""
    weighted = at / slacks[:, None]
    eye = torch.eye(at.shape[1], dtype=torch.float64)
    solved = _solve_symmetric(eye + weighted.T @ at, weighted.T @ residuals)
    if solved is None:
        raise _singular(at, at)
    return LowRankDelta(metric.lift(eye).T, solved)


def _solve(
    residuals: Float[Tensor, "n m"],
    at: Float[Tensor, "n width"],
    along: Float[Tensor, "n width"],
    slacks: Float[Tensor, " n"],
) -> Float[Tensor, "n m"]:
    """`(diag(slack) + A_con A_dirᵀ)⁻¹ R`, in units in which the system's diagonal is a cosine."""
    sizes_at, sizes_along = ((rows.square().sum(1) + slacks).sqrt() for rows in (at, along))
    for sizes in (sizes_at, sizes_along):
        if bool((sizes == 0).any()):
            empty = (sizes == 0).nonzero().flatten().tolist()
            raise SingularSystemError(
                f"the keys of requests {empty} (rows, from 0) have no length under the metric: they lie in protected "
                "directions, where nothing can be written. Leave the requests out, protect less, or give slack > 0."
            )
    system = (torch.diag(slacks) + at @ along.T) / sizes_at[:, None] / sizes_along
    scaled = residuals / sizes_at[:, None]
    solved = _solve_symmetric(system, scaled) if along is at else _solve_general(system, scaled)
    if solved is None:
        raise _singular(at, along)
    return solved / sizes_along[:, None]


def _solve_symmetric(system: Float[Tensor, "n n"], right: Float[Tensor, "n m"]) -> Float[Tensor, "n m"] | None:
    """The solution by Cholesky; None if the system is singular."""
    try:
        return CholeskySolver.of(system, _MAX_INVERSE).solve(right.T).T
    except NotPositiveDefiniteError:
        return None


def _solve_general(system: Float[Tensor, "n n"], right: Float[Tensor, "n m"]) -> Float[Tensor, "n m"] | None:
    """The solution by LU; None if the system is singular."""
    inverse, info = torch.linalg.inv_ex(system)
    if info or not float(inverse.abs().sum(0).max()) <= _MAX_INVERSE:
        return None
    return torch.linalg.solve(system, right)


def _singular(at: Float[Tensor, "n width"], along: Float[Tensor, "n width"]) -> SingularSystemError:
    """The error, with two parallel keys if there are such."""
    n = len(at)
    found = parallel_pair(at) or parallel_pair(along)
    if found is None:
        what = "their keys depend on each other" if n > 1 else "the key is at right angles to its direction"
        return SingularSystemError(
            f"the {n} requests cannot all be written exactly: {what} under the metric (no two keys are parallel). "
            "Give slack > 0, or fewer requests."
        )
    i, j, cosine = found
    return SingularSystemError(
        f"requests {i} and {j} (rows, from 0) have parallel keys under the metric (cosine {cosine:.6f}), so they "
        "cannot both be written exactly. Merge them into one request, or give slack > 0 to write their average.",
        (i, j),
        cosine,
    )
