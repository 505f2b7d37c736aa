"""`plot_hops`: what an edit did where its subject is named, and where it is only described."""

from typing import Any, Literal, overload

import numpy as np

from lens_rome.plotting._chart import Chart, ChartPanel, Style
from lens_rome.plotting._draw import draw
from lens_rome.plotting._figure import BLUE, ORANGE, Figure, Frame, MplFigure, PlotlyFigure
from lens_rome.plotting._findings import lines_of, rows_of, series, some_cases, tick
from lens_rome.plotting._frames import Needs, check_frame
from lens_rome.plotting._labels import titled

_WAYS = {"with the name": "direct", "with a description": "description"}
_STYLES = {"with the name": Style(BLUE), "with a description": Style(ORANGE, hatch="//")}
_KEY = ("case", "prompt", "phase", "target", "way", "role")


@overload
def plot_hops(
    finding: Any, *, title: str | None = None, backend: Literal["matplotlib"] = "matplotlib"
) -> MplFigure: ...
@overload
def plot_hops(finding: Any, *, title: str | None = None, backend: Literal["plotly"]) -> PlotlyFigure: ...
def plot_hops(finding: Any, *, title: str | None = None, backend: str = "matplotlib") -> Figure:
    """What the new object gained on the old one by the edit, with the subject's name and with its description.

    A pair of bars a case (twelve at most; a note says where there are more), and one of the mean over all cases, which
    has its 95% interval where a finding is given.

    Args:
        finding: of the probe `hops`, or its rows (`to_dataframe`).
        title: what was edited; put after the statement of what is shown.
        backend: `"matplotlib"` or `"plotly"`.

    Raises:
        PlotError: a finding without rows, missing columns, or an unknown backend.
        MissingLibraryError: the library is not installed.
    """
    frame = check_frame(rows_of(finding), Needs("plot_hops", _KEY, ("logprob",), _KEY, "logprob", ()))
    all_names = list(dict.fromkeys(frame["case"]))
    names, notes = some_cases(all_names)
    last, shown = len(names) + 0.5, []
    for name, way in _WAYS.items():
        values = _gained(frame, way)
        low, high = _ends(finding, way)
        none = [np.nan] * len(names)
        shown.append(
            series(
                name, [*range(len(names)), last], [*values[names], values.mean()], [*none, low], [*none, high]
            )
        )  # fmt: skip
    labels = [*map(tick, names), f"mean of\n{len(all_names)} cases"]
    chart = Chart(
        titled("What the new object gains on the old one by the edit", title),
        ["The same question with the subject's name and with a description of it.", *notes],
        [ChartPanel("", shown, [*range(len(names)), last], tick_labels=labels)],
        _STYLES,
        "change of log p(new object) - log p(old object), nats",
        "gain",
        bars=True,
        x_caption="",
        x_name="case",
        number="+.3f",
        panel_width=max(5.6, 1.3 * (len(names) + 1.5)),
        x_range=(-0.6, last + 0.6),
    )
    return draw(chart, backend)


def _gained(frame: Frame, way: str) -> Any:
    """Change of log p(new) - log p(old), by case."""
    rows: Any = lines_of(frame, way=way)
    signs = np.where(rows["role"] == "new", 1.0, -1.0) * np.where(rows["phase"] == "after", 1.0, -1.0)
    # Each case has as many prompts in each of the four groups.
    return (rows["logprob"] * signs).groupby(rows["case"]).mean() * 4


def _ends(finding: Any, way: str) -> tuple[float, float]:
    if not hasattr(finding, "to_summary_dataframe"):
        return np.nan, np.nan
    (row,) = lines_of(finding.to_summary_dataframe(), measure="change", way=way).itertuples()
    return row.low, row.high
