"""What the pictures of the localization study share: names of scores and effects, choosing rows, means with bands."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lens_rome.plotting._chart import ChartPanel, Series, Style
from lens_rome.plotting._figure import PlotError
from lens_rome.plotting._frames import Needs, check_frame
from lens_rome.plotting._labels import layer_ticks

PROBLEMS = ("error injection", "tracing reversal", "fact erasure", "fact amplification", "fact forcing")
"""In the paper's order."""
METHODS = {
    "FT-1": Style("#e69f00", "^", ":"),
    "FT-5": Style("#d55e00", "v", "-."),
    "ROME": Style("#0072b2", "o", "-"),
    "MEMIT": Style("#009e73", "s", "--"),
}
"""Look of each method, the same in every picture (colours of Okabe and Ito)."""
_WIDE = ("FT-5", "MEMIT")
"""Methods that edit several layers."""
_SPARE = (Style("#cc79a7", "D", "-"), Style("#56b4e9", "P", "--"), Style("#000000", "X", "-."))
SCORES = {
    "rewrite": "rewrite score",
    "paraphrase": "paraphrase score",
    "neighborhood": "neighborhood score",
    "essence": "essence score",
    "overall": "overall score",
    "overall_essence": "overall score with essence",
}
"""Columns of scores, in words."""
_LARGEST, _LAST = "largest tracing effect over tokens", "tracing effect at the last subject token"
_TRUE = "p(true\u00a0answer)"
_SHARE, _CHANGE = f"share of lost {_TRUE} restored", f"change of {_TRUE}"
_EFFECTS = {
    "tracing": {
        "effect": f"{_LARGEST}\n({_SHARE})",
        "effect_abs": f"{_LARGEST}\n({_CHANGE})",
        "effect_last": f"{_LAST}\n({_CHANGE})",
        "effect_last_fraction": f"{_LAST}\n({_SHARE})",
    },
    "zeroing": {
        "effect": f"effect of zeroing subject tokens\n(share of {_TRUE} lost)",
        "effect_abs": f"effect of zeroing subject tokens\n({_TRUE} lost)",
    },
}
_DEEDS = {
    "tracing": "restoring MLP outputs at one token of the noised run",
    "zeroing": "zeroing MLP outputs at the subject tokens of the clean run",
}
BANDS = "mean ± 1.96 standard errors over records"
_Z = 1.96
_TICKS = 12


def effect_caption(measure: str, by: str, function: str) -> str:
    """What a column of the effects is, in words, with its unit, in two lines.

    Raises:
        PlotError: an unknown measure, or a column that it does not have.
    """
    if measure not in _EFFECTS:
        raise PlotError(f"{function} knows the measures {_listed(_EFFECTS)}, got {measure!r}.")
    if by not in _EFFECTS[measure]:
        raise PlotError(f"{function} draws by={_listed(_EFFECTS[measure])} of {measure}, got {by!r}.")
    return _EFFECTS[measure][by]


def deed(measure: str) -> str:
    """What was done to the model for this measure."""
    return _DEEDS[measure]


def check_scores(names: Sequence[str], function: str) -> None:
    """Refuse names that are no scores.

    Raises:
        PlotError: an unknown name, or none.
    """
    unknown = [name for name in names if name not in SCORES]
    if unknown or not names:
        got = repr(unknown[0]) if unknown else "none"
        raise PlotError(f"{function} knows the scores {_listed(SCORES)}, got {got}.")


def effects_of(effects: Any, by: str, measure: str, windows: Sequence[int] | None, function: str) -> Any:
    """Rows of a measure and of windows (None for all) with a value in column `by`.

    Raises:
        PlotError: see `check_frame`; or a measure, window or value that no row has.
    """
    effect_caption(measure, by, function)
    names = ("id", "measure", "window", "layer")
    check_frame(effects, Needs(function, names, (by,), names, by, ("window", "layer")))
    rows = rows_with(effects, "measure", [measure], function)
    if windows is not None:
        rows = rows_with(rows, "window", list(windows), function)
    rows = rows[rows[by].notna()]
    if rows.empty:
        raise PlotError(f"every {by} of {measure} is NaN: {function} has nothing to draw. Check what was measured.")
    return rows


def rows_with(frame: Any, column: str, values: Sequence[Any], function: str) -> Any:
    """Rows whose `column` is one of `values`.

    Raises:
        PlotError: no values, or one that no row has.
    """
    found = list(dict.fromkeys(frame[column]))
    absent = [value for value in values if value not in found]
    if absent or not values:
        raise PlotError(
            f"{function} finds no rows of {column} {absent[0]!r}; the frame has {_listed(found)}."
            if absent
            else f"{function} needs at least one {column}; the frame has {_listed(found)}."
        )
    return frame[frame[column].isin(values)]


def the_one(frame: Any, column: str, asked: Any, function: str) -> Any:
    """`asked`, or where that is None the only value of `column`.

    Raises:
        PlotError: the value is not there, or there are several and none was asked for.
    """
    found = list(dict.fromkeys(frame[column]))
    if asked is None:
        if len(found) > 1:
            raise PlotError(f"{function} draws one {column}, the frame has {_listed(found)}. Choose {column}=.")
        return found[0]
    rows_with(frame, column, [asked], function)
    return asked


def in_order(found: Sequence[str], known: Sequence[str]) -> list[str]:
    """The names found: those of the paper first and in its order, then others in theirs."""
    return [*(name for name in known if name in found), *dict.fromkeys(name for name in found if name not in known)]


def method_styles(found: Sequence[str], function: str) -> dict[str, Style]:
    """The look of each method: the paper's have their own, others take what is left in order of their names.

    Raises:
        PlotError: more methods than can be told apart.
    """
    names = in_order(sorted(set(found)), list(METHODS))
    left = [*_SPARE, *(style for name, style in METHODS.items() if name not in names)]
    others = [name for name in names if name not in METHODS]
    if len(others) > len(left):
        raise PlotError(f"{function} can tell {len(METHODS) + len(_SPARE)} methods apart, got {len(names)}. Choose.")
    looks = METHODS | dict(zip(others, left, strict=False))
    return {name: looks[name] for name in names}


def mean_series(name: str, rows: Any, value: str) -> Series:
    """Mean over records by layer with its 95% band (mean ± 1.96 standard errors; NaN for one record)."""
    by_layer = rows[rows[value].notna()].groupby("layer")[value]
    mean = by_layer.mean().to_numpy(dtype=float)
    half = _Z * by_layer.std(ddof=1).to_numpy(dtype=float) / np.sqrt(by_layer.count().to_numpy(dtype=float))
    return Series(name, np.asarray(sorted(by_layer.groups), dtype=float), mean, mean - half, mean + half)


def on_scale(panels: Sequence[ChartPanel], least: float, most: float) -> list[ChartPanel]:
    """The panels on one scale that holds `least`, `most` and all values and bands, the same in both libraries."""
    ends = np.concatenate([part for panel in panels for s in panel.series for part in (s.values, s.low, s.high)])
    low, high = min(least, float(np.nanmin(ends))), max(most, float(np.nanmax(ends)))
    margin = 0.03 * (high - low) or 0.03
    return [replace(panel, y_range=(low - margin, high + margin)) for panel in panels]


def counted(counts: Any) -> str:
    """`n = …`, as a range where counts differ."""
    least, most = int(min(counts)), int(max(counts))
    return f"n = {least}" if least == most else f"n = {least} to {most}"


def window_name(window: Any) -> str:
    """A size of window in words."""
    return f"window of {window:g} layer{'s' * (window > 1)}"


def edited_caption(methods: Sequence[str]) -> str:
    """The caption of the axis of edited layers: which of the methods edit several, as far as their names tell."""
    if any(name not in METHODS for name in methods):
        return "edited layer (the middle one of several)"
    wide = [name for name in methods if name in _WIDE]
    return f"edited layer (for {' and '.join(wide)} the middle one)" if wide else "edited layer"


def ticks_of(layers: Sequence[int]) -> list[int]:
    """Layers to label: the edited ones where they are few, those that stand too close left out."""
    shown = sorted(set(layers))
    if len(shown) > 15 or shown == list(range(shown[0], shown[-1] + 1)):
        return layer_ticks(shown[-1] - shown[0] + 1, shown[0])
    apart = (shown[-1] - shown[0]) / _TICKS
    kept: list[int] = []
    for layer in shown:
        if not kept or layer - kept[-1] >= apart:
            kept.append(layer)
    return kept


def check_marks(shade: tuple[int, int] | None, edited: int | None) -> None:
    """Refuse marks that are no layers.

    Raises:
        PlotError: a range that is none, or a layer below 0.
    """
    if shade is not None and not 0 <= shade[0] <= shade[1]:
        raise PlotError(f"shade={shade} is no range of layers. Give the first and the last, such as (4, 9).")
    if edited is not None and edited < 0:
        raise PlotError(f"edited={edited} is no layer. Layers count from 0.")


def _listed(names: Any) -> str:
    return ", ".join(repr(name.item() if hasattr(name, "item") else name) for name in names)
