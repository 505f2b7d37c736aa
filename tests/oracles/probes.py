"""Intervals of the probes as their definitions read: plain loops over draws, units and rows.

Uses nothing of the package.
"""

from collections.abc import Callable, Hashable, Sequence
from itertools import product
from math import isnan, nan
from typing import Any

import numpy as np

DRAWS = 2000


def draws_by_loop(units: Sequence[Hashable], seed: int) -> list[list[Hashable]]:
    """The units of each resample."""
    known = list(dict.fromkeys(units))
    generator = np.random.default_rng(seed)
    return [[known[place] for place in generator.integers(len(known), size=len(known))] for _ in range(DRAWS)]


def middle(numbers: list[float]) -> tuple[float, float]:
    """Of the numbers that are told, none of them infinite; NaN where more than 2.5% are not."""
    told = [number for number in numbers if not isnan(number)]
    if len(told) < 0.975 * len(numbers):
        return nan, nan
    low, high = np.percentile(told, [2.5, 97.5])
    return float(low), float(high)


def bootstrap_by_loop(
    rows: Sequence[Any], units: Sequence[Hashable], of: Callable[[list[Any]], float], seed: int
) -> tuple[float, float]:
    """Both ends, where a drawn unit brings all of its rows."""
    found = []
    for drawn in draws_by_loop(units, seed):
        found.append(of([row for unit in drawn for row, own in zip(rows, units, strict=True) if own == unit]))
    return middle(found)


def pair_bootstrap_by_loop(
    values: dict[tuple[str, str], Any], units: dict[str, str], of: Callable[[list[Any]], float], seed: int
) -> tuple[float, float]:
    """Both ends of a number of pairs of subjects: those of the drawn units, each as often as it came, paired with every
    other that was drawn; subjects of one unit only with those that came with them.
    """
    found = []
    for drawn in draws_by_loop(list(units.values()), seed):
        came = [(turn, name) for turn, unit in enumerate(drawn) for name, own in units.items() if own == unit]
        told = [
            values[one, other]
            for (first, one), (second, other) in product(came, came)
            if one != other and (one, other) in values and (units[one] != units[other] or first == second)
        ]
        found.append(of(told) if told else nan)
    return middle(found)


def leaks_by_loop(shift: dict[tuple[str, str], list[float]]) -> list[tuple[float, float]]:
    """Of each edited subject its own mean over tests, and the mean of the means of the others that were asked for."""
    found = []
    for name in dict.fromkeys(edited for edited, _ in shift):
        others = [sum(v) / len(v) for (edited, tested), v in shift.items() if edited == name != tested]
        own = shift[name, name]
        found.append((sum(own) / len(own), sum(others) / len(others)))
    return found
