"""What it means to corrupt a subject: other token embeddings at its positions, before position embeddings.

Every corruption is a small frozen value with one method that draws embeddings; a new one is one class. They differ in
what a trace can show: noise takes the input off the distribution that the model was trained on, a replacement of the
subject by another stays on it (Zhang and Nanda, https://arxiv.org/abs/2309.16042, compare them).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float

from lens_rome._typing import Tensor
from lens_rome.errors import TraceError
from lens_rome.facts import Prompt
from lens_rome.surface import AbstractSurface
from lens_rome.tracing.places import is_whole

Drawn = Float[Tensor, "sample token d_model"]


@dataclass(frozen=True)
class Target:
    """The tokens of one prompt that a corruption changes."""

    prompt: Prompt
    positions: tuple[int, ...]
    template: str
    """The fact's template, for corruptions that write another subject into it."""


class AbstractCorruption(ABC):
    """How token embeddings are changed; a frozen value without any state."""

    @property
    def replaces(self) -> bool:
        """Whether the drawn values take the place of the embeddings (else they are added)."""
        return True

    @abstractmethod
    def draw(self, surface: AbstractSurface, target: Target, samples: int, seed: int) -> Drawn:
        """Values for the target's positions, float64 on the CPU.

        A corruption without chance returns one sample however many are asked for.
        """

    def fitted(self, surface: AbstractSurface, subjects: Sequence[str]) -> "AbstractCorruption":  # noqa: ARG002
        """The corruption with everything settled that depends on the subjects of the facts; itself by default."""
        return self

    @property
    def size(self) -> float | None:
        """Its size in embedding units, where it has one."""
        return None


class CorruptSubject:
    """Hook for `hook_embed` that writes a corruption's values into the rows of a prompt; goes into `run_with_hooks`.

    Row `i` belongs to prompt `i % prompts` and gets sample `(i // prompts) % samples`. For full-length runs: it counts
    positions from the start.
    """

    def __init__(
        self, values: Drawn, positions: Sequence[int], *, replace: bool = False, prompt: int = 0, prompts: int = 1
    ) -> None:
        self.values, self.positions, self.replace = values, list(positions), replace
        self.prompt, self.prompts = prompt, prompts

    def __call__(self, activation: Tensor, hook: object = None) -> Tensor:  # noqa: ARG002 - TransformerLens's
        """The activation with this prompt's rows corrupted, as a new tensor."""
        corrupted = activation.clone()
        self.write(corrupted)
        return corrupted

    def write(self, activation: Tensor) -> None:
        """Corrupt this prompt's rows in place."""
        rows = activation[self.prompt :: self.prompts]
        values = self.values.repeat(rows.shape[0] // self.values.shape[0], 1, 1)
        if not self.replace:
            # Sum in float64 and round once, as NumPy noise added to float32 embeddings does; on the CPU, which always
            # has float64.
            values = rows[:, self.positions].detach().cpu().double() + values
        rows[:, self.positions] = values.to(activation)


class CorruptAll:
    """The corruptions of several prompts that run in one batch, as one hook."""

    def __init__(self, corruptions: Sequence[CorruptSubject]) -> None:
        self.corruptions = tuple(corruptions)

    def __call__(self, activation: Tensor, hook: object = None) -> Tensor:  # noqa: ARG002 - TransformerLens's
        """The activation with every prompt's rows corrupted, as a new tensor."""
        corrupted = activation.clone()
        for corruption in self.corruptions:
            corruption.write(corrupted)
        return corrupted


def check_samples(samples: object) -> int:
    """`samples` as an int; `TraceError` unless it is a whole number from 1 up."""
    if not is_whole(samples) or samples < 1:
        raise TraceError(f"samples must be a whole number from 1 up, got {samples!r}.")
    return int(samples)


def check_seed(seed: object) -> int:
    """`seed` as an int; `TraceError` unless NumPy's legacy generator takes it."""
    if not is_whole(seed) or not 0 <= seed < 2**32:
        raise TraceError(f"seed must be a whole number from 0 to 2**32 - 1, got {seed!r}.")
    return int(seed)


def check_drawn(values: Drawn, target: Target, d_model: int) -> Drawn:
    """What a corruption drew; `TraceError` for a wrong shape or values that are not finite."""
    if values.ndim != 3 or values.shape[1:] != (len(target.positions), d_model) or not torch.isfinite(values).all():
        raise TraceError(
            f"the corruption drew values of shape {tuple(values.shape)} (or not finite ones) for "
            f"{len(target.positions)} tokens of {d_model} dimensions; it must return [sample, token, d_model]."
        )
    return values
