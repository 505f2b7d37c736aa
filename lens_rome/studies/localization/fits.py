"""Least squares of a score on the edited layer, on the effect of that layer, and on both.

With K layers and N rows, a row a record and edited layer (Hase et al., https://arxiv.org/abs/2301.04213):

* layer: an intercept for each layer, K parameters;
* effect: one line for all, 2 parameters;
* both: an intercept and a slope for each layer, 2K parameters.

The test asks what the slopes add to the intercepts: `F = ((RSS_layer - RSS_both) / d1) / (RSS_both / d2)`, with d1 the
slopes that there are and d2 = N - parameters of "both". A layer whose effect is the same for all records has no slope.

Any d1 further columns raise R². Where score and effect have no relation, and errors are normal and independent,
`(R²_both - R²_layer) / (1 - R²_layer)` is Beta(d1/2, d2/2), so that `(1 - R²_layer) · d1 / (d1 + d2)` is what to expect
of the addition by chance alone.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from lens_rome.studies.localization.errors import import_statistics

MODELS = ("layer", "effect", "both")
NUMBERS = ("r2_layer", "r2_effect", "r2_both", "difference", "chance", "f", "df1", "df2", "p")
NUMBERS += tuple(f"{error}_{name}" for error in ("rmse", "mae") for name in MODELS)
"""What a comparison gives, in the order of the tables."""

_SAME = 1e-12
"""Values that differ by less than this share of the largest are taken as equal, for they differ by rounding alone."""

Row = Float[np.ndarray, " row"]
Matrix = Float[np.ndarray, "row parameter"]


def is_constant(values: Row) -> bool:
    """Whether all values are the same, but for rounding."""
    return bool(np.ptp(values) <= _SAME * np.abs(values).max())


def compared(score: Row, effect: Row, layer: Int[np.ndarray, " row"]) -> tuple[dict[str, float], str]:
    """The numbers of `NUMBERS`, and why some or all of them are NaN ("" where none is).

    R² is not adjusted; root mean squared and mean absolute errors are of the rows that were fitted. p takes rows as
    independent, as the paper does, although the rows of one record are not.

    Raises:
        MissingLibraryError: statsmodels is not installed.
    """
    found = dict.fromkeys(NUMBERS, np.nan)
    reason = _why_not(score, effect, layer)
    if reason:
        return found, reason
    matrices = designs(effect, layer)
    if len(score) <= matrices["both"].shape[1]:
        return found, f"{len(score)} rows are too few for {matrices['both'].shape[1]} parameters"
    ols = import_statistics("statsmodels.regression.linear_model").OLS
    fits = {name: ols(score, matrices[name], hasconst=True).fit() for name in MODELS}
    for name, fit in fits.items():
        found[f"r2_{name}"] = fit.rsquared
        found[f"rmse_{name}"], found[f"mae_{name}"] = np.sqrt(np.mean(fit.resid**2)), np.abs(fit.resid).mean()
    found["difference"] = found["r2_both"] - found["r2_layer"]
    tested, reason = _tested(fits["both"], fits["layer"], score)
    found["chance"] = (1 - found["r2_layer"]) * tested["df1"] / (tested["df1"] + tested["df2"])
    return found | tested, reason


def designs(effect: Row, layer: Int[np.ndarray, " row"]) -> dict[str, Matrix]:
    """The matrices of the three models, by name, each of full rank.

    They span what `C(layer)`, `effect` and `C(layer) * effect` span in a formula. An intercept a layer stands in place
    of one for all with differences, and each slope is of the effect without its mean, in units of the largest
    deviation: columns are then orthogonal between layers, and the rank does not hang on the effect's unit.
    """
    ones = (layer[:, None] == np.unique(layer)[None]).astype(float)
    slopes = [np.where(is_of == 1, effect - effect[is_of == 1].mean(), 0.0) for is_of in ones.T]
    varied = [slope for slope, is_of in zip(slopes, ones.T, strict=True) if not is_constant(effect[is_of == 1])]
    unit = max((np.abs(slope).max() for slope in varied), default=1.0)
    line = effect - effect.mean()
    return {
        "layer": ones,
        "effect": np.column_stack([np.ones_like(effect), line / np.abs(line).max()]),
        "both": np.column_stack([ones, *(slope / unit for slope in varied)]),
    }


def _why_not(score: Row, effect: Row, layer: Int[np.ndarray, " row"]) -> str:
    """Why no regression can be made of these rows; "" if it can, as far as numbers of parameters go."""
    if not len(score):
        return "no row has both a score and an effect"
    n_layers = len(np.unique(layer))
    if n_layers < 2:
        return f"a regression on layers needs 2 of them at least, and there is {n_layers}"
    if is_constant(score):
        return "the score is the same in all rows"
    return "the effect is the same in all rows" if is_constant(effect) else ""


def _tested(both: Any, layer: Any, score: Row) -> tuple[dict[str, float], str]:
    """f, df1, df2 and p, and why f and p are NaN."""
    df1, df2 = float(layer.df_resid - both.df_resid), float(both.df_resid)
    found = {"df1": df1, "df2": df2}
    if df1 == 0:
        return found, "within each layer the effect is the same for all records, so that there is no slope to test"
    rounding = len(score) * (_SAME * np.abs(score).max()) ** 2
    if layer.ssr <= rounding:
        return found, "the layer explains the score wholly, so that nothing is left to test"
    if both.ssr <= rounding:  # as good as no residuals: what they are is rounding
        return found | {"f": np.inf, "p": 0.0}, ""
    f, p, _ = both.compare_f_test(layer)
    return found | {"f": float(f), "p": float(p)}, ""
