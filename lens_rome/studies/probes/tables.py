"""Rows of a probe: choosing some, their means, and lines of a summary."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from lens_rome.studies.probes.finding import Value

Row = Mapping[str, Value]


def chosen(rows: Sequence[Row], **where: Value) -> list[Row]:
    """The rows whose columns have these values."""
    return [row for row in rows if all(row[name] == value for name, value in where.items())]


def mean_of(rows: Sequence[Row], column: str) -> float:
    """Mean of a column of numbers; NaN for no rows."""
    numbers: list[Any] = [row[column] for row in rows]
    return fmean(numbers) if numbers else math.nan


def change(rows: Sequence[Row], column: str = "logprob", **where: Value) -> float:
    """Mean after the edit minus mean before it, over the rows whose columns have these values; NaN for none."""
    told = chosen(rows, **where)
    return mean_of(chosen(told, phase="after"), column) - mean_of(chosen(told, phase="before"), column)


def by_case(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by their case, in order of first appearance."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(str(row["case"]), []).append(row)
    return found


def line(interval: tuple[float, float, float], n: int, **words: Value) -> dict[str, Value]:
    """A line of a summary: words, mean, ends of the interval, and of how many it is."""
    mean, low, high = interval
    return {**words, "mean": mean, "low": low, "high": high, "n": n}
