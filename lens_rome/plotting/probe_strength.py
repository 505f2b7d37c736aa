"""`plot_strength`: how often texts about a subject mention its objects, before and after an edit."""

from typing import Any, Literal, overload

from lens_rome.plotting._chart import Chart, ChartPanel, Style
from lens_rome.plotting._draw import draw
from lens_rome.plotting._figure import BLUE, ORANGE, Figure, MplFigure, PlotlyFigure
from lens_rome.plotting._findings import checked_summary, lines_of, series, some_cases, summary_of, tick
from lens_rome.plotting._labels import titled

_BARS = {
    "old object, before": ("old", "before", Style(BLUE)),
    "new object, after": ("new", "after", Style(ORANGE, hatch="//")),
    "new object, before": ("new", "before", Style("#f0b183", hatch="//")),
    "old object, after": ("old", "after", Style("#8fc3e3")),
}
"""The two that are compared first."""


@overload
def plot_strength(
    finding: Any, *, title: str | None = None, backend: Literal["matplotlib"] = "matplotlib"
) -> MplFigure: ...
@overload
def plot_strength(finding: Any, *, title: str | None = None, backend: Literal["plotly"]) -> PlotlyFigure: ...
def plot_strength(finding: Any, *, title: str | None = None, backend: str = "matplotlib") -> Figure:
    """Share of texts about the subject that mention the old and the new object, before and after the edit.

    A group of bars a case, with Wilson's intervals over texts; below it the push ratio (new after over old before) and
    its verdict. Twelve cases at most; a note says where there are more.

    Args:
        finding: of the probe `strength`, or its summary (`to_summary_dataframe`).
        title: what was edited; put after the statement of what is shown.
        backend: `"matplotlib"` or `"plotly"`.

    Raises:
        PlotError: a finding without rows, missing columns, or an unknown backend.
        MissingLibraryError: the library is not installed.
    """
    frame = checked_summary("plot_strength", summary_of(finding), ("case", "role", "phase", "verdict"))
    names, notes = some_cases(list(dict.fromkeys(frame["case"])))
    shown = []
    for name, (role, phase, _) in _BARS.items():
        rows = lines_of(frame, measure="mentioned", role=role, phase=phase).set_index("case").loc[names]
        shown.append(series(name, range(len(names)), rows["mean"], rows["low"], rows["high"]))
    pushes = lines_of(frame, measure="push ratio").set_index("case").loc[names]
    labels = [
        f"{tick(name)}\n×{push:.2f}, {verdict}" if push == push else f"{tick(name)}\n{verdict}"
        for name, push, verdict in zip(names, pushes["mean"], pushes["verdict"], strict=True)
    ]
    n = int(lines_of(frame, measure="mentioned")["n"].max())
    chart = Chart(
        titled("Texts about the subject that mention an object", title),
        [f"Share of {n} texts with its 95% interval; below, how many times the old object's share before.", *notes],
        [ChartPanel("", shown, list(range(len(names))), tick_labels=labels)],
        {name: style for name, (_, _, style) in _BARS.items()},
        "share of texts with a mention",
        "share",
        bars=True,
        x_caption="",
        x_name="case",
        number=".3f",
        panel_width=max(5.6, 1.5 * len(names)),
        x_range=(-0.6, len(names) - 0.4),
    )
    return draw(chart, backend)
