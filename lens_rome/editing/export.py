"""An edited model as a checkpoint folder that Hugging Face transformers loads, without lens_rome or TransformerLens."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lens_rome._typing import Model, Tensor
from lens_rome.editing.delta import Place
from lens_rome.editing.weights import place_name
from lens_rome.errors import EditError, EditMismatchError, SurfaceError
from lens_rome.surface import (
    ATTENTION_PARAMETERS,
    MLP_PARAMETERS,
    MODEL_PARAMETERS,
    OUTSIDE,
    AbstractSurface,
    as_surface,
    folder_written_whole,
    load_model,
    silenced,
    why_processed,
    write_checkpoint,
)

if TYPE_CHECKING:
    from lens_rome.editing.edit import Edit

# Largest relative difference of the logits of one model on two surfaces, by precision of the weights.
_SAME_MODEL = {torch.float64: 1e-5, torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}
# Biases of which a bridge shows each that its checkpoint holds.
_PLAIN_BIASES = ("b_in", "b_gate", "b_out", "b_O")
_TEXT = "The old clock in the town hall struck nine, and Maria, who had come from London by train, bought a newspaper."


def export_edit(edit: "Edit", model: Model, folder: str | Path, source: str | Path | None = None) -> Path:
    """Write the edited model; see `Edit.export`."""
    folder, surface = Path(folder), as_surface(model)
    if reason := why_processed(surface):
        raise EditError(
            f"this model cannot be exported: {reason}, and a checkpoint holds raw weights. Load the model with "
            "process_weights=False (lens_rome.load_model does), and make the edit there."
        )
    edit.check(surface)
    with folder_written_whole(folder) as temporary:
        origin = surface if surface.name == "bridge" else _source_of(edit, surface, source)
        with edit.applied(origin.model):
            write_checkpoint(origin, temporary)
    return folder


def _source_of(edit: "Edit", surface: AbstractSurface, source: str | Path | None) -> AbstractSurface:
    """The checkpoint that a HookedTransformer was loaded from, as a bridge; raises unless it is the same model."""
    known = str(getattr(surface.tokenizer, "name_or_path", ""))
    if source is None and Path(known).is_dir():
        source = known
    named = source if source is not None else str(surface.cfg.model_name)
    origin = as_surface(load_model(named, "bridge", dtype=surface.dtype, device=surface.device))
    try:
        edit.check(origin)
    except EditMismatchError as error:
        raise EditMismatchError(
            f"the checkpoint {named} does not hold the weights that this edit was made for: {error} Name the folder "
            "or hub name that the model was loaded from: edit.export(model, folder, source=...)."
        ) from error
    if (place := _first_difference(surface, origin)) is not None:
        raise EditMismatchError(
            f"{place_name(place)} of this model is not that of the checkpoint {named}: it was changed or processed "
            "since it was loaded, and only what this edit changes can be exported. Take back what was applied before, "
            "or make one edit of both (first + second)."
        )
    distance = _distance(_logits(origin), _logits(surface))
    if not distance <= _SAME_MODEL.get(surface.dtype, 1e-1):
        raise EditMismatchError(
            f"this model's logits differ from those of the checkpoint {named} by {distance:.1e} (relative): weights "
            "outside the edit (norms?) were changed or processed since it was loaded. Only what the edit changes can "
            "be exported."
        )
    outside = {name for layer, name in edit.deltas if layer == OUTSIDE}
    if outside & {"W_E", "W_U"} and origin.leaf(OUTSIDE, "W_E") is origin.leaf(OUTSIDE, "W_U"):
        raise EditError(
            "W_E and W_U are one tensor in this checkpoint and two in a HookedTransformer: a change of one cannot be "
            "written there without the other. Make the edit on a TransformerBridge."
        )
    return origin


@torch.no_grad()
def _first_difference(surface: AbstractSurface, origin: AbstractSurface) -> Place | None:
    """The first parameter of blocks or embeddings that is not the checkpoint's, of those that both show in one shape.

    An edit in place may be too small for the logits of one text, so numbers must be equal. Norms, and keys and values
    that heads share, are left to the logits.
    """
    names = {layer: (*ATTENTION_PARAMETERS, *MLP_PARAMETERS) for layer in range(surface.n_layers)}
    for layer, own in {OUTSIDE: tuple(MODEL_PARAMETERS), **names}.items():
        for name in own:
            mine, theirs = (_shown(each, layer, name) for each in (surface, origin))
            if mine is None or (name == "W_E" and _scales_embeddings(surface)):
                continue
            if theirs is None and name in _PLAIN_BIASES:
                theirs = torch.zeros_like(mine)  # what the checkpoint lacks, TransformerLens has as zeros
            if theirs is not None and mine.shape == theirs.shape and not _same(mine, theirs):
                return layer, name
    return None


def _shown(surface: AbstractSurface, layer: int, name: str) -> Tensor | None:
    try:
        return surface.parameter(layer, name).detach()
    except SurfaceError:
        return None


def _scales_embeddings(surface: AbstractSurface) -> bool:
    """Whether TransformerLens multiplies `W_E` by a constant when it makes a HookedTransformer."""
    return str(getattr(surface.cfg, "original_architecture", "")).startswith("Gemma")


def _same(mine: Tensor, theirs: Tensor) -> bool:
    """Whether all numbers are equal. TransformerLens takes double precision through single precision on loading."""
    if torch.equal(mine, theirs):
        return True
    return mine.dtype == torch.float64 and torch.equal(mine, theirs.float().to(mine))


@torch.no_grad()
def _logits(surface: AbstractSurface) -> Tensor:
    """Logits of a fixed text without anybody's hooks."""
    ids = surface.tokenizer(_TEXT, add_special_tokens=False)["input_ids"][: surface.n_ctx]
    with silenced(surface.model):
        return surface.run(torch.tensor([ids])).double().log_softmax(-1)


def _distance(one: Tensor, other: Tensor) -> float:
    if one.shape != other.shape:
        return float("inf")
    return float((one - other).norm() / other.norm())
