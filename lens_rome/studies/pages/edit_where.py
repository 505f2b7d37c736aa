"""Where the fact showed: the traces of one fact as heat maps."""

import math
from collections.abc import Sequence

from lens_rome.studies.one_edit import EditStory
from lens_rome.studies.pages.document import folded, section
from lens_rome.studies.pages.elements import Markup, isolated, join, tag
from lens_rome.studies.pages.heat_map import HeatRow, heat_legend, heat_map
from lens_rome.studies.pages.prob_bars import shown_prob
from lens_rome.studies.pages.table import Head, data_table
from lens_rome.tracing import KIND_NAMES, TraceResult

HEADING = "1 · Where the fact showed"
_UNIT = "percentage points"
_LABELS = 12  # layers with a number below them, at most
_NOT_TRACED = (
    "Nothing was traced, so the page does not tell where the fact showed. Ask for it by kinds=(“resid”, “mlp”, “attn”) "
    "of edit_story."
)


def where_section(story: EditStory) -> Markup:
    """The sentence about the hidden states, a map of each kind, and the numbers as tables."""
    if not story.traces:
        return section(HEADING, tag("p", _NOT_TRACED, class_="missing"), name="where")
    traces = list(story.traces.values())
    effects = [100 * float(each) for trace in traces for each in trace.indirect_effects.flatten()]
    finite = [each for each in effects if math.isfinite(each)]
    top = max((abs(each) for each in finite), default=0.0)
    maps = tag("div", *(_map(trace, top) for trace in traces), class_="heat-maps")
    legend = heat_legend(top, _UNIT, cold=min(finite, default=0.0) < -0.01 * top)
    tables = folded("The numbers of the maps as tables", *(_table(trace) for trace in traces))
    return section(HEADING, _lead(story), _about(traces[0]), maps, legend, tables, name="where")


def _lead(story: EditStory) -> Markup:
    """What the state of the subject's last token alone brings back, with its interval over the noise."""
    trace = story.traces.get("resid", next(iter(story.traces.values())))
    clean, noised = shown_prob(trace.clean_score), shown_prob(trace.corrupted_score)
    known = ["The unedited model says ", tag("b", isolated(trace.answer)), f" with a probability of {clean}, and with "
             f"{noised} when noise hides the subject"]  # fmt: skip
    if trace.is_weak:
        weak = ": too small a difference for a trace to show anything. Read nothing into the maps."
        return tag("p", *known, weak, class_="lead")
    layer, pos = best_at_subject(trace)
    low, high = _interval(trace, layer, pos)
    share = float(trace.indirect_effects[layer, pos]) / trace.total_effect
    where = [
        ". At the subject’s last token ", _token(trace.token_strings[pos]),
        f" no layer’s {_one(trace)} brings back more than that of layer {layer}: alone {100 * share:.0f}% of what the "
        "noise took",
    ]  # fmt: skip
    over = f" (95% interval over the noise, for the layer chosen by it, {100 * low:.0f} to {100 * high:.0f}%)"
    interval = "" if math.isnan(low) else over
    return tag("p", *known, *where, interval, ".", class_="lead")


def best_at_subject(trace: TraceResult) -> tuple[int, int]:
    """The layer that brings back most at the subject's last token, and that token's position."""
    pos = trace.subject_span[1] - 1
    return int(trace.indirect_effects[:, pos].nan_to_num(-math.inf).argmax()), pos


def _interval(trace: TraceResult, layer: int, pos: int) -> tuple[float, float]:
    """Of the share of the total effect that a cell brings back: 1.96 standard errors over the samples of the noise."""
    changes = trace.sample_scores[layer, pos] - trace.corrupted_samples
    if len(changes) < 2:
        return math.nan, math.nan
    half = 1.96 * float(changes.std()) / len(changes) ** 0.5
    return tuple((float(changes.mean()) + sign * half) / trace.total_effect for sign in (-1, 1))  # pyright: ignore[reportReturnType]


def _about(trace: TraceResult) -> Markup:
    settings = trace.settings
    samples = "1 sample" if settings.samples == 1 else f"{settings.samples} samples"
    told = (
        f"Causal tracing: the subject’s embeddings get noise ({settings.noise}, {samples}, seed {settings.seed}), one "
        "state at a time is put back, and a cell shows how many percentage points of probability that brings back. "
        "Tokens from top to bottom, the subject’s in bold; layers from left to right; the largest cell has a frame."
    )
    return tag("p", told, class_="about")


def _map(trace: TraceResult, top: float) -> Markup:
    effects = 100 * trace.indirect_effects
    rows = _rows(trace, effects.T.tolist())
    layers = effects.shape[0]
    step = math.ceil(layers / _LABELS)
    columns = [str(layer) if layer % step == 0 else "" for layer in range(layers)]
    name = _name(trace)
    told = (
        f"Heat map of {len(rows)} tokens and {layers} layers. The total effect of the noise is "
        f"{100 * trace.total_effect:.3g} {_UNIT}. The table below has every number."
    )
    return heat_map(rows, columns, caption=name, axis="layer", told=told, top=top, unit=_UNIT)


def _rows(trace: TraceResult, values: Sequence[Sequence[float]]) -> list[HeatRow]:
    first, last = trace.subject_span
    return [
        HeatRow(_visible(label), row, first <= pos < last)
        for pos, (label, row) in enumerate(zip(trace.token_strings, values, strict=True))
    ]


def _table(trace: TraceResult) -> Markup:
    effects = 100 * trace.indirect_effects
    columns = [Head("token", number=False), *(Head(str(layer)) for layer in range(effects.shape[0]))]
    rows = [[row.label, *(_shown(value) for value in row.values)] for row in _rows(trace, effects.T.tolist())]
    return data_table(columns, rows, caption=f"{_name(trace)}: indirect effect in {_UNIT}, by layer")


def _shown(value: float) -> str:
    """One digit after the point, and no sign of a number that is 0 then."""
    if math.isnan(value):
        return "–"
    shown = f"{value:.1f}"
    return "0.0" if shown == "-0.0" else shown.replace("-", "\N{MINUS SIGN}")


def _name(trace: TraceResult) -> str:
    kind, window = trace.settings.kind, trace.settings.window
    name = KIND_NAMES.get(kind, kind)
    return (name[:1].upper() + name[1:] if not name.startswith("MLP") else name) + (
        f", windows of {window} layers" if window > 1 else ""
    )


def _one(trace: TraceResult) -> str:
    return "hidden state" if trace.settings.kind == "resid" else KIND_NAMES.get(trace.settings.kind, "state")


def _visible(token: str) -> str:
    """A token as a label; what cannot be seen is written as an escape."""
    shown = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in token)
    return shown.strip() or "␣" * len(shown) or "''"


def _token(token: str) -> Markup:
    return join(["“", isolated(_visible(token)), "”"])
