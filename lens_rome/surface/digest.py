"""A short fingerprint of a model, to tell whether two runs were of the same one."""

import hashlib

import torch

from lens_rome.surface._abstract import AbstractSurface

_ENTRIES = 1024  # of each parameter
_TOP = 10
_TEXT = "The old clock in the town hall struck nine, and Maria, who had come from London by train, bought a newspaper."


@torch.no_grad()
def model_digest(surface: AbstractSurface) -> str:
    """sha256 over evenly spaced entries of every parameter, the hooks that are attached, and the ten most likely tokens
    after each word of a fixed text.

    Another precision, surface, weight processing, edit or set of hooks gives another digest; hooks of the same name and
    place are told apart only by what they do to that text.
    """
    digest = hashlib.sha256()
    for name, parameter in sorted(surface.model.named_parameters()):
        flat = parameter.detach().reshape(-1)
        some = flat[:: max(1, len(flat) // _ENTRIES)].cpu().contiguous()
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
        digest.update(some.view(torch.uint8).numpy().tobytes())
    for name, point in sorted(surface.model.hook_dict.items()):
        hooks = [
            getattr(handle.user_hook, "__qualname__", type(handle.user_hook).__name__) for handle in point.fwd_hooks
        ]
        digest.update(f"{name} {hooks}".encode() if hooks else b"")
    ids = surface.tokenizer(_TEXT, add_special_tokens=False)["input_ids"][: surface.n_ctx]
    best = surface.run(torch.tensor([ids]))[0].topk(_TOP).indices
    digest.update(str(best.tolist()).encode())
    return digest.hexdigest()
