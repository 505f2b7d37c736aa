"""95% intervals over the cases of a probe."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

SAMPLES = 2000
"""Resamples of a bootstrap."""
LEAST = 0.05
"""Nats by which an edit must move something, so that a share of it says something."""
_Z = 1.96


def bootstrap(
    values: Sequence[float] | Float[np.ndarray, "case ..."],
    of: Callable[[Float[np.ndarray, "..."]], float] = lambda cases: float(np.mean(cases)),
    *,
    seed: int = 0,
) -> tuple[float, float, float]:
    """A number of the cases, and the middle 95% of what it is when cases are drawn anew with replacement.

    Args:
        values: a row a case.
        of: the number, given some of the rows; their mean where it is left out. Draws of which it is NaN do not count.

    Returns:
        The number and both ends; NaN as ends for fewer than two cases, all NaN for none.
    """
    cases = np.asarray(values, dtype=float)
    if len(cases) == 0:
        return math.nan, math.nan, math.nan
    found = of(cases)
    if len(cases) < 2:
        return found, math.nan, math.nan
    generator = np.random.default_rng(seed)
    drawn = np.array([of(cases[generator.integers(len(cases), size=len(cases))]) for _ in range(SAMPLES)])
    if np.isnan(drawn).all():
        return found, math.nan, math.nan
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return found, float(low), float(high)


def ratio(pairs: Float[np.ndarray, "case 2"]) -> float:
    """Mean of the first column over the mean of the second; NaN where that is 0.

    >>> ratio(np.array([[1.0, 2.0], [0.0, 2.0]]))
    0.25
    """
    above, below = np.mean(pairs, axis=0)
    return float(above / below) if below != 0 else math.nan


def transfer(pairs: Float[np.ndarray, "case 2"]) -> float:
    """`ratio` of two changes in nats; NaN where the second is too small to take a share of.

    >>> transfer(np.array([[1.0, 4.0]])), transfer(np.array([[0.01, 0.02]]))
    (0.25, nan)
    """
    return ratio(pairs) if abs(np.mean(pairs, axis=0)[1]) >= LEAST else math.nan


def wilson(successes: int, n: int) -> tuple[float, float, float]:
    """A share and its 95% interval by Wilson's formula, which stays within 0 and 1; NaN for n = 0.

    >>> [round(x, 3) for x in wilson(0, 10)]
    [0.0, 0.0, 0.278]
    """
    if n == 0:
        return math.nan, math.nan, math.nan
    share = successes / n
    middle = share + _Z**2 / (2 * n)
    half = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    whole = 1 + _Z**2 / n
    return share, max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)
