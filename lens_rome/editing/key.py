"""The key of a subject: the input of `W_out` at the token where it is looked up (ROME, §3.1 step 1)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float

from lens_rome._typing import Model, Tensor
from lens_rome.editing.objective import Objective
from lens_rome.editing.rows import at_positions, check_contexts, prompt_rows, stack
from lens_rome.facts import EditRequest
from lens_rome.surface import AbstractSurface, Site, as_surface, check_layer


@dataclass(frozen=True, eq=False)
class KeyValues:
    """What goes into and comes out of `W_out` at the lookup token, a row for each context."""

    keys: Float[Tensor, "context d_mlp"]
    values: Float[Tensor, "context d_model"]
    """Output of `W_out`, bias included."""


@torch.no_grad()
def read_keys(
    surface: AbstractSurface,
    request: EditRequest,
    layer: int,
    contexts: Sequence[str],
    lookup: str = "subject_last",
    prepend_bos: bool | None = None,
    objective: Objective | None = None,
) -> KeyValues:
    """Keys and values of a request after each context, in one run that stops after `layer`."""
    rows = stack(surface, prompt_rows(surface, request, contexts, lookup, prepend_bos, objective))
    key, value = Site(layer, "key"), Site(layer, "value")
    found = surface.read(rows.tokens, [key, value], rows.hooks)
    return KeyValues(at_positions(found[key], rows.lookup), at_positions(found[value], rows.lookup))


def compute_key(
    model: Model,
    request: EditRequest,
    layer: int,
    contexts: Sequence[str] = ("",),
    *,
    lookup: str = "subject_last",
    prepend_bos: bool | None = None,
) -> Float[Tensor, " d_mlp"]:
    """k*: the mean over `contexts` of the key of the request's subject at `layer`.

    Raises:
        SubjectSpanError, SurfaceError: as for any prompt and layer.
        EditError: contexts that do not begin with the bare prompt, or an unknown lookup.
    """
    surface = as_surface(model)
    check_contexts(contexts)
    check_layer(surface, layer)
    return read_keys(surface, request, layer, contexts, lookup, prepend_bos).keys.mean(0)
