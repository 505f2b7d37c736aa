"""What a model says: probabilities of answers, and free continuations."""

from collections.abc import Sequence

import torch

from lens_rome.evaluation import likelihoods
from lens_rome.surface import AbstractSurface


def answer_probs(
    surface: AbstractSurface, questions: Sequence[tuple[str, str]], prepend_bos: bool | None = None
) -> list[float]:
    """Joint probability of all tokens of the answer, for each `(prompt, answer)`."""
    return [each.prob for each in likelihoods(surface, questions, prepend_bos)]


@torch.no_grad()
def continue_text(surface: AbstractSurface, prompt: str, tokens: int, prepend_bos: bool | None = None) -> str:
    """The most likely continuation, token by token, up to an end of text or a line break.

    Greedy, so that a difference between two models is theirs and not chance's.
    """
    ids = list(surface.encode(prompt, prepend_bos).ids)
    begin = len(ids)
    for _ in range(min(tokens, surface.n_ctx - begin)):
        ids.append(int(surface.run(torch.tensor([ids]))[0, -1].argmax()))
        if ids[-1] == surface.tokenizer.eos_token_id or "\n" in surface.tokenizer.decode(ids[-1:]):
            ids.pop()
            break
    return str(surface.tokenizer.decode(ids[begin:])).strip()
