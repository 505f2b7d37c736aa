"""What a trace's heat map shows, before any plotting library is involved."""

from collections.abc import Mapping, Sequence

from lens_rome.plotting._captions import APPROXIMATE, conditions, layer_caption, remarks, what_was_done
from lens_rome.plotting._figure import PlotError
from lens_rome.plotting._heat import COLOURS, PLAIN, Detail, Panel, Picture, one_sided
from lens_rome.plotting._labels import token_labels, visible
from lens_rome.plotting._measures import effects_are_falls, measure_of
from lens_rome.tracing import TraceResult

Results = TraceResult | Mapping[str, TraceResult] | Sequence[TraceResult]

_MAX_PANELS = 3
_TOKEN_CHARACTERS = 24


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
    estimated = f"{APPROXIMATE} " if all(trace.settings.approximate for trace in traces) else ""
    return Picture(
        f"{estimated}{visible(first.prompt)} → {answers}",
        notes,
        token_labels(first),
        panels,
        inside,
        row_characters=_TOKEN_CHARACTERS,
    )


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
        if _prompt(trace) != _prompt(named[0][1]):
            raise PlotError(
                f"one figure shows one prompt, got {named[0][1].prompt!r} and {trace.prompt!r} "
                "(or two ways to tokenise it, two subjects, or two choices of corrupted tokens). "
                "Make one figure for each."
            )
    return named


def _prompt(trace: TraceResult) -> tuple[object, ...]:
    """What the labels of the rows show; all panels share them."""
    return trace.tokens, trace.subject_span, trace.corrupted_spans


def _panel(name: str, trace: TraceResult, line: str) -> Panel:
    settings = trace.settings
    before = ([APPROXIMATE] if settings.approximate else []) + (
        [f"{visible(name)}:"] if name not in ("", *COLOURS) else []
    )
    deed = what_was_done(settings)
    title = " ".join([*before, deed[0].lower() + deed[1:] if before else deed])
    values = trace.scores.double().cpu().numpy().T
    colours = COLOURS.get(settings.kind, PLAIN)
    measure = measure_of(settings, trace.answer)
    return Panel(
        title + (f"\n{line}" if line else ""),
        values,
        one_sided(values, trace.baseline, colours, falls=effects_are_falls(settings)),
        measure.label,
        measure.short,
        layer_caption(settings.window),
        details=(
            Detail("deviation over samples", trace.sample_scores.double().std(-1, correction=0).cpu().numpy().T, ".4f"),
            Detail("indirect effect", values - trace.baseline, "+.4f"),
        ),
    )
