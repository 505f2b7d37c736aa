"""The key of a subject: the input of `W_out` at the token where it is looked up (ROME, §3.1 step 1)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float

from lens_rome._typing import Model, Tensor
from lens_rome.editing.rows import Row, at_positions, check_contexts, prompt_rows, stack
from lens_rome.facts import EditRequest
from lens_rome.surface import AbstractSurface, Site, as_surface, check_layer

_POSITIONS = 8192
"""Rows times width of one forward; bounds its memory."""


@dataclass(frozen=True, eq=False)
class KeyValues:
    """What goes into and comes out of `W_out` at the lookup token, a row for each context."""

    keys: Float[Tensor, "context d_mlp"]
    values: Float[Tensor, "context d_model"]
    """Output of `W_out`, bias included."""


@torch.no_grad()
def read_at_lookups(
    surface: AbstractSurface, rows: Sequence[Row], sites: Sequence[Site]
) -> dict[Site, Float[Tensor, "row _"]]:
    """Each row's activation at its lookup, in runs of rows of like lengths that stop after the last site."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].tokens))
    parts: dict[Site, list[Tensor]] = {site: [] for site in sites}
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and (end + 1 - start) * len(rows[order[end]].tokens) <= _POSITIONS:
            end += 1
        batch = stack(surface, [rows[i] for i in order[start:end]])
        found = surface.read(batch.tokens, list(sites), batch.hooks)
        for site in sites:
            parts[site].append(at_positions(found[site], batch.lookup))
        start = end
    back = torch.tensor(order).argsort()
    return {site: torch.cat(values)[back.to(values[0].device)] for site, values in parts.items()}


def read_keys(surface: AbstractSurface, rows: Sequence[Sequence[Row]], layer: int) -> list[KeyValues]:
    """Keys and values of requests, each given by its rows (a row a context)."""
    key, value = Site(layer, "key"), Site(layer, "value")
    found = read_at_lookups(surface, [row for own in rows for row in own], [key, value])
    counts = [len(own) for own in rows]
    pairs = zip(found[key].split(counts), found[value].split(counts), strict=True)
    return [KeyValues(keys, values) for keys, values in pairs]


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
    rows = prompt_rows(surface, request, contexts, lookup, prepend_bos)
    return read_keys(surface, [rows], layer)[0].keys.mean(0)
