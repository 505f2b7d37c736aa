"""The least-squares line through a cloud of points, with the 95% band of its mean."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_Z = 1.96
_POINTS = 60
_TINY = 1e-12
"""Spread, relative to the size of the values, below which values count as constant: rounding alone makes that much."""


@dataclass(frozen=True)
class Line:
    """A line over the range of the points, and how well they keep to it."""

    x: Float[np.ndarray, " place"]
    """Empty where no line can be fitted."""
    y: Float[np.ndarray, " place"]
    low: Float[np.ndarray, " place"]
    """Lower end of the band: mean - 1.96 standard errors; NaN for fewer than three points."""
    high: Float[np.ndarray, " place"]
    r: float
    """Pearson's correlation; NaN where one of the two is constant."""


def fit_line(x: Float[np.ndarray, " point"], y: Float[np.ndarray, " point"]) -> Line:
    """Least squares of `y` on `x` with an intercept. Points of one `x` have no line.

    The standard error of the mean at a place is `s · sqrt(1/n + (place - mean x)² / Sxx)` with `s² = RSS / (n - 2)`.

    >>> line = fit_line(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0]))
    >>> float(line.y[0]), float(line.y[-1]), line.r
    (1.0, 5.0, 1.0)
    """
    none = np.empty(0)
    if len(x) < 2 or _is_constant(x):
        return Line(none, none, none, none, math.nan)
    dx, dy = x - x.mean(), y - y.mean()
    sxx, sxy, syy = float(dx @ dx), float(dx @ dy), float(dy @ dy)
    slope = sxy / sxx
    places = np.linspace(x.min(), x.max(), _POINTS)
    mean = y.mean() + slope * (places - x.mean())
    half = np.full(_POINTS, math.nan)
    if len(x) > 2:
        rss = float(np.square(dy - slope * dx).sum())
        half = _Z * math.sqrt(rss / (len(x) - 2)) * np.sqrt(1 / len(x) + np.square(places - x.mean()) / sxx)
    r = math.nan if _is_constant(y) else max(-1.0, min(1.0, sxy / math.sqrt(sxx * syy)))
    return Line(places, mean, mean - half, mean + half, r)


def _is_constant(values: Float[np.ndarray, " point"]) -> bool:
    return float(np.ptp(values)) <= _TINY * float(np.abs(values).max())
