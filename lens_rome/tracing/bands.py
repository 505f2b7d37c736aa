"""95% intervals of means: by the normal approximation, or by drawing facts anew (bootstrap). NaN means no sample."""

import numpy as np
from jaxtyping import Float

from lens_rome.errors import TraceError

BANDS = ("normal", "bootstrap")
_HALF_WIDTH = 1.96
"""Standard errors on either side of a mean that hold 95% of a normal distribution."""
_FEWEST_DRAWS = 100
"""Below this the ends of the interval, 2.5% of the draws on either side, rest on one or two of them."""

Cells = Float[np.ndarray, " cell"]


def check_band(band: str, draws: int, seed: int) -> None:
    """`TraceError` for an unknown band, too few draws or a negative seed."""
    if band not in BANDS:
        raise TraceError(f"unknown band {band!r}; choose one of {', '.join(BANDS)}.")
    if isinstance(draws, bool) or draws < _FEWEST_DRAWS:
        raise TraceError(f"draws must be a whole number from {_FEWEST_DRAWS} up, got {draws!r}.")
    if isinstance(seed, bool) or seed < 0:
        raise TraceError(f"seed must be a whole number from 0 up, got {seed!r}.")


def normal_band(values: Float[np.ndarray, "sample cell"]) -> tuple[Cells, Cells]:
    """Ends of mean ± 1.96·s/√n, with the sample standard deviation s (divided by n - 1), for each cell.

    Samples count as independent. NaN where a cell has fewer than two samples.
    """
    count = (~np.isnan(values)).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):  # cells without samples: NaN is what they get
        mean = np.nansum(values, 0) / count
        variance = np.nansum((values - mean) ** 2, 0) / (count - 1)
        half = np.where(count > 1, _HALF_WIDTH * np.sqrt(variance / count), np.nan)
    return mean - half, mean + half


def draw_facts(n_facts: int, draws: int, seed: int) -> Float[np.ndarray, "draw fact"]:
    """How often each fact is in each of `draws` samples of `n_facts` facts with replacement.

    Each row sums to `n_facts`. Two kinds traced for the same facts get the same draws. Takes `draws * n_facts * 16`
    bytes.
    """
    generator = np.random.default_rng(seed)
    return generator.multinomial(n_facts, np.full(n_facts, 1 / n_facts), size=draws).astype(np.float64)


def percentile_band(means: Float[np.ndarray, "draw cell"]) -> tuple[Cells, Cells]:
    """The 2.5 and 97.5 percentiles over the draws that have a mean, for each cell; NaN where none has."""
    ends = np.full((2, means.shape[1]), np.nan)
    there = ~np.isnan(means).all(0)
    if there.any():
        ends[:, there] = np.nanpercentile(means[:, there], [2.5, 97.5], axis=0)
    return ends[0], ends[1]
