"""How much probability a model gives to a word everywhere in the texts that it writes."""

from collections.abc import Sequence

import torch

from lens_rome.studies.probes.asking import rows_at_once
from lens_rome.surface import AbstractSurface, pad_right


@torch.no_grad()
def mean_mass(
    surface: AbstractSurface,
    prompt: str,
    texts: Sequence[str],
    tokens: Sequence[int],
    prepend_bos: bool | None = None,
) -> list[float]:
    """Mean probability of each of `tokens` over all places at which tokens of `texts` were written after `prompt`.

    The texts are tokenised as they read, and the model is taken as it is now. A text of no tokens has no places; 0 if
    there are none at all.
    """
    first = len(surface.encode(prompt, prepend_bos).ids)
    whole = [surface.encode(prompt + text, prepend_bos).ids for text in texts]
    size = rows_at_once(surface, max(map(len, whole)))
    total, places = torch.zeros(len(tokens), dtype=torch.float64), 0
    for start in range(0, len(whole), size):
        rows = whole[start : start + size]
        for row, logits in zip(rows, surface.run(pad_right(rows)[0]), strict=True):
            # Logits at a place tell of the next token.
            said = logits[first - 1 : len(row) - 1].double().softmax(-1)[:, list(tokens)]
            total, places = total + said.sum(0).cpu(), places + len(said)
    return (total / max(places, 1)).tolist()
