"""The parameters that an edit changes, found in a model and compared with those it was made for."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from lens_rome._typing import Tensor
from lens_rome.editing.base import Base
from lens_rome.editing.delta import Delta, Place
from lens_rome.editing.fingerprint import fingerprint
from lens_rome.errors import EditError, EditMismatchError, SurfaceError
from lens_rome.surface import OUTSIDE, AbstractSurface


def place_name(place: Place) -> str:
    """A place in words: `W_out of layer 5`, `W_E`."""
    layer, name = place
    return name if layer == OUTSIDE else f"{name} of layer {layer}"


def dtype_name(weight: Tensor) -> str:
    """`float32` of `torch.float32`."""
    return str(weight.dtype).removeprefix("torch.")


def find_parameter(surface: AbstractSurface, place: Place) -> Tensor:
    """The live parameter at a place.

    Raises:
        EditMismatchError: the model has no such layer, or nothing live there.
    """
    layer, name = place
    if layer != OUTSIDE and not 0 <= layer < surface.n_layers:
        raise EditMismatchError(f"the edit changes layer {layer}; this model has layers 0 to {surface.n_layers - 1}.")
    try:
        return surface.parameter(layer, name)
    except SurfaceError as error:
        raise EditMismatchError(f"the edit changes {place_name(place)}, but {error}") from error


def find_parameters(surface: AbstractSurface, places: Iterable[Place]) -> dict[Place, Tensor]:
    """The live parameters at several places.

    Raises:
        EditMismatchError: as `find_parameter`.
        EditError: two places are one tensor (tied embeddings), so that one change would overwrite the other.
    """
    found = {place: find_parameter(surface, place) for place in places}
    owners: dict[int, Place] = {}
    for place, parameter in found.items():
        leaf = surface.leaf(*place)
        if parameter.numel() != leaf.numel():
            continue  # a part of a fused matrix
        other = owners.setdefault(id(leaf), place)
        if other != place:
            raise EditError(
                f"{place_name(other)} and {place_name(place)} are one tensor in this model (tied weights). Change "
                "only one of them; the other follows."
            )
    return found


def rounded(delta: Delta, weight: Tensor, dtype: torch.dtype | None = None) -> tuple[Tensor, float]:
    """The changed weight as it is written, and the norm of its rounding error over the norm of the change.

    Args:
        dtype: another precision than the weight's; the weight is rounded to it first, as a checkpoint in that
            precision holds it.
    """
    weight = weight.detach() if dtype is None else weight.detach().to(dtype)
    exact = delta.added_to(weight.cpu().double())
    written = exact.to(weight.dtype)
    lost, norm = float((written.double() - exact).norm()), delta.norm()
    return written, lost / norm if norm else 0.0


def check_fits(
    surface: AbstractSurface,
    deltas: Mapping[Place, Delta],
    bases: Mapping[Place, Base],
    provenance: Mapping[str, Any],
    known: dict[Place, tuple[Tensor, str]] | None = None,
) -> None:
    """Raise `EditMismatchError` unless the model has the weights that the edit was made for.

    Args:
        known: the model's weights and their fingerprints as far as they were taken; those that are taken here join
            them.
    """
    known = {} if known is None else known
    for place, base in bases.items():
        if place not in known:
            weight = find_parameter(surface, place)
            known[place] = weight, fingerprint(weight)
        weight, found = known[place]
        if tuple(weight.shape) != deltas[place].shape:
            where = "" if place[0] == OUTSIDE else f" at layer {place[0]}"
            raise EditMismatchError(
                f"the edit changes a {place[1]} of shape {deltas[place].shape}{where}; this model's is "
                f"{tuple(weight.shape)}."
            )
        if found != base.before:
            raise EditMismatchError(_mismatch(place, base, weight, provenance, already=found in base.results))


def _mismatch(place: Place, base: Base, weight: Tensor, provenance: Mapping[str, Any], *, already: bool) -> str:
    where = place_name(place)
    if already:
        return f"the edit is already in this model's {where}. Revert it first, or load the model again."
    if dtype_name(weight) != base.dtype:
        found = dtype_name(weight)
        return f"the edit was made for {where} in {base.dtype}, this model has {found}. Load it in {base.dtype}."
    return (
        f"the {where} is not the one this edit was made for (made for model "
        f"{provenance.get('model', 'unknown')!r}). Another model, weight "
        "processing (fold_ln, centring) or an edit in place, this one included, makes such a difference. Load the "
        "model as it was then."
    )
