"""Noise at a subject's token embeddings.

The stream is NumPy's legacy generator, drawn anew for each trace as in the released code, so every cell and kind of a
prompt sees the same noise and values can be compared. Causal tracing: ROME, https://arxiv.org/abs/2202.05262, §2.1
and App. B.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as changed

import numpy as np
import torch

from lens_rome._typing import Tensor
from lens_rome.errors import TraceError
from lens_rome.surface import AbstractSurface
from lens_rome.tracing.corruption import AbstractCorruption, Drawn, Target, check_seed


@dataclass(frozen=True)
class _SizedNoise(AbstractCorruption):
    level: float | None = None
    """Size in embedding units; None to derive it from `sigmas`."""
    sigmas: float = 3.0
    """Size as a multiple of the standard deviation of the subject's token embeddings; the paper's 3. Not used with a
    `level`.
    """
    replace: bool = False
    """Put the noise in place of the embeddings instead of adding it."""

    def __post_init__(self) -> None:
        value = self.sigmas if self.level is None else self.level
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value) or value < 0:
            raise TraceError(f"noise must be a finite number from 0 up, got {value!r}.")

    def fitted(self, surface: AbstractSurface, subjects: Sequence[str]) -> "_SizedNoise":
        """With the level of these subjects' embeddings."""
        return (
            self if self.level is not None else changed(self, level=self.sigmas * subject_deviation(surface, subjects))
        )

    @property
    def replaces(self) -> bool:
        """As the field says."""
        return self.replace

    @property
    def size(self) -> float | None:
        """The level; None before it is fitted."""
        return None if self.level is None else float(self.level)

    def _level(self, surface: AbstractSurface, target: Target) -> float:
        return self.fitted(surface, [target.prompt.subject]).size or 0.0


@dataclass(frozen=True)
class GaussianNoise(_SizedNoise):
    """Independent normal noise; `level` is its standard deviation. The paper's corruption."""

    def draw(self, surface: AbstractSurface, target: Target, samples: int, seed: int) -> Drawn:
        """`level` times `RandomState(seed).randn`."""
        span = (0, len(target.positions))
        return draw_noise(self._level(surface, target), samples, span, surface.d_model, seed)

    def __str__(self) -> str:
        size = f"{self.sigmas:g}σ" if self.level is None else f"{self.level:g}"
        return f"{size} in place of the embeddings" if self.replace else size


@dataclass(frozen=True)
class UniformNoise(_SizedNoise):
    """Independent uniform noise; `level` is half the width of its range.

    The released code's `u0.3` is a half width of 0.3 in embedding units; the paper's ±3σ is `UniformNoise(sigmas=3)`.
    """

    def draw(self, surface: AbstractSurface, target: Target, samples: int, seed: int) -> Drawn:
        """`level` times `RandomState(seed).uniform(-1, 1)`."""
        shape = (samples, len(target.positions), surface.d_model)
        drawn = np.random.RandomState(check_seed(seed)).uniform(-1, 1, shape)
        return self._level(surface, target) * torch.from_numpy(drawn)

    def __str__(self) -> str:
        size = f"±{self.sigmas:g}σ" if self.level is None else f"±{self.level:g}"
        return f"uniform {size}" + (" in place of the embeddings" if self.replace else "")


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
    generator = np.random.RandomState(check_seed(seed))
    return level * torch.from_numpy(generator.randn(samples, span[1] - span[0], d_model))
