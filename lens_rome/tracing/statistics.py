"""Noise with the mean and covariance of token embeddings in a corpus: the released code's `m` and `t` rules."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float

from lens_rome._typing import Model, Tensor
from lens_rome.errors import TraceError
from lens_rome.surface import AbstractSurface, as_surface
from lens_rome.tracing.corruption import AbstractCorruption, Drawn, Target, check_seed

_IN_PLACE = " in place of the embeddings"


@dataclass(frozen=True, eq=False)
class EmbeddingStatistics:
    """Mean and unbiased covariance of the token embeddings of a corpus. Memory: `8 · d_model²` bytes."""

    mean: Float[Tensor, " d_model"]
    covariance: Float[Tensor, "d_model d_model"]
    count: int
    """Number of tokens."""
    digest: str
    """sha256 over the texts, in order."""

    @classmethod
    @torch.no_grad()
    def collect(cls, model: Model, texts: Iterable[str]) -> "EmbeddingStatistics":
        """Over all tokens of `texts`, without BOS; float64.

        Raises:
            TraceError: fewer than two tokens.
        """
        surface = as_surface(model)
        digest = hashlib.sha256()
        counts = torch.zeros(int(surface.cfg.d_vocab), dtype=torch.float64)
        for text in texts:
            digest.update(text.encode() + b"\0")
            ids = surface.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
            counts += torch.bincount(torch.tensor(ids, dtype=torch.long), minlength=len(counts))
        total = float(counts.sum())
        if total < 2:
            raise TraceError(f"the corpus has {total:.0f} tokens; statistics of embeddings need at least two.")
        used = counts.nonzero()[:, 0]
        embeddings, weights = surface.embeddings(used).cpu().double(), counts[used]
        mean = weights @ embeddings / total
        centred = embeddings - mean
        covariance = (centred.T * weights) @ centred / (total - 1)
        return cls(mean, covariance, int(total), digest.hexdigest())

    def spread(self, standard: Drawn) -> Drawn:
        """Standard normal draws turned into draws with this mean and covariance."""
        basis, deviations = self._axes
        return self.mean + standard * deviations @ basis.T

    @cached_property
    def _axes(self) -> tuple[Float[Tensor, "d_model d_model"], Float[Tensor, " d_model"]]:
        """Principal axes and deviations along them: cubic in `d_model`, so once for all facts."""
        basis, values, _ = torch.linalg.svd(self.covariance)
        return basis, values.sqrt()

    def __str__(self) -> str:
        return f"{self.count} tokens (sha {self.digest[:8]})"


@dataclass(frozen=True, eq=False)
class MultivariateNoise(AbstractCorruption):
    """Normal noise with the mean and covariance of embeddings. As released, the mean is added too."""

    statistics: EmbeddingStatistics
    replace: bool = False

    @property
    def replaces(self) -> bool:
        """As the field says."""
        return self.replace

    def draw(self, surface: AbstractSurface, target: Target, samples: int, seed: int) -> Drawn:
        """From `RandomState(seed).randn`."""
        return self.statistics.spread(_standard(surface, target, samples, seed))

    def __str__(self) -> str:
        return f"multivariate normal of {self.statistics}" + _IN_PLACE * self.replace


@dataclass(frozen=True, eq=False)
class StudentNoise(AbstractCorruption):
    """Student t noise with the mean and covariance of embeddings: heavier tails the fewer degrees of freedom.

    Scaled so that the covariance stays as it is; as released, the factor scales the mean as well.

    Raises:
        TraceError: degrees of freedom not above 2, where there is no covariance.
    """

    statistics: EmbeddingStatistics
    degrees: float = 5.0
    replace: bool = False

    @property
    def replaces(self) -> bool:
        """As the field says."""
        return self.replace

    def __post_init__(self) -> None:
        if not self.degrees > 2:
            raise TraceError(f"Student's t has a covariance only above 2 degrees of freedom, got {self.degrees!r}.")

    def draw(self, surface: AbstractSurface, target: Target, samples: int, seed: int) -> Drawn:
        """Normals from `RandomState(seed)`, chi-squares from `RandomState(2)` as released: one a sample and token."""
        normal = self.statistics.spread(_standard(surface, target, samples, seed))
        chi = np.random.RandomState(2).chisquare(self.degrees, (samples, len(target.positions)))
        return torch.from_numpy(np.sqrt((self.degrees - 2) / chi))[..., None] * normal

    def __str__(self) -> str:
        return f"Student t with {self.degrees:g} degrees of freedom of {self.statistics}" + _IN_PLACE * self.replace


def _standard(surface: AbstractSurface, target: Target, samples: int, seed: int) -> Drawn:
    shape = (samples, len(target.positions), surface.d_model)
    return torch.from_numpy(np.random.RandomState(check_seed(seed)).randn(*shape))
