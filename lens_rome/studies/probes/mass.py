"""How much probability a model gives to a word everywhere in the texts that were written."""

from collections.abc import Sequence

import torch

from lens_rome.studies.probes.asking import rows_at_once
from lens_rome.studies.probes.texts import Written
from lens_rome.surface import AbstractSurface, check_finite, pad_right


@torch.no_grad()
def mean_mass(surface: AbstractSurface, texts: Sequence[Written], tokens: Sequence[int]) -> list[float]:
    """Mean probability of each of `tokens` over all places at which a token of the texts was written.

    The model is taken as it is now, and given the very tokens that were written. 0 if there are none at all.

    Raises:
        SurfaceError: an output that is not finite.
    """
    size = rows_at_once(surface, max((len(text.tokens) for text in texts), default=1))
    total, places = torch.zeros(len(tokens), dtype=torch.float64), 0
    for start in range(0, len(texts), size):
        some = texts[start : start + size]
        for text, logits in zip(some, surface.run(pad_right([text.tokens for text in some])[0]), strict=True):
            # Logits at a place tell of the next token.
            scores = logits[text.start - 1 : len(text.tokens) - 1].double()
            check_finite(surface, scores)
            said = scores.softmax(-1)[:, list(tokens)]
            total, places = total + said.sum(0).cpu(), places + len(said)
    return (total / max(places, 1)).tolist()
