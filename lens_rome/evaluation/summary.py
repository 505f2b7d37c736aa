"""Means over records with their 95% intervals: the papers' formula, and a bootstrap over records for S."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
from jaxtyping import Float

from lens_rome.evaluation.metrics import METRICS, AnyMetric, Combination, Metric
from lens_rome.evaluation.rows import Row

Z = 1.96
"""Half width of a 95% interval in standard errors, as the papers round it."""
SAMPLES = 1000
"""Resamples of a bootstrap interval."""
_AT_ONCE = 4_000_000  # counts held at a time; bounds memory


@dataclass(frozen=True)
class Score:
    """A mean over records with the half width of its 95% interval: `1.96 · sd / √n`, the sd over the n records (divided
    by n), as in the published tables. NaN for one record.
    """

    mean: float
    half_width: float
    n: int
    """Records that have the value."""
    bounds: tuple[float, float] | None = None
    """Ends of the interval where it is a bootstrap (percentiles), which need not lie around the mean."""
    seed: int | None = None
    """Of the bootstrap."""
    scale: float = 100.0
    """What it is printed times."""

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends."""
        return self.bounds or (self.mean - self.half_width, self.mean + self.half_width)

    def __str__(self) -> str:
        width = "" if math.isnan(self.half_width) else f" ± {self.scale * self.half_width:.1f}"
        return f"{self.scale * self.mean:.1f}{width}"


MISSING = Score(math.nan, math.nan, 0)


def mean_score(values: Collection[float]) -> Score:
    """The mean of one value a record, with the published interval."""
    if not values:
        return MISSING
    n = len(values)
    with np.errstate(invalid="ignore"):  # the spread of infinities is NaN
        spread = float(np.std(np.fromiter(values, np.float64, n)))
    return Score(fmean(values), Z * spread / n**0.5 if n > 1 else math.nan, n)


def record_values(rows: Iterable[Row], metric: AnyMetric, *, before: bool = False) -> dict[int, float]:
    """Each record's value by case id, the mean over its rows; records without data are not there.

    Args:
        before: of the unedited model.
    """
    if isinstance(metric, Metric):
        return _row_means(rows, metric, before)
    if metric.harmonic:
        return {}
    several = list(rows)
    parts = [record_values(several, METRICS[name], before=before) for name in metric.parts]
    shared = [case for case in parts[0] if all(case in part for part in parts)]
    return {case: fmean(part[case] for part in parts) for case in shared}


def _row_means(rows: Iterable[Row], metric: Metric, before: bool) -> dict[int, float]:
    found: dict[int, list[float]] = {}
    for row in rows:
        if row.group != metric.group:
            continue
        asked = row.before if before else row
        value = None if asked is None else metric.value(asked)
        if value is not None:
            found.setdefault(row.case_id, []).append(value)
    return {case: fmean(values) for case, values in found.items()}


def harmonic_mean(means: Sequence[float]) -> float:
    """0 if one of them is 0, NaN if one is missing."""
    if any(map(math.isnan, means)):
        return math.nan
    return 0.0 if min(means) == 0 else len(means) / sum(1 / mean for mean in means)


def harmonic_score(parts: Sequence[Mapping[int, float]], *, samples: int = SAMPLES, seed: int = 0) -> Score:
    """Harmonic mean of the parts' means over records, with a bootstrap interval: records are drawn with replacement,
    all parts of a record together; the interval holds the middle 95% of the results.
    """
    mean = harmonic_mean([fmean(part.values()) if part else math.nan for part in parts])
    n = len(set().union(*parts))
    if math.isnan(mean) or n < 2:
        return Score(mean, math.nan, 0 if math.isnan(mean) else n)
    return percentile_score(mean, harmonic_resamples(parts, samples=samples, seed=seed), n, seed)


def percentile_score(mean: float, drawn: Float[np.ndarray, " sample"], n: int, seed: int) -> Score:
    """A score whose interval is the middle 95% of resampled means."""
    low, high = (float(end) for end in np.nanpercentile(drawn, [2.5, 97.5]))
    return Score(mean, (high - low) / 2, n, (low, high), seed)


def harmonic_resamples(
    parts: Sequence[Mapping[int, float]], *, samples: int = SAMPLES, seed: int = 0
) -> Float[np.ndarray, " sample"]:
    """The harmonic mean of the parts' means in each resample of the records; NaN where a part was not drawn.

    Two reports with the same records see the same draws, so that differences of two results are paired.
    """
    cases = sorted(set().union(*parts))
    n = len(cases)
    values = np.array([[part.get(case, math.nan) for part in parts] for case in cases])
    there = ~np.isnan(values)
    values = np.where(there, values, 0.0)
    generator = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // n)
    found = []
    for start in range(0, samples, step):
        rows = min(step, samples - start)
        drawn = generator.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        counts = np.bincount(drawn.reshape(-1), minlength=rows * n).reshape(rows, n).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            means = (counts @ values) / (counts @ there)
            found.append(len(parts) / (1 / means).sum(axis=1))  # 1 / 0 is infinite, and the result 0
    return np.concatenate(found)


def metric_score(rows: Sequence[Row], metric: AnyMetric, *, before: bool = False, seed: int = 0) -> Score:
    """The mean of a metric over all records, with its interval."""
    if isinstance(metric, Combination) and metric.harmonic:
        parts = [record_values(rows, METRICS[name], before=before) for name in metric.parts]
        return harmonic_score(parts, seed=seed)
    return replace(mean_score(record_values(rows, metric, before=before).values()), scale=metric.scale)
