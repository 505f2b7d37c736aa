"""`plot_effect_peaks`: at which layer each record's effect is largest, from the localization study's frame."""

from collections.abc import Sequence
from typing import Any, Literal, Unpack, overload

import numpy as np

from lens_rome.plotting._chart import Chart, ChartPanel, Series, Style, grid_columns
from lens_rome.plotting._draw import draw
from lens_rome.plotting._figure import BLUE, Figure, Frame, MplFigure, PlotError, PlotlyFigure
from lens_rome.plotting._labels import layer_ticks, titled
from lens_rome.plotting._study import check_marks, deed, effects_of, window_name
from lens_rome.plotting._words import EffectWords
from lens_rome.plotting.layer_effects import marks_note, middle_caption, wide_note

_MAX_PANELS = 8
_NAME = "records"


@overload
def plot_effect_peaks(
    effects: Frame, *, backend: Literal["matplotlib"] = "matplotlib", **words: Unpack[EffectWords]
) -> MplFigure: ...
@overload
def plot_effect_peaks(effects: Frame, *, backend: Literal["plotly"], **words: Unpack[EffectWords]) -> PlotlyFigure: ...
def plot_effect_peaks(
    effects: Frame,
    *,
    by: str = "effect",
    measure: str = "tracing",
    windows: Sequence[int] | None = None,
    edited: int | None = None,
    shade: tuple[int, int] | None = None,
    edited_is: str | None = None,
    shade_is: str | None = None,
    title: str | None = None,
    backend: str = "matplotlib",
) -> Figure:
    """Histogram of the layer at which each record's effect is largest: one panel a size of window, on one scale.

    A record with several equal peaks counts at each of them, as in the paper's code; one whose effect is nowhere above
    0 has no peak and is left out. Both are said above the picture, and with `shade` the share of peaks inside it.

    Args:
        effects: as for `plot_layer_effects`.
        by: the column of effects; `"effect"` and `"effect_abs"` have the same peaks.
        measure: `"tracing"` or `"zeroing"`.
        windows: sizes to draw; None for all.
        edited: a layer to mark by a dashed line, such as the one that ROME edits.
        shade: first and last layer of a shaded range, such as those that MEMIT edits.
        edited_is: what the marked layer is, such as `"the layer that ROME edits"`; said above the picture.
        shade_is: the same of the shaded range, such as `"the layers that MEMIT edits"`.
        title: what was measured, e.g. `"120 facts of the atlas"`; put after the statement of what is shown.
        backend: `"matplotlib"` or `"plotly"`.

    Raises:
        PlotError: as `plot_layer_effects`; or no record has an effect above 0.
        MissingLibraryError: the library is not installed.

    Reference: "Does localization inform editing?", https://arxiv.org/abs/2301.04213, figure 1.
    """
    check_marks(shade, edited)
    rows = effects_of(effects, by, measure, windows, "plot_effect_peaks")
    peaks = _peaks(rows, by)
    sizes = sorted(set(rows["window"]))
    if len(sizes) > _MAX_PANELS:
        raise PlotError(f"plot_effect_peaks draws one to {_MAX_PANELS} windows, got {len(sizes)}. Choose windows=.")
    marks = [*(shade or ()), *([edited] if edited is not None else [])]
    count = int(max([rows["layer"].max(), *marks])) + 1
    panels = [_panel(size, peaks[peaks["window"] == size], count) for size in sizes]
    marked = marks_note(shade, edited, shade_is, edited_is).strip()
    at = " at the last subject token" if by.startswith("effect_last") else ""
    chart = Chart(
        titled(f"Layer of the largest effect{at} of {deed(measure)}, record by record", title),
        [*([marked] if marked else []), *_notes(rows, peaks, sizes, shade), *wide_note(sizes, rows)],
        panels,
        {_NAME: Style(BLUE)},
        "number of records",
        _NAME,
        bars=True,
        x_caption=middle_caption(sizes),
        panel_width=5.0 if len(panels) == 1 else 3.9,
        x_range=(-0.6, count - 0.4),
        shade=None if shade is None else (float(shade[0]), float(shade[1])),
        rule=None if edited is None else float(edited),
        counts=True,
        columns=grid_columns(len(panels)),
    )
    return draw(chart, backend)


def _peaks(rows: Any, by: str) -> Any:
    """Rows at which a record has its largest effect of a window; several where these are equal."""
    largest = rows.groupby(["id", "window"])[by].transform("max")
    peaks = rows[(rows[by] == largest) & (largest > 0)]
    if peaks.empty:
        raise PlotError(f"no {by} is above 0: plot_effect_peaks has no peaks to count. Draw the effects.")
    return peaks


def _panel(window: Any, peaks: Any, n_layers: int) -> ChartPanel:
    counts = np.bincount(peaks["layer"].to_numpy(dtype=int), minlength=n_layers).astype(float)
    none = np.full(n_layers, np.nan)
    series = Series(_NAME, np.arange(n_layers, dtype=float), counts, none, none)
    return ChartPanel(f"{window_name(window)} (n = {peaks['id'].nunique()})", [series], layer_ticks(n_layers))


def _notes(rows: Any, peaks: Any, sizes: list[Any], shade: tuple[int, int] | None) -> list[str]:
    notes: list[str] = []
    if shade is not None:
        inside = peaks["layer"].between(*shade)
        shares = [inside[peaks["window"] == size] for size in sizes]
        told = [(f"{share.mean():.0%}" if len(share) else "none") + (f" (window {size:g})" if len(sizes) > 1 else "")
                for size, share in zip(sizes, shares, strict=True)]  # fmt: skip
        notes.append(f"Peaks inside the shaded layers: {', '.join(told)}.")
    pairs = ["id", "window"]
    left_out = len(rows[pairs].drop_duplicates()) - len(peaks[pairs].drop_duplicates())
    tied = int(peaks.duplicated(pairs, keep=False).groupby([peaks["id"], peaks["window"]]).first().sum())
    many = ", over all windows" if len(sizes) > 1 else ""
    if left_out:
        notes.append(f"Left out: {left_out} without an effect above 0{many}.")
    if tied:
        notes.append(f"Counted at each of several equal peaks: {tied}{many}.")
    return notes
