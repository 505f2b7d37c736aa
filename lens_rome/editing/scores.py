"""Normalised scores of an edit from probabilities before and after it (Hase et al.,
https://arxiv.org/abs/2301.04213, App. B). Joint probabilities of whole targets, from 0 to 1; nothing is clipped.
"""

import math

from lens_rome.errors import EditError


def rewrite_score(prob_before: float, prob_after: float) -> float:
    """Share of the missing probability that the edit gained: `(p* - p) / (1 - p)`. 0 for an unchanged model, 1 for
    certainty, NaN where nothing was missing.

    >>> rewrite_score(0.5, 0.75)
    0.5
    """
    _check_probs(prob_before, prob_after)
    return (prob_after - prob_before) / (1 - prob_before) if prob_before < 1 else math.nan


def erasure_score(prob_before: float, prob_after: float) -> float:
    """Share of the probability that is gone: `(p - p*) / p`; NaN where there was none."""
    _check_probs(prob_before, prob_after)
    return (prob_before - prob_after) / prob_before if prob_before > 0 else math.nan


def neighborhood_score(prob_before: float, prob_after: float) -> float:
    """How little a probability after a neighbour's prompt moved, of what it could have moved: `1 - |p* - p| / max(p,
    1 - p)`. The paper takes that of the false object, on prompts without noise, for every problem.
    """
    _check_probs(prob_before, prob_after)
    return 1 - abs(prob_after - prob_before) / max(prob_before, 1 - prob_before)


def _check_probs(*probs: float) -> None:
    for prob in probs:
        if not -1e-6 <= prob <= 1 + 1e-6:  # room for rounding
            raise EditError(f"scores are of probabilities from 0 to 1, got {prob!r}.")
