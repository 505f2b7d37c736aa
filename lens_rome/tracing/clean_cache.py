"""Clean states that somebody else has read, in an `ActivationCache` or by hook name."""

from collections.abc import Mapping, Sequence

import torch

from lens_rome._typing import Activations, Tensor
from lens_rome.errors import TraceError
from lens_rome.surface import AbstractSurface, Site

# Largest relative difference to our own clean run, by precision; another prompt differs by far more.
_SAME = {torch.float64: 1e-4, torch.float32: 1e-3}


def clean_states(
    surface: AbstractSurface, clean: Activations, sites: Sequence[Site], length: int = 0
) -> dict[Site, Tensor]:
    """The states of `sites`, `[1, pos, ...]`.

    Raises:
        TraceError: one is missing, is of several prompts, or is shorter than `length` positions.
    """
    found = {}
    for site in sites:
        name = surface.hook_name(site)
        try:
            value = clean[name]
        except KeyError as error:
            raise TraceError(
                f"the clean activations lack {name}. Make them with run_with_cache(tokens), names_filter including it."
            ) from error
        # A cache may lack the batch axis; a head's site has one axis more, but on raw bridges it is flat.
        by_head = site.kind == "z" and value.shape[-1] == surface.cfg.d_head and value.ndim > 2
        value = value if value.ndim == 3 + by_head else value[None]
        if value.shape[0] != 1 or value.shape[1] < length:
            raise TraceError(
                f"the clean activations {name} are of {value.shape[0]} rows and {value.shape[1]} positions; one row of "
                f"at least {length} positions is needed, of this very prompt (BOS included or not as here)."
            )
        found[site] = value
    return found


def check_same_states(
    surface: AbstractSurface, own: Mapping[Site, Tensor], given: Mapping[Site, Tensor], length: int
) -> None:
    """Raise `TraceError` if `given` states are not those of the clean run, up to rounding, at `length` positions."""
    for site, state in own.items():
        ours, theirs = (each[:, :length].flatten(2).to(state) for each in (state, given[site]))
        error = float((ours - theirs).norm() / ours.norm().clamp_min(1e-12))
        if not error <= _SAME.get(surface.dtype, 5e-2):
            raise TraceError(
                f"the clean activations are not of this very prompt and model: {surface.hook_name(site)} differs from "
                f"the clean run by {error:.1e} (relative). Make them with run_with_cache on the tokens of this trace "
                "(its BOS setting and answer included), with the same hooks attached."
            )
