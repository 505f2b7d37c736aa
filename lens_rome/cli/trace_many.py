"""`lens-rome trace --facts`: many facts into a folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.markup import escape

from lens_rome.cli.models import ATLAS, Loaded
from lens_rome.cli.reporting import CommandError, console
from lens_rome.datasets import read_facts
from lens_rome.facts import Fact
from lens_rome.tracing import TraceSet, trace_facts
from lens_rome.tracing.options import TraceOptions


def facts_to_trace(source: str, out: Path | None, answer: str | None) -> dict[str, Fact]:
    """The facts of a file; none for the atlas, whose facts come with its model.

    Raises:
        CommandError: options that do not fit.  DatasetError: not a file of facts.
    """
    if out is None:
        raise CommandError("--facts needs --out: the folder that every finished fact is written to.")
    if answer is not None:
        raise CommandError("--answer is for one fact; with --facts the model's own answers are traced.")
    return {} if source == ATLAS else read_facts(source)


def trace_many(
    loaded: Loaded,
    facts: Mapping[str, Fact],
    kinds: Sequence[str],
    out: Path,
    options: TraceOptions,
    *,
    count: int | None,
    known: bool,
    shard: str | None,
    retry_errors: bool,
) -> None:
    """Trace the first `count` facts, and say what is there and what comes next."""
    if not facts:
        if loaded.world is None:
            raise CommandError("--facts atlas are facts of the bundled model; give a file for another --model.")
        facts = {f"{fact.subject} {fact.relation}": fact for fact in loaded.world.facts}
    chosen = dict(list(facts.items())[:count])
    found = trace_facts(
        loaded.model, chosen, kinds, out=out, known=known, shard=shard, retry_errors=retry_errors, **options
    )
    _show(found, out)


def _show(found: TraceSet, out: Path) -> None:
    screen = console()
    screen.print(f"{len(found)} facts traced, {len(found.skipped)} left out, in {out}.", soft_wrap=True)
    failed = [reason for reason in found.skipped.values() if reason.startswith("error")]
    unknown = [reason for reason in found.skipped.values() if not reason.startswith("error")]
    for what, reasons in (("not known by the model", unknown), ("failed (see --retry-errors)", failed)):
        if reasons:
            screen.print(f"  {len(reasons)} {what}, such as: {escape(reasons[0])}", style="dim", soft_wrap=True)
    screen.print(f"Averages and pictures: lens-rome trace --average {out}", soft_wrap=True)
