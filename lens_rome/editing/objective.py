"""What an edit is to achieve, as editors see it: say the target or unsay it, on the prompt as it is or with a noised
subject. The five editing problems of Hase et al. (https://arxiv.org/abs/2301.04213) are combinations of these.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float

from lens_rome._typing import Tensor
from lens_rome.errors import EditError


@dataclass(frozen=True)
class Objective:
    """What an editor optimises; the default is what all editors were made for."""

    erase: bool = False
    """Make `target_new` unlikely: the loss is exp(-nll), the target's probability per token, and no small loss ends
    the optimisation early.
    """
    noise: float = 0.0
    """Standard deviation of Gaussian noise on the embeddings of the subject's tokens, in every run of the edit. Each
    prompt has its own draw, which stays the same throughout.
    """
    noise_seed: int = 1
    """Of the draws."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.noise) and self.noise >= 0):
            raise EditError(f"noise is a standard deviation ≥ 0, got {self.noise!r}.")

    def loss(self, nll: Float[Tensor, " request"]) -> Float[Tensor, " request"]:
        """The first term of the loss from the mean negative log-likelihood (nats per token) of the target."""
        return torch.exp(-nll) if self.erase else nll
