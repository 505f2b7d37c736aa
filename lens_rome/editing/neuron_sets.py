"""From attributions to a fact's neurons: the largest of each prompt, and of these the ones that prompts share."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float

from lens_rome._typing import Tensor
from lens_rome.editing.attribution import AttributionSettings, answer_ids, attributed, questions_of
from lens_rome.facts import EditRequest, tokenize_prompt
from lens_rome.surface import AbstractSurface


def coarse_set(scores: Float[Tensor, "layer d_mlp"], threshold: float) -> Bool[Tensor, "layer d_mlp"]:
    """The neurons with an attribution above `threshold`, at least 0 and below 1, times the largest of all layers; none
    if that is not positive.
    """
    return scores > threshold * scores.max()


def shared_by(sets: Bool[Tensor, "prompt layer d_mlp"], share: float) -> Bool[Tensor, "layer d_mlp"]:
    """The neurons that are in more than this share of the sets."""
    return sets.sum(0) > share * len(sets)


@dataclass(frozen=True, eq=False)
class NeuronSets:
    """The neurons of each of a fact's prompts, the request's own first."""

    sets: Bool[Tensor, "prompt layer d_mlp"]
    largest: tuple[float, ...]
    """Largest attribution after each prompt."""
    old: tuple[int, ...]
    """Tokens of the old object after the first prompt."""

    def sizes(self) -> tuple[int, ...]:
        """Number of neurons in each set."""
        return tuple(int(each.sum()) for each in self.sets)


def find_sets(
    surface: AbstractSurface,
    prompts: Sequence[tuple[EditRequest, str]],
    old: tuple[int, ...] | None,
    threshold: float,
    settings: AttributionSettings,
    prepend_bos: bool,
) -> NeuronSets:
    """Coarse sets after several prompts.

    Args:
        prompts: wordings of one request, each with the context prefix before it.
        old: tokens of the answer to attribute; None for those of the request's `target_true` after each prompt.
    """
    sets, largest, answers = [], [], []
    for wording, before in prompts:
        text = before + wording.prompt
        answers.append(old or answer_ids(surface, text, wording.target_true, settings, prepend_bos))
        tokens = tokenize_prompt(surface, wording, prepend_bos, before).tokens
        scores = attributed(surface, questions_of(tokens, answers[-1], settings), settings).cpu()
        sets.append(coarse_set(scores, threshold))
        largest.append(float(scores.max()))
    return NeuronSets(torch.stack(sets), tuple(largest), answers[0])
