"""`Edit`: a change of a model as a value. It can be applied and taken back, used as hooks, added, scaled, saved and
loaded.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from lens_rome._files import load_tensors, save_tensors
from lens_rome._typing import FwdHooks, Model, Tensor
from lens_rome.editing.applied import Applied
from lens_rome.editing.base import Base
from lens_rome.editing.delta import LowRankDelta, Place
from lens_rome.editing.describe import of_multiple, of_sum, request_lines, title
from lens_rome.editing.fingerprint import fingerprint
from lens_rome.editing.hooks import LowRankHook
from lens_rome.errors import EditError, EditMismatchError, FileFormatError
from lens_rome.surface import AbstractSurface, as_surface, attached

_FILE_KIND = "edit"


@dataclass(frozen=True, eq=False)
class Edit:
    """Changes of named parameters, made for exactly one set of weights.

    Nothing in the model changes until `applied` or `apply_`; both restore a saved copy of the weight, bit for bit.
    `hooks` does the same to the model's function without touching a weight.
    """

    deltas: Mapping[Place, LowRankDelta]
    bases: Mapping[Place, Base]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """How it was made: editor and its settings, requests, contexts, diagnostics, losses (JSON-able)."""

    def __post_init__(self) -> None:
        if set(self.deltas) != set(self.bases):
            raise EditError(
                f"deltas are of {sorted(self.deltas)}, bases of {sorted(self.bases)}; they must be the same."
            )

    @classmethod
    def made_for(
        cls, surface: AbstractSurface, deltas: Mapping[Place, LowRankDelta], provenance: Mapping[str, Any]
    ) -> "Edit":
        """An edit of the model's present weights."""
        bases = {}
        for place, delta in deltas.items():
            weight = _parameter(surface, place)
            after = fingerprint(delta.added_to(weight))
            bases[place] = Base(fingerprint(weight), after, _dtype_name(weight), float(weight.detach().double().norm()))
        return cls(deltas, bases, provenance)

    # -- use ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def applied(self, model: Model) -> Iterator[Model]:
        """The model with the edit in its weights, inside the `with`; bit for bit as before after it, also after an
        exception.

        Raises:
            EditMismatchError: the model's weights are not those the edit was made for.
        """
        applied = self.apply_(model)
        try:
            yield model
        finally:
            applied.restore()

    def apply_(self, model: Model) -> Applied:
        """Write the edit into the model's weights; keep what is returned to take it back.

        Raises:
            EditMismatchError: the model's weights are not those the edit was made for. Nothing is written then.
        """
        surface = as_surface(model)
        self.check(surface)
        parameters = {place: _parameter(surface, place) for place in self.deltas}
        edited = {place: delta.added_to(parameters[place]) for place, delta in self.deltas.items()}
        for place, weight in edited.items():
            if not torch.isfinite(weight).all():
                raise EditError(
                    f"layer {place[0]}: the edited weight is not finite in {weight.dtype}. Nothing was written."
                )
        saved = {place: parameter.detach().clone() for place, parameter in parameters.items()}
        applied = Applied(surface, saved, {place: fingerprint(weight) for place, weight in edited.items()})
        try:
            with torch.no_grad():
                for place, parameter in parameters.items():
                    parameter.copy_(edited[place])
        except BaseException:
            applied.restore()
            raise
        return applied

    def hooks(self, model: Model) -> FwdHooks:
        """The edit as `fwd_hooks` for `run_with_hooks` or `model.hooks`; no weight is touched.

        They equal the edited weights if at the edited layer's `mlp.hook_post` no hook that changes the activation
        comes after them, and none before them at the output of `W_out`: list them before hooks on `hook_mlp_out`, or
        use `hooked`, which sees to the order.

        Raises:
            EditMismatchError: the model's weights are not those the edit was made for.
        """
        surface = as_surface(model)
        self.check(surface)
        pairs: FwdHooks = []
        for layer, parameter in self.deltas:
            if parameter != "W_out":
                raise EditError(f"a change of {parameter} has no hook form; use applied(model).")
            pairs += LowRankHook(self.deltas[layer, parameter], surface, layer).pair
        return pairs

    @contextmanager
    def hooked(self, model: Model) -> Iterator[Model]:
        """The model with the edit as hooks inside the `with`, in the right order among hooks that are already
        attached.
        """
        hooks = self.hooks(model)
        adders, readers = hooks[0::2], hooks[1::2]
        with attached(model, adders, first=True), attached(model, readers):
            yield model

    def check(self, surface: AbstractSurface) -> None:
        """Raise `EditMismatchError` unless the model has the weights that the edit was made for."""
        for place, base in self.bases.items():
            weight = _parameter(surface, place)
            if tuple(weight.shape) != self.deltas[place].shape:
                raise EditMismatchError(
                    f"the edit changes a {place[1]} of shape {self.deltas[place].shape} at layer {place[0]}; this "
                    f"model's is {tuple(weight.shape)}."
                )
            found = fingerprint(weight)
            if found != base.before:
                raise EditMismatchError(self._mismatch(place, base, weight, already=found in base.results))

    def _mismatch(self, place: Place, base: Base, weight: Tensor, already: bool) -> str:
        where = f"{place[1]} of layer {place[0]}"
        if already:
            return f"the edit is already in this model's {where}. Revert it first, or load the model again."
        if _dtype_name(weight) != base.dtype:
            found = _dtype_name(weight)
            return f"the edit was made for {where} in {base.dtype}, this model has {found}. Load it in {base.dtype}."
        return (
            f"the {where} is not the one this edit was made for (made for model "
            f"{self.provenance.get('model', 'unknown')!r}). Another model, weight "
            "processing (fold_ln, centring) or an edit in place, this one included, makes such a difference. Load the "
            "model as it was then."
        )

    # -- algebra -----------------------------------------------------------------------------------------------------

    def scaled(self, factor: float) -> "Edit":
        """The edit times `factor`; 0 changes nothing, 1 is the edit itself.

        What was measured of the edit (`provenance["diagnostics"]`) is then under `"unscaled_diagnostics"`.
        """
        bases = self.bases
        if factor != 1:
            bases = {place: replace(base, after=None, in_steps=()) for place, base in self.bases.items()}
        deltas = {place: delta.scaled(factor) for place, delta in self.deltas.items()}
        return Edit(deltas, bases, of_multiple(self.provenance, factor))

    def __add__(self, other: "Edit") -> "Edit":
        """Both changes together: of the same weights, or `other` made for the weights that this edit leaves behind.

        A sum is written at once, with one rounding; the fingerprint of what it leaves is then not known, see `fitted`.

        Raises:
            EditMismatchError: neither fits.
        """
        deltas, bases = dict(self.deltas), dict(self.bases)
        for place, delta in other.deltas.items():
            if place not in deltas:
                deltas[place], bases[place] = delta, other.bases[place]
                continue
            joined = bases[place].joined(other.bases[place])
            if joined is None:
                raise EditMismatchError(
                    f"the edits change different weights at layer {place[0]} ({place[1]}): the second was made neither "
                    "for the same weight nor for one that the first is known to leave. Make both for the same model, "
                    "or, if the first is a sum that was in place then, add to first.fitted(model)."
                )
            deltas[place], bases[place] = deltas[place] + delta, joined
        return Edit(deltas, bases, of_sum(self.provenance, other.provenance))

    def fitted(self, model: Model) -> "Edit":
        """The same edit with the fingerprints of the weights that it leaves, computed from the model without the edit.

        A sum knows them only so. They tell that it is in a model already, and which edits were made on top of it.

        Raises:
            EditMismatchError: the model's weights are not those the edit was made for.
        """
        surface = as_surface(model)
        self.check(surface)
        fresh = Edit.made_for(surface, self.deltas, self.provenance)
        bases = {place: replace(base, in_steps=self.bases[place].in_steps) for place, base in fresh.bases.items()}
        return Edit(self.deltas, bases, self.provenance)

    @property
    def rank(self) -> int:
        """Rank of the change, summed over parameters (an upper bound)."""
        return sum(delta.rank for delta in self.deltas.values())

    def norms(self) -> dict[Place, tuple[float, float]]:
        """Frobenius norm of each change, and the same relative to the norm of its weight."""
        return {place: (delta.norm(), delta.norm() / self.bases[place].norm) for place, delta in self.deltas.items()}

    # -- files -------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write factors and provenance to one safetensors file."""
        tensors = {
            f"{layer}.{name}.{part}": t for (layer, name), d in self.deltas.items() for part, t in d.tensors().items()
        }
        described = [
            {"layer": layer, "parameter": name, "delta": "lowrank", **vars(base)}
            for (layer, name), base in self.bases.items()
        ]
        return save_tensors(path, _FILE_KIND, tensors, {"changes": described, "provenance": dict(self.provenance)})

    @classmethod
    def load(cls, path: str | Path) -> "Edit":
        """Read what `save` wrote.

        Raises:
            FileFormatError: truncated, corrupt, or not an edit.
        """
        tensors, header = load_tensors(path, _FILE_KIND)
        deltas, bases = {}, {}
        try:
            for change in header["changes"]:
                place = (change.pop("layer"), change.pop("parameter"))
                if change.pop("delta") != "lowrank":
                    raise FileFormatError(
                        f"{path} holds a kind of change that this lens_rome does not know. Update lens_rome."
                    )
                deltas[place] = LowRankDelta.from_tensors(
                    {part: tensors[f"{place[0]}.{place[1]}.{part}"] for part in ("left", "right")}
                )
                bases[place] = Base.read(change)
            return cls(deltas, bases, header.get("provenance", {}))
        except FileFormatError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise FileFormatError(f"{path} is not a complete edit file: {error!r}.") from error

    def __repr__(self) -> str:
        lines = [f"Edit({title(self.provenance)}, rank {self.rank}, model {self.provenance.get('model')!r})"]
        lines += request_lines(self.provenance)
        lines += [
            f"  layer {layer} {name}: norm {norm:.3g}, {share:.2%} of the weight's"
            for (layer, name), (norm, share) in self.norms().items()
        ]
        return "\n".join(lines)


def _parameter(surface: AbstractSurface, place: Place) -> Tensor:
    layer, name = place
    if name != "W_out":
        raise EditError(f"parameter {name!r} is not known; edits change W_out.")
    if not 0 <= layer < surface.n_layers:
        raise EditMismatchError(f"the edit changes layer {layer}; this model has layers 0 to {surface.n_layers - 1}.")
    return surface.weight(layer)


def _dtype_name(weight: Tensor) -> str:
    return str(weight.dtype).removeprefix("torch.")
