"""What a trace's heat map shows, before any plotting library is involved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lens_rome.plotting._figure import PlotError
from lens_rome.plotting._labels import (
    conditions,
    layer_caption,
    layer_ticks,
    remarks,
    token_labels,
    visible,
    what_was_restored,
)
from lens_rome.tracing import TraceResult

Results = TraceResult | Mapping[str, TraceResult] | Sequence[TraceResult]

COLOURS = {"resid": "Purples", "mlp": "Greens", "attn": "Reds"}
"""Colour maps of the paper; both libraries know them by these names."""
_MAX_PANELS = 3


@dataclass(frozen=True)
class Panel:
    """One heat map, ready to draw by any library."""

    title: str
    values: Float[np.ndarray, "pos layer"]
    """Probability of the answer; NaN where nothing was traced."""
    spread: Float[np.ndarray, "pos layer"]
    """Standard deviation over noise samples."""
    floor: float
    """The corrupted probability: what lies below is drawn like it."""
    ceiling: float
    colours: str
    answer: str
    layer_caption: str
    layer_ticks: list[int]

    @property
    def has_lower(self) -> bool:
        """Whether cells lie visibly below the floor."""
        return bool(np.nanmin(self.values, initial=self.floor) < self.floor - 0.01 * (self.ceiling - self.floor))


@dataclass(frozen=True)
class Picture:
    """One to three panels over the same tokens."""

    title: str
    notes: list[str]
    tokens: list[str]
    """Labels of the rows, top to bottom."""
    is_subject: list[bool]
    panels: list[Panel]

    @property
    def n_layers(self) -> int:
        """Columns of the widest panel."""
        return max(panel.values.shape[1] for panel in self.panels)


def make_picture(results: Results) -> Picture:
    """Everything that is drawn, without a plotting library."""
    named = _named(results)
    traces = [trace for _, trace in named]
    first = traces[0]
    lines = [conditions(trace) for trace in traces]
    same = len(set(lines)) == 1
    panels = [_panel(name, trace, "" if same else line) for (name, trace), line in zip(named, lines, strict=True)]
    notes = [*lines[:1], *remarks(traces)] if same else remarks(traces)
    begin, end = first.subject_span
    inside = [begin <= pos < end for pos in range(len(first.tokens))]
    answers = " or ".join(dict.fromkeys(repr(visible(trace.answer.strip())) for trace in traces))
    return Picture(f"{visible(first.prompt)} → {answers}", notes, token_labels(first), inside, panels)


def _named(results: Results) -> list[tuple[str, TraceResult]]:
    if isinstance(results, TraceResult):
        named = [("", results)]
    elif isinstance(results, Mapping):
        named = list(results.items())
    else:
        named = [("", trace) for trace in results]
    if not 1 <= len(named) <= _MAX_PANELS:
        raise PlotError(
            f"plot_trace draws one to {_MAX_PANELS} results side by side, got {len(named)}. Make several figures."
        )
    for name, trace in named:
        if name in COLOURS and name != trace.settings.kind:
            raise PlotError(
                f"the result under {name!r} is of kind {trace.settings.kind!r}. Use its own kind as its key."
            )
        if (trace.tokens, trace.subject_span) != (named[0][1].tokens, named[0][1].subject_span):
            raise PlotError(
                f"one figure shows one prompt, got {named[0][1].prompt!r} and {trace.prompt!r} "
                "(or two ways to tokenise it, or two subjects). Make one figure for each."
            )
    return named


def _panel(name: str, trace: TraceResult, line: str) -> Panel:
    settings = trace.settings
    title = what_was_restored(settings.kind, settings.window)
    if name and name not in COLOURS:
        title = f"{visible(name)}: {title[0].lower()}{title[1:]}"
    values = trace.scores.double().cpu().numpy().T
    floor = trace.corrupted_score
    # Nothing above the floor (a trace that shows nothing) still needs a scale; 0.01 is where a trace counts as weak.
    ceiling = max(float(np.nanmax(values, initial=floor)), floor + 0.01)
    return Panel(
        title + (f"\n{line}" if line else ""),
        values,
        trace.sample_scores.double().std(-1, correction=0).cpu().numpy().T,
        floor,
        ceiling,
        COLOURS[settings.kind],
        visible(trace.answer.strip()),
        layer_caption(settings.window),
        layer_ticks(values.shape[1]),
    )
