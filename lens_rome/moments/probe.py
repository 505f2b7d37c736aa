"""The keys of one fixed text tell whether two models are the same."""

from collections.abc import Iterable

import torch
from jaxtyping import Float

from lens_rome._typing import Tensor
from lens_rome.errors import MomentError
from lens_rome.surface import AbstractSurface, Site

PROBE_TEXT = (
    "The old clock in the town hall struck nine, and Maria, who had come from London by train, bought a newspaper."
)
"""The text whose keys identify a model."""
_SAME_MODEL = 0.99  # smallest mean cosine between two models' keys of the probe text


@torch.no_grad()
def probe_keys(surface: AbstractSurface, layers: Iterable[int], prepend_bos: bool | None) -> dict[int, Tensor]:
    """Keys of the probe text, by layer, `[pos, d_mlp]`, float32 on the CPU."""
    text = surface.tokenizer(PROBE_TEXT, add_special_tokens=False)["input_ids"]
    ids = [*bos_ids(surface, prepend_bos), *text][: surface.n_ctx]
    sites = [Site(layer, "key") for layer in layers]
    found = surface.read(torch.tensor([ids]), sites)
    return {site.layer: found[site][0].float().cpu() for site in sites}


def same_keys(keys: Float[Tensor, "pos d_mlp"], others: Float[Tensor, "other_pos other_mlp"]) -> bool:
    """Whether two models' keys of the probe text are so alike that the models are the same."""
    return keys.shape == others.shape and float(torch.cosine_similarity(keys, others, dim=-1).mean()) > _SAME_MODEL


def bos_ids(surface: AbstractSurface, prepend_bos: bool | None) -> list[int]:
    """The BOS token where one is put first, else nothing.

    Raises:
        MomentError: one is asked for and the tokenizer has none.
    """
    if not surface.prepends_bos(prepend_bos):
        return []
    if surface.tokenizer.bos_token_id is None:
        raise MomentError("the tokenizer has no BOS token; pass prepend_bos=False.")
    return [surface.tokenizer.bos_token_id]
