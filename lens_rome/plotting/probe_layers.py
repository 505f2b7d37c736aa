"""`plot_layers`: scores of edits by the layer, and the token of the prompt, that they are made at."""

from collections.abc import Sequence
from typing import Any, Literal, overload

import numpy as np

from lens_rome.plotting._chart import LOOKS, Chart, ChartPanel, Series, Style
from lens_rome.plotting._draw import draw
from lens_rome.plotting._figure import Figure, MplFigure, PlotError, PlotlyFigure
from lens_rome.plotting._findings import summary_of
from lens_rome.plotting._frames import Needs, check_frame
from lens_rome.plotting._labels import layer_ticks, titled, visible

_WORDS = {
    "subject_last": "last subject token",
    "subject_first": "first subject token",
    "subject_first_after_last": "first token after the subject",
    "last": "last token of the prompt",
}
_UNEDITED = Style("#000000", "X", ":")
UNEDITED = "unedited"
"""In the column `token`, the scores of the unedited model."""
_SHARES = ("S", "ES", "PS", "NS")
METRICS = ("S", "ES", "PS", "NS")
_TITLES = {
    "S": "S: all three together",
    "ES": "ES: the edited prompt",
    "PS": "PS: paraphrases",
    "NS": "NS: neighbours keep theirs",
    "EM": "EM: the edited prompt",
    "PM": "PM: paraphrases",
    "NM": "NM: neighbours",
}


@overload
def plot_layers(
    finding: Any,
    *,
    metrics: Sequence[str] = METRICS,
    title: str | None = None,
    backend: Literal["matplotlib"] = "matplotlib",
) -> MplFigure: ...
@overload
def plot_layers(
    finding: Any,
    *,
    metrics: Sequence[str] = METRICS,
    title: str | None = None,
    backend: Literal["plotly"],
) -> PlotlyFigure: ...
def plot_layers(
    finding: Any, *, metrics: Sequence[str] = METRICS, title: str | None = None, backend: str = "matplotlib"
) -> Figure:
    """A panel a metric, a line with its 95% band a token at which edits are made, over layers.

    The dotted black line is the unedited model, where the frame has it.

    Args:
        finding: of the probe `layers`, or a frame of its summary: `layer`, `token`, `measure`, `mean`, `low`, `high`.
        metrics: which to draw; those without rows are left out.
        title: what was edited, e.g. `"20 records of the atlas"`; put after the statement of what is shown.
        backend: `"matplotlib"` or `"plotly"`.

    Raises:
        PlotError: a finding without rows, missing columns, none of the metrics, more than six tokens, two rows for one
            point, or an unknown backend.
        MissingLibraryError: the library is not installed.

    Reference: ROME, https://arxiv.org/abs/2202.05262, figure 5.
    """
    frame: Any = summary_of(finding)
    names, numbers = ("token", "measure"), ("layer", "mean", "low", "high")
    frame = frame.astype({"layer": float}) if "layer" in frame.columns else frame
    check_frame(frame, Needs("plot_layers", names, numbers, ("token", "measure", "layer"), "mean"))
    shown = [name for name in metrics if name in set(frame["measure"])]
    edited = frame[frame["token"] != UNEDITED].dropna(subset=["layer"])
    if not shown or edited.empty:
        raise PlotError(f"there are no rows of edits for the metrics {', '.join(metrics)}. Choose others by metrics=.")
    tokens = [*(t for t in _WORDS if t in set(edited["token"])), *sorted(set(edited["token"]) - set(_WORDS))]
    if len(tokens) > len(LOOKS):
        raise PlotError(f"plot_layers can tell {len(LOOKS)} tokens apart, got {len(tokens)}. Choose some rows.")
    styles = {_word(token): style for token, style in zip(tokens, LOOKS, strict=False)}
    plain = frame[frame["token"] == UNEDITED]
    if not plain.empty:
        styles[UNEDITED] = _UNEDITED
    heading = titled("Scores of edits by layer and token", title)
    panels = [_panel(name, edited, plain, tokens) for name in shown]
    band = "Bands: 95% interval over records, cut at 0 and 1 where the score is a share."
    chart = Chart(heading, [band], panels, styles, "score", "score", number=".3f", panel_width=3.3)
    return draw(chart, backend)


def _panel(metric: str, edited: Any, plain: Any, tokens: list[str]) -> ChartPanel:
    layers = sorted(set(edited["layer"].astype(int)))
    rows = edited[edited["measure"] == metric]
    series = []
    for token in tokens:
        own = rows[rows["token"] == token].sort_values("layer")
        if not own.empty:
            layer, mean, low, high = (own[n].to_numpy(dtype=float) for n in ("layer", "mean", "low", "high"))
            if metric in _SHARES:
                low, high = np.clip(low, 0, 1), np.clip(high, 0, 1)
            series.append(Series(_word(token), layer, mean, low, high))
    flat = plain[plain["measure"] == metric]["mean"].to_numpy(dtype=float)
    if len(flat):
        ends, none = np.array([layers[0], layers[-1]], dtype=float), np.full(2, np.nan)
        series.append(Series(UNEDITED, ends, np.repeat(flat[:1], 2), none, none))
    ticks = layer_ticks(layers[-1] - layers[0] + 1, layers[0])
    return ChartPanel(_TITLES.get(metric, visible(metric)), series, ticks)


def _word(token: str) -> str:
    return _WORDS.get(token, visible(token))
