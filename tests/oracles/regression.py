"""Regressions of the study of localization as their definitions read: columns one by one, normal equations, sums.

Columns are those of a formula's treatment coding (one intercept, differences from the first layer), which the package
does not use. Uses nothing of the package, and no library of statistics.
"""

from math import sqrt

import numpy as np
from scipy.special import betainc

Numbers = list[float]


def layer_columns(effects: Numbers, layers: list[int]) -> list[Numbers]:
    """C(layer): an intercept, and for each layer but the first whether the row is of it."""
    del effects
    return [[1.0] * len(layers)] + [[1.0 if of == other else 0.0 for of in layers] for other in sorted(set(layers))[1:]]


def effect_columns(effects: Numbers, layers: list[int]) -> list[Numbers]:
    """An intercept and the effect."""
    return [[1.0] * len(layers), list(effects)]


def both_columns(effects: Numbers, layers: list[int]) -> list[Numbers]:
    """C(layer) * effect: those of the layers, the effect, and their products."""
    intercepts = layer_columns(effects, layers)
    return intercepts + [[a * b for a, b in zip(column, effects, strict=True)] for column in intercepts]


def residuals(score: Numbers, columns: list[Numbers]) -> tuple[Numbers, int]:
    """Of the least-squares fit, and how many of the columns are independent."""
    matrix = np.array(columns).T
    weights, _, rank, _ = np.linalg.lstsq(matrix, np.array(score), rcond=1e-11)
    fitted = [sum(w * x for w, x in zip(weights, row, strict=True)) for row in matrix]
    return [y - f for y, f in zip(score, fitted, strict=True)], int(rank)


def explained(score: Numbers, left: Numbers) -> float:
    """R²: one minus the sum of squares of the residuals over that of the deviations from the mean."""
    mean = sum(score) / len(score)
    return 1 - sum(r * r for r in left) / sum((y - mean) ** 2 for y in score)


def regression_by_hand(score: Numbers, effects: Numbers, layers: list[int]) -> dict[str, float]:
    """All numbers of a row of regressions."""
    columns = {"layer": layer_columns, "effect": effect_columns, "both": both_columns}
    found: dict[str, float] = {}
    rss, ranks, n = {}, {}, len(score)
    for name, make in columns.items():
        left, ranks[name] = residuals(score, make(effects, layers))
        rss[name] = sum(r * r for r in left)
        found[f"r2_{name}"] = explained(score, left)
        found[f"rmse_{name}"] = sqrt(rss[name] / n)
        found[f"mae_{name}"] = sum(abs(r) for r in left) / n
    found["difference"] = found["r2_both"] - found["r2_layer"]
    found["df1"], found["df2"] = ranks["both"] - ranks["layer"], n - ranks["both"]
    found["chance"] = rss["layer"] / sum((y - sum(score) / n) ** 2 for y in score) * found["df1"] / (n - ranks["layer"])
    found["f"] = ((rss["layer"] - rss["both"]) / found["df1"]) / (rss["both"] / found["df2"])
    found["p"] = f_tail(found["f"], found["df1"], found["df2"])
    return found


def f_tail(f: float, df1: float, df2: float) -> float:
    """Chance of a larger value of an F distribution."""
    return float(betainc(df2 / 2, df1 / 2, df2 / (df2 + df1 * f)))


def pearson_by_hand(x: Numbers, y: Numbers) -> tuple[float, float]:
    """r, and the chance of one as far from 0 if there is no correlation (Student's t with n - 2 degrees)."""
    n, mx, my = len(x), sum(x) / len(x), sum(y) / len(y)
    sxy = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True))
    r = sxy / sqrt(sum((a - mx) ** 2 for a in x) * sum((b - my) ** 2 for b in y))
    return r, f_tail((n - 2) * r * r / (1 - r * r), 1, n - 2)
