"""`plot_sequence`: what becomes of a model, and of earlier edits, when edits are made one on top of the other."""

import math
from collections.abc import Sequence
from typing import Any, Literal, Protocol, overload

import numpy as np

from lens_rome.plotting._chart import LOOKS, Chart, ChartPanel, Series, Style
from lens_rome.plotting._draw import draw
from lens_rome.plotting._figure import Figure, Frame, MplFigure, PlotError, PlotlyFigure
from lens_rome.plotting._frames import Needs, check_frame
from lens_rome.plotting._labels import titled

_STYLES = (*LOOKS, Style("#000000", "X", "-."))
_PANELS = (
    ("retention", "Earlier edits that still hold", "share of earlier edits", False),
    ("norm", "Size of the change", "norm of W - W₀", True),
    ("perplexity", "Held-out text", "perplexity", True),
)


class Report(Protocol):
    """Anything with a data frame, such as `SequenceReport`."""

    def to_dataframe(self) -> Frame:
        """One row a checkpoint."""
        ...


@overload
def plot_sequence(
    reports: Frame | Report | Sequence[Report],
    *,
    title: str | None = None,
    backend: Literal["matplotlib"] = "matplotlib",
) -> MplFigure: ...
@overload
def plot_sequence(
    reports: Frame | Report | Sequence[Report], *, title: str | None = None, backend: Literal["plotly"]
) -> PlotlyFigure: ...
def plot_sequence(
    reports: Any,
    *,
    title: str | None = None,
    backend: str = "matplotlib",
) -> Figure:
    """Retention of earlier edits, size of the change and perplexity against the number of edits, a line a run.

    Size and perplexity are on logarithmic scales; values that these cannot show (0 before the first edit, infinite
    ones of a broken model) are left out, and a line that ends early is a run that did.

    Args:
        reports: one `SequenceReport` or several, or a frame of the columns `label` (one a run), `edits`, `retention`,
            `norm`, `perplexity`.
        title: what was edited, e.g. `"500 facts of the atlas"`; put after the statement of what is shown.
        backend: `"matplotlib"` or `"plotly"`.

    Raises:
        PlotError: missing columns, no rows, two rows for one point, more than seven runs, nothing to draw, or an
            unknown backend.
        MissingLibraryError: the library is not installed.
    """
    frame = _frame(reports)
    names = ("label", "edits")
    numbers = tuple(name for name, *_ in _PANELS)
    check_frame(frame, Needs("plot_sequence", names, numbers, names, "norm", ("edits",)))
    labels = list(dict.fromkeys(frame["label"]))
    if len(labels) > len(_STYLES):
        raise PlotError(f"plot_sequence draws one to {len(_STYLES)} runs, got {len(labels)}. Choose some of them.")
    most = int(frame["edits"].max())
    ticks = _ticks(most)
    chart = Chart(
        titled("Edits made one on top of the other", title),
        [],
        [_panel(frame, labels, ticks, *each) for each in _PANELS],
        dict(zip(labels, _STYLES, strict=False)),
        "",
        "value",
        x_caption="number of edits",
        x_name="edits",
        number=".4g",
        x_range=(-0.03 * max(most, 1), 1.03 * max(most, 1)),
    )
    return draw(chart, backend)


def _frame(reports: Any) -> Any:
    """The data frame of what was given; infinite values, which say that a model is broken, become none."""
    if not hasattr(reports, "columns"):
        import pandas as pd

        given = [reports] if hasattr(reports, "to_dataframe") else list(reports)
        if not given:
            raise PlotError("plot_sequence needs at least one report, got 0.")
        reports = pd.concat([report.to_dataframe() for report in given], ignore_index=True)
    return reports.replace([np.inf, -np.inf], np.nan)


def _panel(frame: Any, labels: list[str], ticks: list[int], column: str, title: str, y: str, log: bool) -> ChartPanel:
    series = []
    for label in labels:
        rows = frame[frame["label"] == label].sort_values("edits")
        values = rows[column].to_numpy(dtype=float)
        shown = np.isfinite(values) & ((values > 0) | (not log))
        edits, none = rows["edits"].to_numpy(dtype=float)[shown], np.full(int(shown.sum()), np.nan)
        series.append(Series(label, edits, values[shown], none, none))
    y_range = _decades([value for each in series for value in each.values]) if log else (-0.03, 1.03)
    return ChartPanel(title, series, ticks, y_caption=y, log=log, y_range=y_range)


def _decades(values: list[float]) -> tuple[float, float] | None:
    """Whole decades around the values, so that a change of some percent is not drawn as large as a collapse."""
    if not values:
        return None
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return 10.0**low, 10.0 ** max(high, low + 1)


def _ticks(most: int) -> list[int]:
    """At most about six round numbers from 0 on."""
    steps = (factor * 10**power for power in range(9) for factor in (1, 2, 5))
    step = next(step for step in steps if most / step <= 6)
    return list(range(0, most + 1, step))
