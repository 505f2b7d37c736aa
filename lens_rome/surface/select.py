"""From a model to its surface, with everything refused that later code could not be right about."""

import torch
from jaxtyping import Float

from lens_rome._typing import Model, Tensor
from lens_rome.errors import SurfaceError
from lens_rome.surface._abstract import AbstractSurface
from lens_rome.surface._bridge import BridgeSurface
from lens_rome.surface._hooked import HookedSurface
from lens_rome.surface._versions import is_bridge, is_hooked
from lens_rome.surface.site import Site


def as_surface(model: Model) -> AbstractSurface:
    """The surface of a `HookedTransformer` or `TransformerBridge`.

    Raises:
        SurfaceError: another kind of model, or one in training mode (dropout would make every figure random).
    """
    if is_hooked(model):
        surface: AbstractSurface = HookedSurface(model)
    elif is_bridge(model):
        surface = BridgeSurface(model)
    else:
        raise SurfaceError(
            f"expected a HookedTransformer or TransformerBridge, got {type(model).__name__}. Load one with "
            "lens_rome.load_model(name_or_folder) or TransformerBridge.boot_transformers(name)."
        )
    if getattr(model.cfg, "attention_dir", "causal") != "causal":
        raise SurfaceError(
            "the model's attention looks ahead; only causal (left-to-right) models can be traced and edited."
        )
    if any(module.training for module in model.modules()):
        raise SurfaceError("the model, or a part of it, is in training mode; call model.eval() first.")
    return surface


def check_finite(surface: AbstractSurface, output: Tensor) -> None:
    """Raise `SurfaceError`, naming the parameters to blame, if `output` holds NaN or infinity."""
    if torch.isfinite(output).all():
        return
    broken = [name for name, weight in surface.model.named_parameters() if not torch.isfinite(weight).all()]
    where = ", ".join(broken[:3]) if broken else "none of its weights; its activations overflow"
    raise SurfaceError(f"the model's output is not finite. NaN or infinite values are in: {where}. Reload the weights.")


def check_logits(surface: AbstractSurface, resumed: Tensor, full: Tensor) -> None:
    """Raise `SurfaceError` if logits of a resumed run are not those of the model's own forward."""
    error = (resumed - full).norm() / full.norm().clamp_min(1e-12)
    if not error <= _LAYER_TOLERANCE.get(surface.dtype, 1e-1):
        raise SurfaceError(
            f"the model's logits differ from norm and unembedding of its last residual by {float(error):.1e} "
            "(relative): it does more after the unembedding (a scale?) than lens_rome knows of."
        )


def check_resumed(surface: AbstractSurface, resumed: Float[Tensor, "row d"], full: Float[Tensor, "row d"]) -> None:
    """Raise `SurfaceError` if what a resumed run gives is not finite, or not what the run that it continues gives."""
    check_finite(surface, resumed)
    if not rows_agree(surface, resumed, full):
        raise SurfaceError(
            f"a run of this model that resumes in the middle differs by {_largest_error(resumed, full):.1e} (relative) "
            "from a whole one: its attention uses positions or masks in a way that lens_rome does not know of."
        )


def rows_agree(surface: AbstractSurface, found: Float[Tensor, "row d"], expected: Float[Tensor, "row d"]) -> bool:
    """Whether every row is as expected up to the rounding of the model's precision."""
    return _largest_error(found, expected) <= _ROW_TOLERANCE.get(surface.dtype, 5e-2)


def _largest_error(found: Float[Tensor, "row d"], expected: Float[Tensor, "row d"]) -> float:
    """Of all rows, relative: a mean over rows would hide one that is wrong."""
    return float(((found - expected).norm(dim=-1) / expected.norm(dim=-1).clamp_min(1e-12)).max())


# Largest relative difference of a row between two ways to compute it, by precision of the weights. Some surfaces of
# double precision compute in single inside.
_ROW_TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}

# Largest relative difference between key @ W_out + b_out and what the model computes, by precision of the weights.
_LAYER_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}


def check_layer(surface: AbstractSurface, layer: int) -> None:
    """Make sure that in this block `key @ W_out + b_out` is what the value site reads, on a short text.

    Folded weights, gates after the key, mixtures of experts and transposed layouts fail here instead of giving a
    wrong edit.

    Raises:
        SurfaceError: no such layer, the two differ, or the weight is not finite.
    """
    surface.check_layers([layer])
    weight = surface.weight(layer)
    if not torch.isfinite(weight).all():
        raise SurfaceError(f"W_out of layer {layer} holds NaN or infinite values. Reload the weights.")
    key, value = Site(layer, "key"), Site(layer, "value")
    tokens = torch.tensor([surface.encode("The check of a layer").ids])
    with torch.no_grad():
        found = surface.read(tokens, [key, value])
        if found[key].shape[-1] != weight.shape[0] or found[value].shape[-1] != weight.shape[1]:
            raise SurfaceError(
                f"layer {layer}: W_out is {tuple(weight.shape)} but its input has {found[key].shape[-1]} features "
                "and its "
                f"output {found[value].shape[-1]}; this block cannot be edited."
            )
        check_finite(surface, found[value])
        expected = found[key].to(weight.dtype) @ weight + surface.bias(layer)
        error = (expected - found[value]).norm() / found[value].norm().clamp_min(1e-12)
    if not error <= _LAYER_TOLERANCE.get(weight.dtype, 1e-1):
        raise SurfaceError(
            f"layer {layer}: key @ W_out + b_out differs from the model's own MLP output by {float(error):.1e} "
            "(relative). "
            "The block does more than one dense matrix, or a hook on it changes the output; it cannot be edited."
        )
