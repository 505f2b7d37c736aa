"""`plot_direction`: what an edit did forward, and what it did to the same question asked in reverse."""

from typing import Any, Literal, overload

from lens_rome.plotting._chart import Chart, ChartPanel, Style
from lens_rome.plotting._draw import draw
from lens_rome.plotting._figure import BLUE, ORANGE, Figure, MplFigure, PlotlyFigure
from lens_rome.plotting._findings import checked_summary, lines_of, series, summary_of
from lens_rome.plotting._labels import titled

_STYLES = {"the new object": Style(ORANGE, hatch="//"), "the old object": Style(BLUE)}
_WAYS = {
    "forward": "forward:\nthe object,\nasked by the subject",
    "reverse": "reverse:\nthe subject,\nasked by the object",
}


@overload
def plot_direction(
    finding: Any, *, title: str | None = None, backend: Literal["matplotlib"] = "matplotlib"
) -> MplFigure: ...
@overload
def plot_direction(finding: Any, *, title: str | None = None, backend: Literal["plotly"]) -> PlotlyFigure: ...
def plot_direction(finding: Any, *, title: str | None = None, backend: str = "matplotlib") -> Figure:
    """Change of log-probability by an edit, in its own direction and in reverse, for the new and for the old object.

    Forward it is that of the object, in reverse that of the subject of a prompt with the object.

    Args:
        finding: of the probe `direction`, or its summary (`to_summary_dataframe`).
        title: what was edited; put after the statement of what is shown.
        backend: `"matplotlib"` or `"plotly"`.

    Raises:
        PlotError: a finding without rows, missing columns, or an unknown backend.
        MissingLibraryError: the library is not installed.
    """
    frame = checked_summary("plot_direction", summary_of(finding), ("direction", "object", "phase"))
    shown, numbers = [], {way: list[str]() for way in _WAYS}
    for name, which in zip(_STYLES, ("new", "old"), strict=True):
        rows = lines_of(frame, measure="change", object=which).set_index("direction").loc[list(_WAYS)]
        shown.append(series(name, range(len(_WAYS)), rows["mean"], rows["low"], rows["high"]))
        for way in _WAYS:
            # A bar that cannot be seen is a result too.
            numbers[way].append(f"{rows['mean'][way]:+.2f}")
    labels = [f"{text}\n{' / '.join(numbers[way])} nats" for way, text in _WAYS.items()]
    chart = Chart(
        titled("Change by the edit, in its direction and in reverse", title),
        _notes(frame),
        [ChartPanel("", shown, list(range(len(_WAYS))), tick_labels=labels)],
        _STYLES,
        "change of log-probability (nats)",
        "change",
        bars=True,
        x_caption="",
        x_name="direction",
        number="+.3f",
        panel_width=5.6,
        x_range=(-0.6, len(_WAYS) - 0.4),
    )
    return draw(chart, backend)


def _notes(frame: Any) -> list[str]:
    said = {
        way: lines_of(frame, measure="says", phase="after", direction=way, object=which)["mean"].item()
        for way, which in (("forward", "new"), ("reverse", "old"))
    }
    changes = lines_of(frame, measure="change")
    n, known = int(changes["n"].max()), bool(changes["low"].notna().any())
    return [
        f"Edited models say the new object forward in {said['forward']:.0%}, and still the subject for the old object "
        f"in {said['reverse']:.0%} of prompts.",
        f"Mean over {n} cases" + (" with its 95% interval." if known else "."),
    ]
