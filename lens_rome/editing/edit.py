"""`Edit`: a change of a model as a value. It can be applied and taken back, used as hooks, added, scaled, saved and
loaded.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float

from lens_rome._typing import FwdHooks, Model, Tensor
from lens_rome.editing.applied import Applied
from lens_rome.editing.base import Base
from lens_rome.editing.delta import Delta, Place
from lens_rome.editing.describe import of_multiple, of_sum, request_lines, sizes, title
from lens_rome.editing.export import export_edit
from lens_rome.editing.files import load_fields, save_edit
from lens_rome.editing.fingerprint import fingerprint
from lens_rome.editing.hooks import hooks_of
from lens_rome.editing.weights import check_fits, dtype_name, find_parameters, place_name, rounded
from lens_rome.errors import EditError, EditMismatchError, NotFiniteError
from lens_rome.surface import OUTSIDE, AbstractSurface, as_surface, attached

# The share of a change that rounding loses from which on its print says so.
_WORTH_TELLING = 0.01


@dataclass(frozen=True, eq=False)
class Edit:
    """Changes of named parameters, made for exactly one set of weights.

    Nothing in the model changes until `applied` or `apply_`; both restore a saved copy of the weight, bit for bit.
    `hooks` does the same to the model's function without touching a weight.
    """

    deltas: Mapping[Place, Delta]
    """What is added to each parameter: low-rank, of some rows, or dense."""
    bases: Mapping[Place, Base]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """How it was made: editor and its settings, requests, contexts, diagnostics, losses (JSON-able)."""
    keys: Mapping[int, Float[Tensor, "_ d_mlp"]] = field(default_factory=dict)
    """The keys that the edit wrote at, by layer, one a row: what later edits can be asked to leave alone."""

    def __post_init__(self) -> None:
        if set(self.deltas) != set(self.bases):
            raise EditError(
                f"deltas are of {sorted(self.deltas)}, bases of {sorted(self.bases)}; they must be the same."
            )

    @classmethod
    def made_for(
        cls,
        surface: AbstractSurface,
        deltas: Mapping[Place, Delta],
        provenance: Mapping[str, Any],
        keys: Mapping[int, Tensor] | None = None,
    ) -> "Edit":
        """An edit of the model's present weights.

        Raises:
            EditError: two of the places are one tensor in this model (tied weights).
            EditMismatchError: the model has no such parameter, or none that is live.
        """
        bases = {}
        for place, weight in find_parameters(surface, deltas).items():
            written, lost = rounded(deltas[place], weight)
            norm = float(weight.detach().double().norm())
            bases[place] = Base(fingerprint(weight), fingerprint(written), dtype_name(weight), norm, rounding=lost)
        return cls(deltas, bases, provenance, dict(keys or {}))

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
        parameters = find_parameters(surface, self.deltas)
        edited = {place: delta.added_to(parameters[place]) for place, delta in self.deltas.items()}
        for place, weight in edited.items():
            if not torch.isfinite(weight).all():
                raise NotFiniteError(
                    f"{place_name(place)}: the edited weight is not finite in {weight.dtype}. Nothing was written."
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

        There are hooks for low-rank changes of `W_out`, `W_in` and `W_gate` and for changes of the biases beside
        them. They equal the edited weights if where a changed matrix reads (`mlp.hook_post` for `W_out`) no hook that
        changes the activation comes after them, and none before them where it writes (`hook_mlp_out`): list them
        before hooks there, or use `hooked`, which sees to the order.

        Raises:
            EditMismatchError: the model's weights are not those the edit was made for.
            EditError: a change has no hook form (a dense one or one of rows, other parameters).
        """
        surface = as_surface(model)
        self.check(surface)
        adders, readers = hooks_of(surface, self.deltas)
        return [*adders, *readers]

    @contextmanager
    def hooked(self, model: Model) -> Iterator[Model]:
        """The model with the edit as hooks inside the `with`, in the right order among hooks that are already
        attached.
        """
        surface = as_surface(model)
        self.check(surface)
        adders, readers = hooks_of(surface, self.deltas)
        with attached(model, adders, first=True), attached(model, readers):
            yield model

    def check(self, surface: AbstractSurface) -> None:
        """Raise `EditMismatchError` unless the model has the weights that the edit was made for."""
        check_fits(surface, self.deltas, self.bases, self.provenance)

    # -- algebra -----------------------------------------------------------------------------------------------------

    def scaled(self, factor: float) -> "Edit":
        """The edit times `factor`; 0 changes nothing, 1 is the edit itself.

        What was measured of the edit (`provenance["diagnostics"]`) is then under `"unscaled_diagnostics"`.
        """
        bases = self.bases
        if factor != 1:
            bases = {place: replace(base, after=None, in_steps=(), rounding=None) for place, base in self.bases.items()}
        deltas = {place: delta.scaled(factor) for place, delta in self.deltas.items()}
        return Edit(deltas, bases, of_multiple(self.provenance, factor), self.keys)

    def __add__(self, other: "Edit") -> "Edit":
        """Both changes together: of the same weights, or `other` made for the weights that this edit leaves behind.
        Their keys are listed one after the other.

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
                    f"the edits change different weights, both {place_name(place)}: the second was made neither for "
                    "the same weight nor for one that the first is known to leave. Make both for the same model, or, "
                    "if the first is a sum that was in place then, add to first.fitted(model)."
                )
            deltas[place], bases[place] = deltas[place] + delta, joined
        keys = dict(self.keys)
        for layer, found in other.keys.items():
            keys[layer] = torch.cat([keys[layer].cpu(), found.cpu()]) if layer in keys else found
        return Edit(deltas, bases, of_sum(self.provenance, other.provenance), keys)

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
        return replace(self, bases=bases)

    @property
    def rank(self) -> int:
        """Rank of the change, summed over parameters (an upper bound)."""
        return sum(delta.rank for delta in self.deltas.values())

    def norms(self) -> dict[Place, tuple[float, float]]:
        """Frobenius norm of each change, and the same relative to the norm of its weight (infinite for a bias of
        zeros).
        """
        found = {}
        for place, delta in self.deltas.items():
            norm, whole = delta.norm(), self.bases[place].norm
            found[place] = (norm, norm / whole if whole else math.inf)
        return found

    def rounding(self, model: Model, dtype: torch.dtype | None = None) -> dict[Place, float]:
        """What writing the edit into the weights' precision loses: norm of the rounding error over that of the change.

        Hooks add the change to the activations instead, so that they lose less of a small one.

        Args:
            dtype: another precision to ask of, e.g. `torch.bfloat16`; the weights themselves are then rounded too,
                and only what the change loses by it is counted.

        Raises:
            EditMismatchError: the model's weights are not those the edit was made for.
        """
        surface = as_surface(model)
        self.check(surface)
        parameters = find_parameters(surface, self.deltas)
        return {place: rounded(self.deltas[place], weight, dtype)[1] for place, weight in parameters.items()}

    # -- files -------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write changes, keys and provenance to one safetensors file."""
        return save_edit(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "Edit":
        """Read what `save` wrote.

        Raises:
            FileFormatError: truncated, corrupt, or not an edit.
        """
        return cls(**load_fields(path))

    def export(self, model: Model, folder: str | Path, *, source: str | Path | None = None) -> Path:
        """Write the edited model as a Hugging Face checkpoint: weights (safetensors), configuration, tokenizer.

        `transformers` and `lens_rome.load_model` load the folder; its logits are those of the model with the edit, in
        the model's precision. The model itself comes back bit for bit. A bridge writes its own Hugging Face model; a
        HookedTransformer the checkpoint that it was loaded from, after all weights that both show and the logits of a
        text were compared. An edit that is in the model in place is a difference: export the sum of both.

        Args:
            folder: a new or empty folder; it appears whole or not at all.
            source: the HookedTransformer's checkpoint (folder or hub name) where its configuration does not name it.

        Raises:
            EditError: the model's weights are processed (folded norms, centring), or tied in the checkpoint only.
            EditMismatchError: the edit was made for other weights, `source` is another model, or other weights of a
                HookedTransformer were changed since it was loaded.
            FileFormatError: the folder holds something already.
            SurfaceError: no such source.
        """
        return export_edit(self, model, folder, source)

    def __repr__(self) -> str:
        head = (title(self.provenance), sizes(self.deltas.values()), f"model {self.provenance.get('model')!r}")
        lines = [f"Edit({', '.join(head)})", *request_lines(self.provenance)]
        for (layer, name), (norm, share) in self.norms().items():
            base = self.bases[layer, name]
            where = name if layer == OUTSIDE else f"layer {layer} {name}"
            told = f"{where}: norm {norm:.3g}, {share:.2%} of the weight's"
            if base.rounding is not None and base.rounding > _WORTH_TELLING:
                told += f"; {base.rounding:.1%} of it lost by rounding to {base.dtype}"
            lines.append(f"  {told}")
        return "\n".join(lines)
