"""How much probability a model gives to a word everywhere in the texts that it writes."""

from collections.abc import Sequence

import torch

from lens_rome.facts import answer_tokens
from lens_rome.studies.probes.asking import rows_at_once
from lens_rome.surface import AbstractSurface, pad_right


def first_token(surface: AbstractSurface, prompt: str, target: str, prepend_bos: bool | None = None) -> int:
    """The first token of `target` as the continuation of `prompt`."""
    return answer_tokens(surface, prompt, target, prepend_bos)[0]


@torch.no_grad()
def mean_mass(
    surface: AbstractSurface,
    prompt: str,
    texts: Sequence[str],
    token: int,
    prepend_bos: bool | None = None,
) -> float:
    """Mean probability of `token` over all places at which tokens of `texts` were written after `prompt`.

    The texts are tokenised as they read, and the model is taken as it is now. A text of no tokens has no places; 0 if
    there are none at all.
    """
    first = len(surface.encode(prompt, prepend_bos).ids)
    whole = [surface.encode(prompt + text, prepend_bos).ids[: surface.n_ctx] for text in texts]
    size = rows_at_once(surface, max(map(len, whole)))
    total, places = 0.0, 0
    for start in range(0, len(whole), size):
        rows = whole[start : start + size]
        for row, logits in zip(rows, surface.run(pad_right(rows)[0]), strict=True):
            # Logits at a place tell of the next token.
            said = logits[first - 1 : len(row) - 1].double().softmax(-1)[:, token]
            total, places = total + float(said.sum()), places + len(said)
    return total / places if places else 0.0
