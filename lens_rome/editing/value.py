"""What a search for v* or z* is told and what it finds (ROME, §3.1 step 2)."""

import math
from dataclasses import dataclass

from jaxtyping import Float

from lens_rome._typing import Tensor
from lens_rome.errors import EditError


@dataclass(frozen=True)
class ValueSettings:
    """Hyper-parameters of the optimisation, with the released code's names in brackets."""

    steps: int = 20
    """Forward passes at most; one update fewer (v_num_grad_steps)."""
    lr: float = 0.5
    """Adam's learning rate (v_lr)."""
    weight_decay: float = 0.5
    """Weight of ‖δ‖ / ‖v0‖² (v_weight_decay)."""
    kl_factor: float = 0.0625
    """Weight of the divergence of "{subject} is a" from the unedited model."""
    clamp: float = 4.0
    """Largest ‖δ‖, in units of ‖v0‖ (clamp_norm_factor)."""
    stop_loss: float = 0.05
    """Stop when the total loss is below this."""

    def __post_init__(self) -> None:
        positive, others = (self.steps, self.lr, self.clamp), (self.weight_decay, self.kl_factor, self.stop_loss)
        right = all(math.isfinite(number) for number in (*positive, *others)) and isinstance(self.steps, int)
        if not right or min(positive) <= 0 or min(others) < 0:
            raise EditError(f"steps ≥ 1, lr and clamp > 0 and the other settings ≥ 0 are needed, got {self}.")


@dataclass(frozen=True, eq=False)
class Value:
    """The result of the optimisation."""

    delta: Float[Tensor, " d_model"]
    initial: Float[Tensor, " d_model"]
    """v0: the layer's output at the lookup token of the bare prompt."""
    losses: tuple[dict[str, float], ...]
    """Of each step: total, nll (nats per target token, mean over contexts), kl (nats), weight_decay."""
    prob_before: float
    """Probability of the new object after the bare prompt without δ: its joint probability over all tokens."""

    @property
    def target(self) -> Float[Tensor, " d_model"]:
        """v*."""
        return self.initial + self.delta
