"""Which first tokens of many rows are worth running once."""

from collections.abc import Sequence
from itertools import groupby


def shared_starts(rows: Sequence[tuple[int, ...]]) -> list[int]:
    """How many of its first tokens each row takes from a stem, 0 for none, such that the tokens of all stems and those
    that are left of the rows are as few as possible.
    """
    starts = _planned(sorted(rows), 0)[1] if rows else {}
    return [starts[row] for row in rows]


def _planned(rows: Sequence[tuple[int, ...]], depth: int) -> tuple[int, dict[tuple[int, ...], int]]:
    """The tokens that stems save, and each row's start, for sorted rows that agree in their first `depth` tokens."""
    if len(rows) == 1:
        return 0, {rows[0]: 0}
    while rows[0][depth : depth + 1] == rows[-1][depth : depth + 1] != ():
        depth += 1
    branches = [list(branch) for _, branch in groupby(rows, key=lambda row: row[depth : depth + 1])]
    plans = [_planned(rows, depth + 1) if rows[0][depth:] else (0, dict.fromkeys(rows, 0)) for rows in branches]
    joined = [len(branch) * depth for branch in branches]
    apart = [saved for saved, _ in plans]
    together = sum(map(max, joined, apart)) - depth
    starts: dict[tuple[int, ...], int] = {}
    for branch, gain, (saved, plan) in zip(branches, joined, plans, strict=True):
        starts |= dict.fromkeys(branch, depth) if together > sum(apart) and gain > saved else plan
    return max(together, sum(apart)), starts
