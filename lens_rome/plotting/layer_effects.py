"""`plot_layer_effects`: where tracing (or zeroing) finds an effect on average, by layer and size of window."""

from collections.abc import Sequence
from typing import Any, Literal, Unpack, overload

from lens_rome.plotting._chart import Chart, ChartPanel, Style, grid_columns
from lens_rome.plotting._draw import draw
from lens_rome.plotting._figure import BLUE, Figure, Frame, MplFigure, PlotError, PlotlyFigure
from lens_rome.plotting._labels import layer_ticks, titled, visible
from lens_rome.plotting._study import (
    BANDS,
    check_marks,
    counted,
    deed,
    effect_caption,
    effects_of,
    mean_series,
    on_scale,
    window_name,
)
from lens_rome.plotting._words import EffectWords

_MAX_PANELS = 8
_NAME = "mean effect"


@overload
def plot_layer_effects(
    effects: Frame, *, backend: Literal["matplotlib"] = "matplotlib", **words: Unpack[EffectWords]
) -> MplFigure: ...
@overload
def plot_layer_effects(effects: Frame, *, backend: Literal["plotly"], **words: Unpack[EffectWords]) -> PlotlyFigure: ...
def plot_layer_effects(
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
    """Mean effect over records by layer, with its 95% band: one panel a size of window, all on one scale.

    Args:
        effects: one row a record, measure, window and layer, with the columns `id`, `measure`, `window`, `layer` and
            the one that `by` names, as the localization study gives them. Rows without a value (NaN) are left out.
        by: `"effect"` (largest over tokens, as a share of what the noise took), `"effect_abs"` (the same as a change of
            probability), `"effect_last"` (at the last subject token, as a change of probability) or
            `"effect_last_fraction"`. Zeroing has the first two.
        measure: `"tracing"` or `"zeroing"`.
        windows: sizes to draw; None for all.
        edited: a layer to mark by a dashed line, such as the one that ROME edits.
        shade: first and last layer of a shaded range, such as those that MEMIT edits.
        edited_is: what the marked layer is, such as `"the layer that ROME edits"`; said above the picture.
        shade_is: the same of the shaded range, such as `"the layers that MEMIT edits"`.
        title: what was measured, e.g. `"120 facts of the atlas"`; put after the statement of what is shown.
        backend: `"matplotlib"` or `"plotly"`.

    Raises:
        PlotError: missing columns, no rows or values, two rows for one point, an unknown `by`, measure or window, more
            than eight windows, marks that are no layers, or an unknown backend.
        MissingLibraryError: the library is not installed.

    Reference: "Does localization inform editing?", https://arxiv.org/abs/2301.04213, §4.
    """
    check_marks(shade, edited)
    rows = effects_of(effects, by, measure, windows, "plot_layer_effects")
    sizes = sorted(set(rows["window"]))
    if len(sizes) > _MAX_PANELS:
        raise PlotError(f"plot_layer_effects draws one to {_MAX_PANELS} windows, got {len(sizes)}. Choose windows=.")
    marks = [*(shade or ()), *([edited] if edited is not None else [])]
    last = int(max([rows["layer"].max(), *marks]))
    panels = [_panel(size, rows[rows["window"] == size], by, last) for size in sizes]
    chart = Chart(
        titled(f"Mean effect of {deed(measure)}, by layer", title),
        [f"Bands: {BANDS}." + marks_note(shade, edited, shade_is, edited_is), *wide_note(sizes, rows)],
        on_scale(panels, 0.0, 0.0),
        {_NAME: Style(BLUE)},
        effect_caption(measure, by, "plot_layer_effects"),
        "effect",
        x_caption=middle_caption(sizes),
        panel_width=5.0 if len(panels) == 1 else 3.9,
        x_range=(-0.6, last + 0.6),
        shade=None if shade is None else (float(shade[0]), float(shade[1])),
        rule=None if edited is None else float(edited),
        columns=grid_columns(len(panels)),
    )
    return draw(chart, backend)


def _panel(window: Any, rows: Any, by: str, last: int) -> ChartPanel:
    counts = rows.groupby("layer")["id"].nunique()
    title = f"{window_name(window)} ({counted(counts)})"
    return ChartPanel(title, [mean_series(_NAME, rows, by)], layer_ticks(last + 1))


def marks_note(
    shade: tuple[int, int] | None, edited: int | None, shade_is: str | None = None, edited_is: str | None = None
) -> str:
    """What the marks are, each sentence with a space before it."""
    told = ""
    if shade is not None:
        ends = f"{shade[0]} to {shade[1]}"
        told += f" Shaded: {visible(shade_is)} ({ends})." if shade_is else f" Shaded: layers {ends}."
    if edited is not None:
        told += f" Dashed line: {visible(edited_is)} ({edited})." if edited_is else f" Dashed line: layer {edited}."
    return told


def wide_note(sizes: Sequence[Any], rows: Any) -> list[str]:
    """Names windows that are wider than all layers of the effects together; empty where none is."""
    n_layers = int(rows["layer"].max()) + 1
    wide = [f"{size:g}" for size in sizes if size > n_layers]
    if not wide:
        return []
    return [f"Wider than the layers that there are ({n_layers}), and cut off at their ends: window of "
            f"{' and '.join(wide)} layers."]  # fmt: skip


def middle_caption(windows: Sequence[Any]) -> str:
    """The caption of the layer axis of panels with these sizes of window."""
    return "layer" if set(windows) == {1} else "middle layer of the window"
