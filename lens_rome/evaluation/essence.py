"""Whether an edit leaves alone what a subject is: Hase et al.'s essence score (https://arxiv.org/abs/2301.04213).

The unedited model says some sentences about the subject; an edited model that finds them much less likely has changed
more than one fact. The released code samples these sentences anew in every run; here they are sampled once a subject.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from lens_rome._typing import Model
from lens_rome.evaluation.generation import generate
from lens_rome.evaluation.given_texts import perplexities
from lens_rome.evaluation.settings import TextSettings
from lens_rome.surface import AbstractSurface

_PROMPT = "{} is a"
_WORST = 5.0  # rise of the perplexity from which on nothing is left (the paper's)


@dataclass(frozen=True)
class Essence:
    """What the unedited model says of a subject."""

    texts: tuple[str, ...]
    perplexity: float
    """Mean over the texts of each one's perplexity under the model that wrote them."""


def read_essences(
    model: Model | AbstractSurface,
    subjects: Iterable[str],
    *,
    settings: TextSettings | None = None,
    prepend_bos: bool | None = None,
) -> dict[str, Essence]:
    """The essence of each subject under the model as it is now, which shall be the unedited one.

    A subject's texts come from streams of its own, so they are the same whoever else is asked for.

    Args:
        settings: None for the papers'; its `essence_samples` texts are written for each subject.
    """
    settings, subjects = settings or TextSettings(), list(dict.fromkeys(subjects))
    asked = [(subject, sample) for subject in subjects for sample in range(settings.essence_samples)]
    texts = generate(
        model,
        [_PROMPT.replace("{}", subject) for subject, _ in asked],
        length=settings.length,
        top_k=settings.top_k,
        seed=settings.seed,
        ids=[f"essence/{subject}/{sample}" for subject, sample in asked],
        prepend_bos=prepend_bos,
        rows=settings.rows,
    )
    told = perplexities(model, texts, longest=settings.length, prepend_bos=prepend_bos)
    found: dict[str, Essence] = {}
    for place, subject in enumerate(subjects):
        own = slice(place * settings.essence_samples, (place + 1) * settings.essence_samples)
        found[subject] = Essence(tuple(texts[own]), fmean(told[own]))
    return found


def essence_score(before: float, after: float) -> float:
    """1 where the perplexity of the essence texts has not risen by the edit, 0 where it has by 5 or more, or where the
    edited model has none (a broken model).

    >>> essence_score(10.0, 12.0)
    0.6
    """
    rise = after - before
    return 0.0 if math.isnan(rise) else 1 - min(max(rise, 0.0), _WORST) / _WORST
