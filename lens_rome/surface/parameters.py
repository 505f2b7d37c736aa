"""A model's live parameters by the names that TransformerLens gives them, in its orientation.

What a model shows under such a name may be a copy, a stacked tensor or a computed one; writing to that edits nothing.
Here a tensor is handed out only if it lies in the memory of one of the model's own parameters.
"""

import torch
from torch import nn

from lens_rome._typing import Model, Tensor
from lens_rome.errors import SurfaceError

MLP_PARAMETERS = ("W_in", "b_in", "W_gate", "b_gate", "W_out", "b_out")
ATTENTION_PARAMETERS = ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V", "b_O")
MODEL_PARAMETERS = {"W_E": "embed", "W_pos": "pos_embed", "W_U": "unembed", "b_U": "unembed"}
"""Parameters outside the blocks, and the part of the model that holds them."""
OUTSIDE = -1
"""The layer under which the parameters outside the blocks are named."""


def live_parameter(model: Model, layer: int, name: str) -> tuple[Tensor, nn.Parameter]:
    """The tensor of that name, and the leaf parameter in whose memory it lies (the leaf may be laid out otherwise).

    Raises:
        SurfaceError: no such name at that layer, or the model has nothing live under it.
    """
    owner = _owner(model, layer, name)
    tensor = _shown(owner, name)
    where = f"{name} of layer {layer}" if layer != OUTSIDE else name
    if tensor is None:
        raise SurfaceError(f"the model has no live {where}: its {type(owner).__name__} has no such parameter.")
    own = _own_leaf(owner, tensor) if layer != OUTSIDE else None
    if own is not None:
        return tensor, own
    holders = [leaf for leaf in model.parameters() if _holds(leaf, tensor)]
    if holders:
        return tensor, min(holders, key=torch.numel)
    raise SurfaceError(
        f"the model has no live {where}: what it shows there is computed from other parameters or shared among heads, "
        "so that writing to it would change nothing."
    )


def _own_leaf(owner: object, tensor: Tensor) -> nn.Parameter | None:
    """The leaf of the tensor's own block that is no larger than it; None where there is none. Asking this first spares
    a walk over the whole model, which costs more than a step of fine-tuning.
    """
    leaves = owner.parameters() if isinstance(owner, nn.Module) else iter(())
    return next((leaf for leaf in leaves if leaf.numel() == tensor.numel() and _holds(leaf, tensor)), None)


def _holds(leaf: Tensor, tensor: Tensor) -> bool:
    """Whether a tensor lies within the memory of a leaf. The parts of a fused matrix share their storage, so that
    this alone does not tell them apart.
    """
    if leaf.untyped_storage().data_ptr() != tensor.untyped_storage().data_ptr():
        return False
    (first, last), (start, end) = _extent(leaf), _extent(tensor)
    return first <= start and end <= last


def _extent(tensor: Tensor) -> tuple[int, int]:
    """Addresses of its first and last number."""
    span = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + span * tensor.element_size()


def _owner(model: Model, layer: int, name: str) -> object:
    """The module that holds a parameter of that name; `layer` is known to exist."""
    if layer == OUTSIDE and name in MODEL_PARAMETERS:
        return getattr(model, MODEL_PARAMETERS[name], None)
    if layer != OUTSIDE and name in MLP_PARAMETERS:
        return getattr(model.blocks[layer], "mlp", None)
    if layer != OUTSIDE and name in ATTENTION_PARAMETERS:
        return getattr(model.blocks[layer], "attn", None)
    raise SurfaceError(
        f"there is no parameter {name!r} at layer {layer}. Blocks (layers from 0) have "
        f"{', '.join((*MLP_PARAMETERS, *ATTENTION_PARAMETERS))}; layer {OUTSIDE} stands for the parameters outside "
        f"them: {', '.join(MODEL_PARAMETERS)}."
    )


def _shown(owner: object, name: str) -> Tensor | None:
    try:
        found = getattr(owner, name, None)
    except (RuntimeError, AssertionError, ValueError, TypeError):  # a bridge's property that does not fit its block
        return None
    return found if isinstance(found, torch.Tensor) else None
