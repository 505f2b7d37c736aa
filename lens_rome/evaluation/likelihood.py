"""Probability that a model continues prompts with given targets, asked plainly, in whole runs of the model as it is.

`evaluate` asks for many edited models at once (`engine`) and finds the same values.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lens_rome.facts import answer_tokens
from lens_rome.surface import AbstractSurface, pad_right

_ROWS = 64  # rows of one forward; bounds memory


@dataclass(frozen=True)
class Likelihood:
    """How likely a model finds a target after a prompt, its tokens given one by one (teacher forcing)."""

    logprob: float
    """Joint log-probability of all its tokens, in nats."""
    tokens: int
    """How many there are."""
    top: int
    """How many of them are the model's most likely next token."""

    @property
    def nll(self) -> float:
        """Mean negative log-likelihood per token, in nats; ROME's measure."""
        return -self.logprob / self.tokens

    @property
    def prob(self) -> float:
        """Joint probability; the measure of Hase et al."""
        return math.exp(self.logprob)

    @property
    def mean_prob(self) -> float:
        """Geometric mean of the token probabilities, `exp(-nll)`; ROME's measure."""
        return math.exp(-self.nll)

    @property
    def accuracy(self) -> float:
        """Share of tokens that are the most likely; the measure of zsRE."""
        return self.top / self.tokens

    @property
    def exact(self) -> bool:
        """Whether every token is the most likely."""
        return self.top == self.tokens


@torch.no_grad()
def likelihoods(
    surface: AbstractSurface, questions: Sequence[tuple[str, str]], prepend_bos: bool | None = None
) -> list[Likelihood]:
    """That of each `(prompt, target)`. Rows are padded on the right, which changes nothing."""
    found: list[Likelihood] = []
    for start in range(0, len(questions), _ROWS):
        rows, targets = [], []
        for prompt, target in questions[start : start + _ROWS]:
            answer = answer_tokens(surface, prompt, target, prepend_bos)
            rows.append([*surface.encode(prompt, prepend_bos).ids, *answer[:-1]])
            targets.append(answer)
        logits = surface.run(pad_right(rows)[0])
        for said, row, answer in zip(logits, rows, targets, strict=True):
            predicted = said[len(row) - len(answer) : len(row)].double()
            wanted = torch.tensor(answer, device=predicted.device)
            logprob = predicted.log_softmax(-1).gather(-1, wanted[:, None]).sum()
            found.append(Likelihood(float(logprob), len(answer), int((predicted.argmax(-1) == wanted).sum())))
    return found


def mean_nll(
    surface: AbstractSurface, questions: Sequence[tuple[str, str]], prepend_bos: bool | None = None
) -> list[float]:
    """`Likelihood.nll` of each `(prompt, target)`."""
    return [each.nll for each in likelihoods(surface, questions, prepend_bos)]
