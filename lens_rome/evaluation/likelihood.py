"""Probability that a model continues prompts with given targets."""

from collections.abc import Sequence

import torch

from lens_rome.facts import answer_tokens
from lens_rome.surface import AbstractSurface, pad_right

_ROWS = 64  # rows of one forward; bounds memory


@torch.no_grad()
def mean_nll(
    surface: AbstractSurface, questions: Sequence[tuple[str, str]], prepend_bos: bool | None = None
) -> list[float]:
    """Mean negative log-likelihood per target token, in nats, of each `(prompt, target)`; ROME's measure.

    `exp(-nll)` is the geometric mean of the token probabilities, not the joint probability. Teacher forcing; rows are
    padded on the right, which changes nothing.
    """
    found: list[float] = []
    for start in range(0, len(questions), _ROWS):
        rows, targets = [], []
        for prompt, target in questions[start : start + _ROWS]:
            answer = answer_tokens(surface, prompt, target, prepend_bos)
            rows.append([*surface.encode(prompt, prepend_bos).ids, *answer[:-1]])
            targets.append(answer)
        logits = surface.run(pad_right(rows)[0])
        for index, (row, answer) in enumerate(zip(rows, targets, strict=True)):
            predicted = logits[index, len(row) - len(answer) : len(row)].double().log_softmax(-1)
            picked = predicted.gather(-1, torch.tensor(answer, device=predicted.device)[:, None])
            found.append(-float(picked.double().mean()))
    return found
