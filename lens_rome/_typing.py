"""Names of tensor axes used in shape annotations, and the aliases built from them.

Axes: `batch pos layer head d_model d_mlp d_vocab rank sample`. A row vector times a matrix is TransformerLens's
convention everywhere: `out = key @ W_out` with `W_out: [d_mlp, d_model]`; the papers' `W` is our transpose.
"""

from collections.abc import Callable
from typing import Any

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

Model = Any
"""A `HookedTransformer` or `TransformerBridge`; typed loosely because 4.x has no common class (use `as_surface`)."""
