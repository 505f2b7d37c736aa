"""`plot_severed`: what is left of an effect when a path is severed (ROME, figure 3)."""

from typing import Literal, Unpack, overload

from lens_rome.plotting._chart import Chart, ChartPanel, Series, Style
from lens_rome.plotting._draw import draw
from lens_rome.plotting._figure import Figure, Frame, MplFigure, PlotError, PlotlyFigure
from lens_rome.plotting._frames import Needs, check_frame, layer_range
from lens_rome.plotting._labels import layer_ticks, titled, visible
from lens_rome.plotting._words import BandWords

_STYLES = {
    "ordinary": Style("#6a51a3"),
    "attn severed": Style("#e34a33", hatch="//"),
    "mlp severed": Style("#41ab5d", hatch=".."),
}
"""The paper's colours; red and green differ in hatching and in lightness too."""


@overload
def plot_severed(
    effects: Frame, *, backend: Literal["matplotlib"] = "matplotlib", **words: Unpack[BandWords]
) -> MplFigure: ...
@overload
def plot_severed(effects: Frame, *, backend: Literal["plotly"], **words: Unpack[BandWords]) -> PlotlyFigure: ...
def plot_severed(
    effects: Frame,
    *,
    title: str | None = None,
    band: str = "95% confidence interval",
    measure: str = "p(answer)",
    backend: str = "matplotlib",
) -> Figure:
    """Effect of a restored state by layer, whole and with later attention or MLP outputs severed: bars side by side.

    Where the bar of a severed path is lower than the ordinary one, the state acts through that path.

    Args:
        effects: columns `layer`, `condition` (`ordinary`, `attn severed`, `mlp severed`, or some of them), `effect`
            (change of what was measured), `low` and `high` (ends of its interval, or NaN for none).
        title: what was restored and averaged, e.g. `"last subject token, 120 facts"`; put after the statement.
        band: what `low` and `high` are.
        measure: what the effects are changes of, with its unit, e.g. `"log p(answer), nats"`.
        backend: `"matplotlib"` or `"plotly"`.

    Raises:
        PlotError: missing columns, no rows or values, two rows for one bar, another condition, values that are not
            numbers, or an unknown backend.
        MissingLibraryError: the library is not installed.

    Reference: ROME, https://arxiv.org/abs/2202.05262, figure 3.
    """
    key = ("layer", "condition")
    frame = check_frame(effects, Needs("plot_severed", key, ("effect", "low", "high"), key, "effect"))
    found = set(frame["condition"])
    unknown = sorted(str(name) for name in found if name not in _STYLES)
    if unknown:
        raise PlotError(
            f"plot_severed knows the conditions {', '.join(map(repr, _STYLES))}, got {unknown[0]!r}. Rename it."
        )
    series: list[Series] = []
    for name in (name for name in _STYLES if name in found):
        rows = frame[frame["condition"] == name].sort_values("layer")
        numbers = (rows[column].to_numpy(dtype=float) for column in ("layer", "effect", "low", "high"))
        series.append(Series(name, *numbers))
    first, count = layer_range(frame)
    banded = bool(frame[["low", "high"]].notna().all(axis=1).any())
    statement = "Indirect effect of restoring one state, with later attention or MLP outputs severed"
    chart = Chart(
        titled(statement, title),
        [f"Vertical lines: {band}."] if banded else [],
        [ChartPanel("", series, layer_ticks(count, first))],
        {name: style for name, style in _STYLES.items() if name in found},
        f"indirect effect\n(change of {visible(measure)})",
        "effect",
        bars=True,
        x_caption="layer at which the state was restored",
        panel_width=min(max(4.6, 0.26 * count), 12.5),
        x_range=(first - 0.6, first + count - 0.4),
    )
    return draw(chart, backend)
