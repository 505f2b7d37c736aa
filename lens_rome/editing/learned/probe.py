"""What tells the model of a learned editor again, whatever edits its MLPs hold."""

from collections.abc import Iterable, Mapping

import torch

from lens_rome._typing import Tensor
from lens_rome.surface import AbstractSurface, Reader, Site, attached, silenced

_TOKENS = 16
_EMBEDDINGS = "embeddings"
# Relative. Embeddings differ by one rounding, what is computed by a rounding a block; folded norms and other weights
# differ by more.
_TOLERANCE = {_EMBEDDINGS: 1e-2}
_COMPUTED = 5e-2


@torch.no_grad()
def probe_of(surface: AbstractSurface, layers: Iterable[int]) -> dict[str, Tensor]:
    """Figures of evenly spaced tokens, float32 on the CPU: their embeddings `[token, d_model]`; and of a run in which
    every MLP writes zeros, the inputs of `W_in` of `layers` `[token, d_model]` and the logits of the same tokens
    `[token, token]`.

    So they depend on everything but the MLPs, edits of which they do not see. Folded norms scale the input of `W_in`,
    from which a learned editor's changes are made; processing that leaves the logits alone shows there. Nobody's hooks
    take part.

    Raises:
        SurfaceError: no such layer, or no hook point before its `W_in`.
    """
    tokens = torch.linspace(0, int(surface.cfg.d_vocab) - 1, _TOKENS).long().unique()[: surface.n_ctx]
    inputs = {layer: surface.matrix_hooks(layer, "W_in") for layer in layers}
    reader = Reader({hooks.reads for hooks in inputs.values()})
    muted = [(surface.hook_name(Site(layer, "value")), _nothing) for layer in range(surface.n_layers)]
    with silenced(surface.model), attached(surface.model, reader.hooks):
        logits = surface.run(tokens[None], muted)[0]
    found = {_EMBEDDINGS: surface.embeddings(tokens), "logits": logits[:, tokens.to(logits.device)]}
    for layer, hooks in inputs.items():
        found[f"input of W_in of layer {layer}"] = hooks.input(reader[hooks.reads])[0]
    return {name: tensor.detach().cpu().float().contiguous() for name, tensor in found.items()}


def difference(probe: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str | None:
    """The first figure by which two models differ beyond rounding; None if there is none."""
    if probe.keys() != own.keys():
        return "layers"
    for name, expected in own.items():
        found, tolerance = probe[name], _TOLERANCE.get(name, _COMPUTED)
        # "not <=": what is not finite is no match.
        if found.shape != expected.shape or not float((found - expected).norm()) <= tolerance * float(expected.norm()):
            return name
    return None


def _nothing(activation: Tensor, **_: object) -> Tensor:
    """A hook that makes a place write nothing."""
    return torch.zeros_like(activation)
