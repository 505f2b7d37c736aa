"""Prompts with their targets as one batch of tokens, and the likelihood of the targets in a run of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int

from lens_rome._typing import Tensor, Tokens
from lens_rome.facts import answer_tokens
from lens_rome.surface import AbstractSurface, pad_right

TokenPair = tuple[tuple[int, ...], tuple[int, ...]]
"""The tokens of a prompt and those of the target that follows it."""


def token_pair(surface: AbstractSurface, prompt: str, target: str, prepend_bos: bool | None) -> TokenPair:
    """Tokens of a prompt and of its target.

    Raises:
        SubjectSpanError: the target has no tokens of its own after the prompt.
        SurfaceError: more tokens than the model's context holds.
    """
    answer = answer_tokens(surface, prompt, target, prepend_bos)
    return surface.encode(prompt, prepend_bos).ids, answer


@dataclass(frozen=True, eq=False)
class TargetRows:
    """Rows of prompt and whole target, padded on the right. The target's last token predicts nothing that counts; it
    is there because the released editors read it.
    """

    tokens: Tokens
    mask: Bool[Tensor, "row pos"]
    """What is no padding."""
    row: Int[Tensor, " target"]
    """Row of each target token of the batch, in order."""
    at: Int[Tensor, " target"]
    """Position that predicts it."""
    token: Int[Tensor, " target"]

    @classmethod
    def of(cls, pairs: Sequence[TokenPair]) -> "TargetRows":
        """One row a pair."""
        tokens, mask = pad_right([[*prompt, *target] for prompt, target in pairs])
        spots = [
            (row, len(prompt) - 1 + i, token)
            for row, (prompt, target) in enumerate(pairs)
            for i, token in enumerate(target)
        ]
        row, at, token = torch.tensor(spots).T
        return cls(tokens, mask, row, at, token)

    def logprobs(self, logits: Float[Tensor, "row pos d_vocab"]) -> Float[Tensor, " target"]:
        """Log-probability (nats) of each target token, teacher forced; float32 at least."""
        chosen = logits[self.row.to(logits.device), self.at.to(logits.device)]
        chosen = chosen.to(torch.promote_types(chosen.dtype, torch.float32)).log_softmax(-1)
        return chosen.gather(-1, self.token.to(chosen.device)[:, None])[:, 0]

    def joint(self, logprobs: Float[Tensor, " target"]) -> list[float]:
        """Joint log-probability (nats) of each row's target, from those of its tokens."""
        summed = logprobs.detach().cpu().double()
        return summed.new_zeros(len(self.tokens)).index_add(0, self.row, summed).tolist()

    def nll(self, logits: Float[Tensor, "row pos d_vocab"]) -> Float[Tensor, " row"]:
        """Mean negative log-likelihood (nats) of each row's target tokens."""
        logprobs = self.logprobs(logits)
        row = self.row.to(logprobs.device)
        total = logprobs.new_zeros(len(self.tokens)).index_add(0, row, logprobs)
        return -total / torch.bincount(row, minlength=len(self.tokens))
