"""The corruption of a subject: noise added to its token embeddings, before position embeddings.

The stream is NumPy's legacy generator, drawn anew for each trace as in the released code, so every cell and kind of a
prompt sees the same noise and values can be compared. Causal tracing: ROME, https://arxiv.org/abs/2202.05262, §2.1
and App. B.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lens_rome._typing import Tensor
from lens_rome.errors import TraceError
from lens_rome.surface import AbstractSurface


@dataclass(frozen=True)
class GaussianNoise:
    """Independent normal noise; either a fixed level or a multiple of the subject embeddings' standard deviation."""

    level: float | None = None
    """Standard deviation in embedding units; None to derive it from `sigmas`."""
    sigmas: float = 3.0
    """Multiple of the standard deviation of the subject's token embeddings; the paper's 3. Not used with a `level`."""

    def __post_init__(self) -> None:
        value = self.sigmas if self.level is None else self.level
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value) or value < 0:
            raise TraceError(f"noise must be a finite number from 0 up, got {value!r}.")

    @classmethod
    def parse(cls, noise: "float | str | GaussianNoise") -> "GaussianNoise":
        """A number is a fixed level; `"3σ"`, `"3s"` or `"s3"` are three standard deviations.

        Raises:
            TraceError: neither.
        """
        if isinstance(noise, GaussianNoise):
            return noise
        if isinstance(noise, (int, float)) and not isinstance(noise, bool):
            return cls(level=float(noise))
        match = re.fullmatch(r"(?:[sσ]([0-9.]+)|([0-9.]+)\s*[sσ])", noise.strip()) if isinstance(noise, str) else None
        try:
            if match:
                return cls(sigmas=float(match.group(1) or match.group(2)))
        except ValueError:
            pass
        raise TraceError(
            f"noise {noise!r} is not understood; give a number (a fixed level) or e.g. '3σ' (subject deviations)."
        )

    def resolve(self, surface: AbstractSurface, subjects: Sequence[str]) -> float:
        """The standard deviation to use, in embedding units."""
        if self.level is not None:
            return float(self.level)
        return self.sigmas * subject_deviation(surface, subjects)

    def __str__(self) -> str:
        return f"{self.sigmas:g}σ" if self.level is None else f"{self.level:g}"


def subject_deviation(surface: AbstractSurface, subjects: Sequence[str]) -> float:
    """One standard deviation over all entries of the subjects' token embeddings.

    Each subject is tokenised on its own, without leading space or BOS, and tokens that recur count again, as in the
    released code.
    """
    ids = [token for subject in subjects for token in surface.encode(subject, prepend_bos=False).ids]
    if not ids:
        raise TraceError("no subjects to take the embeddings' deviation from.")
    return float(surface.embeddings(torch.tensor(ids)).double().cpu().std())


def draw_noise(level: float, samples: int, span: tuple[int, int], d_model: int, seed: int) -> Tensor:
    """Noise `[samples, subject token, d_model]`, float64 on the CPU: `level` times `RandomState(seed).randn`."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise TraceError(f"seed must be a whole number from 0 to 2**32 - 1, got {seed!r}.")
    generator = np.random.RandomState(seed)
    return level * torch.from_numpy(generator.randn(samples, span[1] - span[0], d_model))


class CorruptSubject:
    """Hook for `hook_embed` that adds noise at the subject; row `i` gets sample `i % samples`.

    For full-length runs: it counts positions from the start.
    """

    def __init__(self, noise: Tensor, span: tuple[int, int]) -> None:
        self.noise, self.span = noise, span

    def __call__(self, activation: Tensor, hook: object = None) -> Tensor:  # noqa: ARG002, D102 - TransformerLens's
        first, last = self.span
        noise = self.noise.repeat(activation.shape[0] // self.noise.shape[0], 1, 1)
        corrupted = activation.clone()
        # Sum in float64 and round once, as NumPy noise added to float32 embeddings does; on the CPU, which always has
        # float64.
        corrupted[:, first:last] = (activation[:, first:last].cpu().double() + noise).to(activation)
        return corrupted
