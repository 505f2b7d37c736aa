"""`lens-rome trace --facts`: many facts into a folder."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape

from lens_rome.cli.engines import Engine, Engines
from lens_rome.cli.models import ATLAS, Loaded, Recipe, load
from lens_rome.cli.reporting import CommandError, console
from lens_rome.datasets import read_facts
from lens_rome.errors import RunError
from lens_rome.facts import Fact, answer_tokens
from lens_rome.runs import Run
from lens_rome.tracing import TraceSet, TraceTask
from lens_rome.tracing.facts_job import check_ways
from lens_rome.tracing.options import SharedOptions, TraceOptions
from lens_rome.tracing.trace_set import RUN_KIND

_CHUNK = 16  # facts that are run and written together


@dataclass(frozen=True)
class Ways:
    """Which of the facts are traced, and what of them."""

    count: int | None
    """So many of them, drawn at random; None for all."""
    known: bool
    """Only those that the model knows."""
    target: bool
    """The whole target is traced, not the model's top token."""


def facts_to_trace(source: str, out: Path | None) -> dict[str, Fact]:
    """The facts of a file; none for the atlas, whose facts come with its model.

    Raises:
        CommandError: no folder was given.  DatasetError: not a file of facts.
    """
    if out is None:
        raise CommandError("--facts needs --out: the folder that every finished fact is written to.")
    return {} if source == ATLAS else read_facts(source)


def trace_many(
    recipe: Recipe,
    facts: Mapping[str, Fact],
    kinds: Sequence[str],
    out: Path,
    options: TraceOptions,
    ways: Ways,
    engines: Engines,
) -> None:
    """Trace the facts, or always the same ones of them, and say what is there and what comes next."""
    engines.check()
    loaded = _loaded(recipe, engines)
    if not facts:
        if loaded.world is None:
            raise CommandError("--facts atlas are facts of the bundled model; give a file for another --model.")
        facts = {f"{fact.subject} {fact.relation}": fact for fact in loaded.world.facts}
    # Drawn and not the first: a file may be sorted by relation.
    chosen = dict(random.Random(0).sample(list(facts.items()), min(ways.count or len(facts), len(facts))))
    done = _is_done(out, engines.retry_errors)
    task = TraceTask(recipe, chosen, kinds, ways.known, ways.target, options.get("against"), _shared(options))
    check_ways(task.options, target=task.target, chunk_size=_CHUNK, shard=engines.shard, out=out)
    job = task.job(loaded.model)
    engines.run(job.open(out, _CHUNK), job.rows, task, chunk_size=_CHUNK, device=recipe.device)
    found = job.found(out)
    if done:
        console().print("Nothing was left to do: an earlier start has done all of it.")
    unknown = [name for name, reason in found.skipped.items() if not reason.startswith("error")]
    several = not ways.target and any(_is_long(loaded, chosen[name], options.get("prepend_bos")) for name in unknown)
    _show(found, out, several)


def _loaded(recipe: Recipe, engines: Engines) -> Loaded:
    """The model in this process. With Ray it only tells settings and says what is known: the CPU will do."""
    device = recipe.device if engines.engine is Engine.local else "cpu"
    return load(recipe.name, recipe.surface, device, recipe.dtype)


def _shared(options: TraceOptions) -> SharedOptions:
    """The options without the second answer, which facts may have each of their own."""
    shared: SharedOptions = {**options}
    shared.pop("against", None)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return shared


def _is_done(out: Path, retry_errors: bool) -> bool:
    """Whether there is a run with nothing left to do."""
    try:
        run = Run.read(out, RUN_KIND)
        return run.finished and not (retry_errors and run.errors)
    except RunError:  # No run there yet, or one that is refused in a moment.
        return False


def _is_long(loaded: Loaded, fact: Fact, bos: bool | None) -> bool:
    """Whether the fact's target has several tokens, so that no top token can equal it."""
    return len(answer_tokens(loaded.surface, fact.prompt, fact.target, bos)) > 1


def _show(found: TraceSet, out: Path, several: bool) -> None:
    """What is there; `several` tells that targets of several tokens were left out."""
    screen = console()
    screen.print(f"{len(found)} facts traced, {len(found.skipped)} left out, in {out}.", soft_wrap=True)
    failed = [reason for reason in found.skipped.values() if reason.startswith("error")]
    unknown = [reason for reason in found.skipped.values() if not reason.startswith("error")]
    for what, reasons in (
        ("whose target is not the model's top token", unknown),
        ("failed (see --retry-errors)", failed),
    ):
        if reasons:
            screen.print(f"  {len(reasons)} {what}, such as: {escape(reasons[0])}", style="dim", soft_wrap=True)
    if several:
        hint = "Targets of several tokens never equal the top token: --whole-target traces and checks all of them."
        screen.print(f"  {hint}", style="dim", soft_wrap=True)
    screen.print(f"Averages and pictures: lens-rome trace --average {out}", soft_wrap=True)
