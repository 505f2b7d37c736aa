"""Names of tensor axes used in shape annotations, and the aliases built from them.

Axes: `batch pos layer head d_model d_mlp d_vocab rank sample`. A row vector times a matrix is TransformerLens's
convention everywhere: `out = key @ W_out` with `W_out: [d_mlp, d_model]`; the papers' `W` is our transpose.
"""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int

Tensor = torch.Tensor
Tokens = Int[Tensor, "batch pos"]
Residual = Float[Tensor, "batch pos d_model"]
Weight = Float[Tensor, "d_in d_out"]

HookFunction = Callable[..., Tensor | None]
"""`fn(activation, hook) -> activation | None`, as `run_with_hooks` takes it."""
FwdHooks = list[tuple[str, HookFunction]]
"""What TransformerLens calls `fwd_hooks`: pairs of a hook name and a function."""


@runtime_checkable
class Activations(Protocol):
    """Activations by hook name: a dictionary, or TransformerLens's `ActivationCache`, which is no `Mapping`."""

    def __getitem__(self, key: str, /) -> Tensor: ...


Model = Any
"""A `HookedTransformer` or `TransformerBridge`; typed loosely because 4.x has no common class (use `as_surface`)."""
