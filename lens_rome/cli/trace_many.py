"""`lens-rome trace --facts`: many facts into a folder."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape

from lens_rome.cli.models import ATLAS, Loaded
from lens_rome.cli.reporting import CommandError, console
from lens_rome.datasets import read_facts
from lens_rome.errors import RunError
from lens_rome.facts import Fact, answer_tokens
from lens_rome.runs import Run
from lens_rome.tracing import TraceSet, trace_facts
from lens_rome.tracing.options import TraceOptions
from lens_rome.tracing.trace_set import RUN_KIND


@dataclass(frozen=True)
class Ways:
    """Which of the facts are traced, and how the work goes."""

    count: int | None
    """So many of them, drawn at random; None for all."""
    known: bool
    """Only those that the model knows."""
    target: bool
    """The whole target is traced, not the model's top token."""
    shard: str | None
    retry_errors: bool


def facts_to_trace(source: str, out: Path | None) -> dict[str, Fact]:
    """The facts of a file; none for the atlas, whose facts come with its model.

    Raises:
        CommandError: no folder was given.  DatasetError: not a file of facts.
    """
    if out is None:
        raise CommandError("--facts needs --out: the folder that every finished fact is written to.")
    return {} if source == ATLAS else read_facts(source)


def trace_many(
    loaded: Loaded,
    facts: Mapping[str, Fact],
    kinds: Sequence[str],
    out: Path,
    options: TraceOptions,
    ways: Ways,
) -> None:
    """Trace the facts, or always the same ones of them, and say what is there and what comes next."""
    if not facts:
        if loaded.world is None:
            raise CommandError("--facts atlas are facts of the bundled model; give a file for another --model.")
        facts = {f"{fact.subject} {fact.relation}": fact for fact in loaded.world.facts}
    # Drawn and not the first: a file may be sorted by relation.
    chosen = dict(random.Random(0).sample(list(facts.items()), min(ways.count or len(facts), len(facts))))
    how = {"known": ways.known, "target": ways.target, "retry_errors": ways.retry_errors}
    done = _is_done(out, ways.retry_errors)
    found = trace_facts(loaded.model, chosen, kinds, out=out, shard=ways.shard, **how, **options)
    if done:
        console().print("Nothing was left to do: an earlier start has done all of it.")
    unknown = [name for name, reason in found.skipped.items() if not reason.startswith("error")]
    several = not ways.target and any(_is_long(loaded, chosen[name], options.get("prepend_bos")) for name in unknown)
    _show(found, out, several)


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
