"""`plot_bleed`: what an edit did to answers about others, with and without a mention of its subject before them."""

from collections import Counter
from typing import Any, Literal, overload

from lens_rome.plotting._chart import Chart, ChartPanel, Style
from lens_rome.plotting._draw import draw
from lens_rome.plotting._figure import BLUE, ORANGE, Figure, MplFigure, PlotlyFigure
from lens_rome.plotting._findings import checked_summary, lines_of, rows_of, series, summary_of
from lens_rome.plotting._frames import Needs, check_frame
from lens_rome.plotting._labels import titled, visible

_PLACES = {"without a mention": "without", "subject mentioned before": "with"}
_STYLES = {"without a mention": Style(BLUE), "subject mentioned before": Style(ORANGE, "D", "--")}
_PANELS = (
    ("New object", "logprob", "new", "mean log-probability (nats)"),
    ("Known answer", "logprob", "known", "mean log-probability (nats)"),
    ("New object is the most likely word", "most likely", "new", "share of prompts"),
)
_WORDS = 6


@overload
def plot_bleed(
    finding: Any, *, title: str | None = None, backend: Literal["matplotlib"] = "matplotlib"
) -> MplFigure: ...
@overload
def plot_bleed(finding: Any, *, title: str | None = None, backend: Literal["plotly"]) -> PlotlyFigure: ...
def plot_bleed(finding: Any, *, title: str | None = None, backend: str = "matplotlib") -> Figure:
    """The new object and the known answer of questions about others, before and after the edit, with and without a
    mention of the edited subject. Where the two lines are not parallel, the edit bleeds through the mention.

    The notes list the most likely words after prompts with a mention, where a finding is given.

    Args:
        finding: of the probe `bleed`, or its summary (`to_summary_dataframe`).
        title: what was edited; put after the statement of what is shown.
        backend: `"matplotlib"` or `"plotly"`.

    Raises:
        PlotError: a finding without rows, missing columns, or an unknown backend.
        MissingLibraryError: the library is not installed.
    """
    frame = checked_summary("plot_bleed", summary_of(finding), ("role", "distractor", "phase"))
    chart = Chart(
        titled("Answers about others, with the edited subject in the context", title),
        [_bleed(frame), *([] if hasattr(finding, "columns") else _most_likely(rows_of(finding)))],
        [_panel(frame, *each) for each in _PANELS],
        _STYLES,
        "",
        "value",
        x_caption="the edit",
        x_name="before (0) or after (1)",
        number=".4g",
        x_range=(-0.3, 1.3),
        panel_width=3.6,
    )
    return draw(chart, backend)


def _panel(frame: Any, title: str, measure: str, role: str, caption: str) -> ChartPanel:
    shown = []
    for name, place in _PLACES.items():
        rows = lines_of(frame, measure=measure, role=role, distractor=place).set_index("phase").loc[["before", "after"]]
        shown.append(series(name, [0, 1], rows["mean"], rows["low"], rows["high"]))
    y_range = (-0.03, 1.03) if measure == "most likely" else None
    return ChartPanel(title, shown, [0, 1], y_caption=caption, y_range=y_range, tick_labels=["before", "after"])


def _bleed(frame: Any) -> str:
    (row,) = lines_of(frame, measure="bleed", role="new").itertuples()
    interval = f" [{row.low:+.3f}, {row.high:+.3f}]" if row.low == row.low and row.high == row.high else ""
    return (
        f"Bleed: by the edit the new object gains {row.mean:+.3f} nats{interval} more with the mention than without. "
        "Bands: 95% intervals."
    )


def _most_likely(rows: Any) -> list[str]:
    """The most likely words after prompts with a mention, each with how often it is."""
    key = ("case", "prompt", "phase", "distractor", "role", "top")
    needs = Needs("plot_bleed", key, ("logprob",), ("case", "prompt", "phase", "role"), "logprob", ())
    frame = lines_of(check_frame(rows, needs), distractor="with", role="new")
    notes = []
    for phase in ("before", "after"):
        words = Counter(lines_of(frame, phase=phase)["top"]).most_common()
        told = ", ".join(f"{visible(word)} {count}×" for word, count in words[:_WORDS])
        rest = f", {len(words) - _WORDS} others" if len(words) > _WORDS else ""
        notes.append(f"Most likely words with a mention {phase} the edit: {told}{rest}.")
    return notes
