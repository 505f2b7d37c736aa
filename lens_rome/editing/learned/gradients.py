"""The gradient of a request with respect to a matrix, as one pair of vectors a token.

A matrix that maps `x_t` to an output at every token has the gradient `Σ_t x_t ⊗ δ_t`, where `δ_t` is the gradient at
its output. Both are read by hooks in one forward and one backward pass; no gradient of a weight is ever made.
Reference: MEND, https://arxiv.org/abs/2110.11309, §3.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float

from lens_rome._typing import Tensor
from lens_rome.editing.delta import Place
from lens_rome.editing.learned.rows import TargetRows
from lens_rome.editing.learned.wiring import GradientReader, wide
from lens_rome.errors import EditError
from lens_rome.surface import AbstractSurface, Reader, attached, check_finite, frozen_parameters

LOSS_SCALES = {torch.float16: 2.0**8}
"""What a loss is multiplied by on its way back through a model of that precision, in which gradients below 6e-8 would
be zeros. Gradients are divided by it once they are in float32; a power of two, so nothing else changes.
"""


def loss_scale(surface: AbstractSurface) -> float:
    """The factor of a loss that goes back through this model; 1 but for float16."""
    return LOSS_SCALES.get(surface.dtype, 1.0)


@dataclass(frozen=True, eq=False)
class Factors:
    """Gradient factors of one matrix, in float32 at least; `x[i].T @ delta[i]` is the gradient of request i."""

    x: Float[Tensor, "request pos d_in"]
    """Input of the matrix."""
    delta: Float[Tensor, "request pos d_out"]
    """Gradient at its output, in nats per unit."""
    kept: Bool[Tensor, "request pos"]
    """Tokens that count: no padding, and neither factor all zero. The others contribute exactly nothing."""


@dataclass(frozen=True, eq=False)
class GradientFactors:
    """What one forward and backward pass tells of a batch of requests. Each request's part is independent of the
    others'.
    """

    at: Mapping[Place, Factors]
    logprobs: tuple[float, ...]
    """Joint log-probability (nats) of each request's target before the edit."""
    embedded: Float[Tensor, "request pos d_model"]
    """Token embeddings of prompt and target."""
    mask: Bool[Tensor, "request pos"]
    """What is no padding."""


def gradient_factors(surface: AbstractSurface, places: Sequence[Place], rows: TargetRows) -> GradientFactors:
    """Factors of the gradient of each row's mean token NLL for each matrix of `places`, detached; in float32 at least,
    as exact as the model's own precision has them.

    The model and its parameters' `requires_grad` are as before. The losses of the rows are added up and not averaged,
    so that a request's factors do not depend on how many there are.

    Raises:
        SurfaceError: the model's output is not finite.  EditError: a gradient is not.
    """
    scale = loss_scale(surface)
    readers = {place: GradientReader(surface, place) for place in places}
    embedding = Reader(["hook_embed"])
    with ExitStack() as stack:
        stack.enter_context(frozen_parameters(surface.model))
        stack.enter_context(attached(surface.model, [reader.at_output for reader in readers.values()], first=True))
        stack.enter_context(
            attached(surface.model, [*(reader.at_input for reader in readers.values()), *embedding.hooks])
        )
        logits = surface.run(rows.tokens)
        check_finite(surface, logits.detach())
        logprobs = rows.logprobs(logits)
        deltas = torch.autograd.grad(scale * rows.nll(logits).sum(), [reader.leaf for reader in readers.values()])
    mask = rows.mask.to(logits.device)
    at = {}
    for (place, reader), scaled in zip(readers.items(), deltas, strict=True):
        delta = _checked(scaled, place) / scale
        kept = mask.to(delta.device) & (reader.x != 0).any(-1) & (delta != 0).any(-1)
        at[place] = Factors(reader.x, delta, kept)
    return GradientFactors(at, tuple(rows.joint(logprobs)), wide(embedding["hook_embed"].detach()), mask)


def _checked(delta: Float[Tensor, "request pos d_out"], place: Place) -> Float[Tensor, "request pos d_out"]:
    """The gradient in float32 at least; `EditError` where it is not finite."""
    if not delta.isfinite().all():
        layer, name = place
        told = str(delta.dtype).removeprefix("torch.")
        raise EditError(
            f"the gradient at the output of {name} of layer {layer} is not finite in {told}. Load the model in a wider "
            "precision, such as bfloat16 or float32."
        )
    return wide(delta)
