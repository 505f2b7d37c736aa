"""A trace on the terminal: the heat maps as shades of grey, and the best cells as numbers."""

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from lens_rome.cli.tables import plain_table
from lens_rome.tracing import KIND_NAMES, TraceResult, window_layers

_SHADES = " ·░▒▓█"
_COLOURS = {"resid": "magenta", "mlp": "green", "attn": "red"}
_PLAIN = "cyan"
_NAMES = {
    "resid": "hidden state",
    "mlp": "MLP output",
    "attn": "attention output",
    "resid_pre": "hidden state before the block",
    "resid_mid": "hidden state between attention and MLP",
    "post": "MLP neurons",
    "head": "attention head",
}


def show_traces(console: Console, results: Mapping[str, TraceResult], top: int) -> None:
    """Prompt, probabilities, heat maps and the `top` cells of each kind."""
    first = next(iter(results.values()))
    console.print(f"\n[bold]{escape(first.prompt)}[/bold] → [bold]{escape(first.answer)}[/bold]", soft_wrap=True)
    console.print(_conditions(first), soft_wrap=True)
    if not first.answer_is_target and first.target != "?":
        console.print(f"The answer is not the target given, '{escape(first.target)}'.", style="yellow", soft_wrap=True)
    console.print("Restored: " + ", ".join(_panel_name(result) for result in results.values()) + ".\n")
    _show_maps(console, results)
    console.print(_best_cells(results, top))


def _conditions(result: TraceResult) -> str:
    """What was measured, clean and corrupted, and how the subject was corrupted."""
    settings = result.settings
    if settings.direction == "zero":
        return f"{_measured(result)} is {_number(result, result.clean_score)}; states are replaced by zeros."
    size = f", σ = {settings.noise_level:.3g}" if settings.noise_level is not None else ""
    count = "1 sample" if settings.samples == 1 else f"{settings.samples} samples"
    way = "Corrupted states are put into the clean run." if settings.direction == "noise" else ""
    cut = f"The {settings.severed} path is severed." if settings.severed else ""
    return (
        f"{_measured(result)} is {_number(result, result.clean_score)}, and {_number(result, result.corrupted_score)} "
        f"when the corruption ({escape(settings.noise)}{size}; {count}) hides '{escape(result.subject)}'. {way} {cut}"
    ).strip()


def _measured(result: TraceResult) -> str:
    answer, metric = escape(result.answer), result.settings.metric
    if metric == "logit_diff":
        return f"logit({answer}) minus logit({escape(result.settings.against)})"
    if metric == "kl":
        return "KL to the clean run (nats)"
    return f"p({answer})" if metric == "prob" else f"{metric}({answer})"


def _number(result: TraceResult, score: float) -> str:
    return f"{score:.1%}" if result.settings.metric in ("prob", "prob_per_token") else f"{score:.3f}"


def _panel_name(result: TraceResult) -> str:
    window = result.settings.window
    together = f" ({window} layers together)" if window > 1 else ""
    head = "" if result.settings.head is None else f" {result.settings.head}"
    return _NAMES[result.settings.kind] + head + together


def _show_maps(console: Console, results: Mapping[str, TraceResult]) -> None:
    """Side by side where they fit, else one below the other."""
    labels = [_label(next(iter(results.values())), pos) for pos in range(len(next(iter(results.values())).tokens))]
    n_layers = next(iter(results.values())).scores.shape[0]
    cell = 2 if n_layers <= 10 else 1
    heads = {kind: f"{KIND_NAMES[kind]}\nlayers 0–{n_layers - 1}" for kind in results}
    widths = [max(cell * n_layers, *map(len, head.split("\n"))) + 2 for head in heads.values()]
    together = sum(widths) <= console.width - max(map(len, labels)) - 2
    for kinds in [list(results)] if together else [[kind] for kind in results]:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("", no_wrap=True)
        for kind in kinds:
            head = Text(heads[kind], style=f"bold {_COLOURS.get(kind, _PLAIN)}")
            table.add_column(head, no_wrap=True, min_width=cell * n_layers, overflow="crop")
        for pos, label in enumerate(labels):
            style = "bold" if label.endswith("*") else ""
            rows = [Text(_row(results[kind], pos, cell), style=_COLOURS.get(kind, _PLAIN)) for kind in kinds]
            table.add_row(Text(label, style=style), *rows)
        console.print(table)
    levels = " ".join(f"{shade} {100 * i // (len(_SHADES) - 1)}%" for i, shade in enumerate(_SHADES) if i)
    console.print(f"share of the {_whole(next(iter(results.values())))}: {levels}; * subject\n", style="dim")


def _label(result: TraceResult, pos: int) -> str:
    first, last = result.subject_span
    text = result.token_strings[pos].strip() or repr(result.token_strings[pos])
    return (text if len(text) <= 16 else text[:15] + "…") + "*" * (first <= pos < last)


def _row(result: TraceResult, pos: int, cell: int) -> str:
    return "".join(cell * _shade(result, layer, pos) for layer in range(result.scores.shape[0]))


def _shade(result: TraceResult, layer: int, pos: int) -> str:
    """A character for the cell's share, rounded to a fifth; blank where it goes the other way, `?` if untraced."""
    effect = float(result.indirect_effects[layer, pos])
    if effect != effect:
        return "?"
    share = _share(result, effect) or 0.0
    return _SHADES[max(0, min(len(_SHADES) - 1, round(share * (len(_SHADES) - 1))))]


def _share(result: TraceResult, effect: float) -> float | None:
    """What part of the total effect a cell brings back or, where clean states are replaced, takes away; of the clean
    score where states are zeroed. None where there is nothing to share.
    """
    sign, total = 1 if result.settings.direction == "denoise" else -1, result.total_effect
    if result.settings.direction == "zero":
        total = result.clean_score
    return sign * effect / total if total else None


def _whole(result: TraceResult) -> str:
    return "clean score" if result.settings.direction == "zero" else "total effect"


def _best_cells(results: Mapping[str, TraceResult], top: int) -> Table:
    table = plain_table(
        "best cells", "token", "layers", "score", f"share of the {_whole(next(iter(results.values())))}"
    )
    for kind, result in results.items():
        n_layers = result.scores.shape[0]
        for layer, pos, effect in result.top(top):
            begin, end = window_layers(layer, result.settings.window, n_layers)
            layers = str(begin) if end - begin == 1 else f"{begin}–{end - 1}"
            share = _share(result, effect)
            told = "–" if share is None else f"{share:.0%}"
            label = escape(_label(result, pos))
            table.add_row(_NAMES[kind], label, layers, _number(result, result.baseline + effect), told)
    return table
