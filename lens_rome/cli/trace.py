"""`lens-rome trace`: where a fact is recalled."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import lens_rome
from lens_rome.cli.engines import Engine, EngineName, Engines, RayAddress, RetryErrors, Shard, Workers
from lens_rome.cli.models import Loaded, Recipe, load
from lens_rome.cli.options import (
    Bos,
    Device,
    Dtype,
    ModelName,
    Out,
    Precision,
    Subject,
    SurfaceName,
    Template,
    split_names,
    split_numbers,
    split_places,
)
from lens_rome.cli.output import Folder
from lens_rome.cli.reporting import CommandError, console, reporting, working
from lens_rome.cli.show_average import show_average
from lens_rome.cli.show_trace import show_traces
from lens_rome.cli.tables import show_files
from lens_rome.cli.trace_many import Ways, facts_to_trace, trace_many
from lens_rome.cli.trace_task import check_one_task
from lens_rome.facts import Fact
from lens_rome.plotting import plot_trace
from lens_rome.tracing import KINDS, METRICS, TraceResult, trace_kinds
from lens_rome.tracing.options import TraceOptions
from lens_rome.tracing.window import check_kind, check_window

Traces = Mapping[str, TraceResult]
"""By kind."""


@reporting
def trace(
    context: typer.Context,
    subject: Subject = None,
    template: Template = None,
    facts: Annotated[
        str | None,
        typer.Option("--facts", help="Trace many: a JSON file, `atlas`, or `known` (the paper's file). Needs --out."),
    ] = None,
    average: Annotated[
        Path | None, typer.Option("--average", help="Average the traces in the folder of an earlier --facts run.")
    ] = None,
    model: ModelName = "atlas",
    target: Annotated[
        str | None, typer.Option("--target", help="The true object; results say whether the model's answer is it.")
    ] = None,
    answer: Annotated[
        str | None, typer.Option("--answer", help="Text whose score is traced; left out: the model's top token.")
    ] = None,
    kinds: Annotated[
        str, typer.Option("--kinds", help=f"What to restore, separated by commas: {', '.join(KINDS)}.")
    ] = "resid,mlp,attn",
    noise: Annotated[
        str,
        typer.Option(
            "--noise", help="A number, `3s` (deviations of the subject's embeddings), `u0.3`, `zero`, `mean`."
        ),
    ] = "3s",
    samples: Annotated[int, typer.Option("--samples", help="Noise samples to average over.")] = 10,
    window: Annotated[
        int | None,
        typer.Option(
            "--window",
            help="Layers restored together by mlp and attn (by any kind that is asked for alone); left out: 10, a "
            "fifth in shallow models.",
        ),
    ] = None,
    positions: Annotated[
        str | None,
        typer.Option(
            "--positions",
            help="Tokens to trace, separated by commas: numbers from 0 (BOS counts), subject_first, subject_last, "
            "subject, last; left out: all.",
        ),
    ] = None,
    layers: Annotated[
        str | None, typer.Option("--layers", help="Layers to trace, separated by commas; left out: all.")
    ] = None,
    head: Annotated[int | None, typer.Option("--head", help="The attention head, for --kinds head.")] = None,
    metric: Annotated[str, typer.Option("--metric", help=f"What to measure: {', '.join(METRICS)}.")] = "prob",
    against: Annotated[str | None, typer.Option("--against", help="Second answer, for --metric logit_diff.")] = None,
    direction: Annotated[
        str, typer.Option("--direction", help="`denoise`, `noise` or `zero`: which states go into which run.")
    ] = "denoise",
    severed: Annotated[
        str | None, typer.Option("--severed", help="`mlp` or `attn`: hold that path at its corrupted values.")
    ] = None,
    original: Annotated[
        bool, typer.Option("--original", help="Follow the released code in all that changes numbers.")
    ] = False,
    top: Annotated[int, typer.Option("--top", min=1, help="How many of the best cells to print for each kind.")] = 3,
    count: Annotated[
        int | None, typer.Option("--count", min=1, help="With --facts: so many of them, drawn at random.")
    ] = None,
    whole_target: Annotated[
        bool,
        typer.Option("--whole-target", help="With --facts: trace each target with all its tokens, not the top token."),
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="With --facts: also facts that the model does not know.")
    ] = False,
    retry_errors: RetryErrors = False,
    engine: EngineName = Engine.local,
    workers: Workers = None,
    ray_address: RayAddress = None,
    shard: Shard = None,
    surface: SurfaceName = None,
    device: Device = "cpu",
    dtype: Dtype = Precision.float32,
    bos: Bos = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the noise.")] = 1,
    out: Out = None,
) -> None:
    """Trace a fact: corrupt its subject, restore one state at a time, and see where the answer comes back.

    Example: lens-rome trace -s "Eiffel Tower" -t "The {} is in the city of" --out out/trace

    Many facts, resumable: lens-rome trace --facts atlas --out run, then lens-rome trace --average run
    """
    check_one_task(context)
    if average is not None:
        show_average(console(), average, out or average)
        return
    asked = _kinds(kinds, window)
    options: TraceOptions = {
        "noise": _noise(noise),
        "samples": samples,
        "window": window,
        "positions": None if positions is None else split_places(positions, "--positions"),
        "layers": None if layers is None else split_numbers(layers, "--layers"),
        "head": head,
        "answer": answer,
        "metric": metric,
        "against": against,
        "direction": direction,
        "severed": severed,
        "original": original,
        "seed": seed,
        "prepend_bos": bos,
    }
    if facts is not None:
        given = facts_to_trace(facts, out)
        ways = Ways(count, not everything, whole_target)
        engines = Engines(engine, workers, ray_address, shard, retry_errors)
        trace_many(Recipe(model, surface, device, dtype), given, asked, out or Path(), options, ways, engines)
        return
    if subject is None or template is None:
        raise CommandError("give --subject and --template for one fact, --facts for many, or --average for a folder.")
    Fact(subject, template, "?")  # Refuses a bad template before a model is loaded.
    folder = Folder(out) if out else None
    loaded = load(model, surface, device, dtype)
    _trace_one(loaded, _fact(loaded, subject, template, target, bos), asked, options, top, folder)


def _trace_one(
    loaded: Loaded, fact: Fact, kinds: Sequence[str], options: TraceOptions, top: int, folder: Folder | None
) -> None:
    """Trace, show and write one fact."""
    results = run_traces(loaded, fact, kinds, options)
    screen = console()
    show_traces(screen, results, top)
    if folder:
        write_traces(folder, results)
        show_files(screen, folder)


def run_traces(loaded: Loaded, fact: Fact, kinds: Sequence[str], options: TraceOptions) -> dict[str, TraceResult]:
    """A trace of each kind, with progress."""
    with working("tracing", 1) as begin:
        begin(", ".join(kinds))
        return trace_kinds(loaded.model, fact, kinds, **options)


def write_traces(folder: Folder, results: Traces, name: str = "trace") -> None:
    """Picture, interactive page, JSON, and a file of each result that `TraceResult.load` reads."""
    panels = dict(results)
    folder.picture(f"{name}.png", "heat maps of the trace", lambda: plot_trace(panels))
    folder.picture(
        f"{name}.html", "the same, interactive: open it in a browser", lambda: plot_trace(panels, backend="plotly")
    )
    described = {kind: describe_trace(result) for kind, result in results.items()}
    folder.json(f"{name}.json", "all numbers of the trace", {"lens_rome": lens_rome.__version__, "traces": described})
    for kind, result in results.items():
        folder.save(f"{name}_{kind}.safetensors", f"read it with TraceResult.load ({kind})", result.save)


def describe_trace(result: TraceResult) -> dict[str, Any]:
    """A result for JSON; `scores` is `[layer][position]`."""
    return {
        **result.describe(),
        "corrupted_score": result.corrupted_score,
        "total_effect": result.total_effect,
        "is_weak": result.is_weak,
        "answer_is_target": result.answer_is_target,
        "scores": result.scores.tolist(),
        "top": [{"layer": layer, "pos": pos, "indirect_effect": effect} for layer, pos, effect in result.top(10)],
    }


def _fact(loaded: Loaded, subject: str, template: str, target: str | None, bos: bool | None) -> Fact:
    """The fact with the target that was given, or the world's, or else the model's own next token."""
    if target is not None:
        return Fact(subject, template, target)
    known = loaded.known_fact(subject, template)
    if known is not None:
        return known
    fact = Fact(subject, template, "?")
    # A line break or a space as the model's next token cannot be a target; the placeholder then stays.
    return Fact(subject, template, loaded.next_word(fact.prompt, bos) or "?")


def _kinds(text: str, window: int | None) -> list[str]:
    """The kinds asked for, checked with their window before a model is loaded."""
    kinds = split_names(text, "--kinds")
    for kind in kinds:
        check_kind(kind)
        check_window(window, kind, 1)
    return kinds


def _noise(text: str) -> float | str:
    """A number where it is one; `trace` reads and refuses the rest."""
    try:
        return float(text)
    except ValueError:
        return text
