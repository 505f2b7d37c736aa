"""Short forms of corruptions, for the command line and for quick calls."""

import re
from numbers import Real
from typing import SupportsFloat

from lens_rome.errors import TraceError
from lens_rome.tracing.corruption import AbstractCorruption
from lens_rome.tracing.noise import GaussianNoise, UniformNoise
from lens_rome.tracing.replacement import MeanEmbeddings, ZeroEmbeddings

_NUMBER = r"([0-9]*\.?[0-9]+(?:e-?[0-9]+)?)"


def parse_corruption(noise: SupportsFloat | str | AbstractCorruption) -> AbstractCorruption:
    """A corruption as it is, or one of its short forms.

    A number is normal noise of that standard deviation; `"3σ"`, `"3s"` or `"s3"` is three standard deviations of the
    subject's token embeddings; `"u0.3"` is uniform noise of that half width, `"u3σ"` of three deviations; `"zero"` and
    `"mean"` replace the embeddings.

    Raises:
        TraceError: none of these.
    """
    if isinstance(noise, AbstractCorruption):
        return noise
    if isinstance(noise, Real) and not isinstance(noise, bool):
        return GaussianNoise(level=float(noise))
    text = noise.strip() if isinstance(noise, str) else ""
    if text in ("zero", "mean"):
        return ZeroEmbeddings() if text == "zero" else MeanEmbeddings()
    if match := re.fullmatch(rf"(u?)(?:[sσ]{_NUMBER}|{_NUMBER}\s*[sσ])", text):
        kind = UniformNoise if match[1] else GaussianNoise
        return kind(sigmas=float(match[2] or match[3]))
    if match := re.fullmatch(rf"u{_NUMBER}", text):
        return UniformNoise(level=float(match[1]))
    hint = " Multivariate and Student noise need statistics: MultivariateNoise(EmbeddingStatistics.collect(...))."
    raise TraceError(
        f"noise {noise!r} is not understood; give a number (a fixed level), '3σ' (subject deviations), 'u0.3' or 'u3σ' "
        f"(uniform), 'zero', 'mean', or a corruption such as SwapSubject('another subject')."
        + (hint if text[:1] in ("m", "t") else "")
    )
