"""A short fingerprint of a model's weights, to tell whether two runs were of the same model."""

import hashlib

import torch

from lens_rome.surface._abstract import AbstractSurface

_ENTRIES = 4096  # of each weight; enough to notice any edit of rank one, which touches nearly every entry


@torch.no_grad()
def weights_digest(surface: AbstractSurface) -> str:
    """sha256 over evenly spaced entries of every `W_out`, its bias and the unembedding; the same on both surfaces.

    Another precision, weight processing or an edit of `W_out` gives another digest.
    """
    digest = hashlib.sha256()
    weights = [surface.weight(layer) for layer in range(surface.n_layers)]
    weights += [surface.bias(layer) for layer in range(surface.n_layers)]
    for weight in [*weights, surface.model.W_U, surface.model.W_E]:
        flat = weight.detach().reshape(-1)
        some = flat[:: max(1, len(flat) // _ENTRIES)].cpu().contiguous()
        digest.update(f"{tuple(weight.shape)} {weight.dtype}".encode())
        digest.update(some.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
