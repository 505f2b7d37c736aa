"""Corruptions that put other embeddings in the subject's place: those of another subject, zeros, the mean."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float

from lens_rome._typing import Tensor
from lens_rome.errors import LensRomeError, TraceError
from lens_rome.facts import Fact, tokenize_prompt
from lens_rome.surface import AbstractSurface
from lens_rome.tracing.corruption import AbstractCorruption, Drawn, Target, check_seed


@dataclass(frozen=True)
class SwapSubject(AbstractCorruption):
    """Symmetric token replacement: the subject's tokens become those of another subject of the same token length.

    The corrupted prompt is an ordinary text, so the model stays on the distribution it knows; what it recalls then is
    the other subject's (Zhang and Nanda, https://arxiv.org/abs/2309.16042, recommend it). With several `others` each
    sample is one of them.
    """

    others: str | tuple[str, ...]
    """One subject, which must fit, or many to draw from, of which those that fit are used."""

    def __post_init__(self) -> None:
        if not self.candidates or not all(other.strip() for other in self.candidates):
            raise TraceError(f"SwapSubject needs other subjects, got {self.others!r}.")

    @property
    def candidates(self) -> tuple[str, ...]:
        """The other subjects, however many were given."""
        return (self.others,) if isinstance(self.others, str) else self.others

    def draw(self, surface: AbstractSurface, target: Target, samples: int, seed: int) -> Drawn:
        """Embeddings of the first `samples` of the others that fit, in an order drawn from `RandomState(seed)`.

        Raises:
            TraceError: none fits; the message tells the token lengths.
        """
        first, last = target.prompt.subject_span
        if target.positions != tuple(range(first, last)):
            raise TraceError("SwapSubject replaces the subject and nothing else; leave out corrupt=.")
        order = np.random.RandomState(check_seed(seed)).permutation(len(self.candidates))
        fitting: list[tuple[int, ...]] = []
        for index in order:
            ids = self._swapped(surface, target, self.candidates[index])
            if ids is not None:
                fitting.append(ids[first:last])
            if len(fitting) == samples:
                break
        if not fitting:
            raise TraceError(self._misfit(surface, target))
        return (
            surface.embeddings(torch.tensor(fitting).flatten()).cpu().double().reshape(len(fitting), last - first, -1)
        )

    def _swapped(self, surface: AbstractSurface, target: Target, other: str) -> tuple[int, ...] | None:
        """Tokens of the prompt with `other` as its subject; None if they do not line up with the prompt's."""
        prompt = target.prompt
        if other.strip() == prompt.subject:
            return None
        try:
            swapped = tokenize_prompt(surface, Fact(other, target.template, "?"), prompt.prepend_bos)
        except LensRomeError:
            return None
        first, last = prompt.subject_span
        same = swapped.tokens[:first] == prompt.tokens[:first] and swapped.tokens[last:] == prompt.tokens[last:]
        return swapped.tokens if swapped.subject_span == prompt.subject_span and same else None

    def _misfit(self, surface: AbstractSurface, target: Target) -> str:
        first, last = target.prompt.subject_span
        others = [other for other in self.candidates if other.strip() != target.prompt.subject]
        found = []
        for other in others[:3]:
            swapped = tokenize_prompt(surface, Fact(other, target.template, "?"), target.prompt.prepend_bos)
            found.append(f"{other!r} has {swapped.subject_span[1] - swapped.subject_span[0]}")
        more = f" (and {len(others) - 3} more)" if len(others) > 3 else ""
        told = ", ".join(found) + more if found else "no other was given"
        return (
            f"no other subject fits in the place of {target.prompt.subject!r}, which has {last - first} tokens in "
            f"{target.prompt.marked()}: {told}. Give one of the same token length."
        )

    def __str__(self) -> str:
        if len(self.candidates) == 1:
            return f"subject swapped for {self.candidates[0]!r}"
        digest = hashlib.sha256("\0".join(self.candidates).encode()).hexdigest()
        return f"subject swapped for {len(self.candidates)} others (sha {digest[:8]})"


@dataclass(frozen=True)
class ZeroEmbeddings(AbstractCorruption):
    """The subject's token embeddings are zero: one sample, no chance. Far from anything the model has seen."""

    def draw(self, surface: AbstractSurface, target: Target, samples: int, seed: int) -> Drawn:  # noqa: ARG002
        """One sample of zeros."""
        return torch.zeros(1, len(target.positions), surface.d_model, dtype=torch.float64)

    def __str__(self) -> str:
        return "zero embeddings"


@dataclass(frozen=True)
class MeanEmbeddings(AbstractCorruption):
    """The subject's token embeddings are the mean over the whole vocabulary: one sample, no chance."""

    mean: Float[Tensor, " d_model"] | None = field(default=None, compare=False, repr=False)
    """Of one model's embeddings; None until it is fitted."""

    def fitted(self, surface: AbstractSurface, subjects: Sequence[str]) -> "MeanEmbeddings":  # noqa: ARG002
        """With the mean of this model's vocabulary, which is read once for all facts."""
        if self.mean is not None:
            return self
        return MeanEmbeddings(surface.embeddings(torch.arange(int(surface.cfg.d_vocab))).cpu().double().mean(0))

    def draw(self, surface: AbstractSurface, target: Target, samples: int, seed: int) -> Drawn:  # noqa: ARG002
        """One sample of the mean at each position."""
        mean = self.fitted(surface, ()).mean
        assert mean is not None
        return mean.expand(1, len(target.positions), -1).clone()

    def __str__(self) -> str:
        return "mean embeddings"
