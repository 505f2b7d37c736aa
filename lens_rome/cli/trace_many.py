"""`lens-rome trace --facts`: many facts into a folder."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.markup import escape

from lens_rome.cli.models import ATLAS, Loaded
from lens_rome.cli.reporting import CommandError, console
from lens_rome.datasets import read_facts
from lens_rome.facts import Fact, answer_tokens
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
    target: bool,
    shard: str | None,
    retry_errors: bool,
) -> None:
    """Trace `count` of the facts, always the same ones, and say what is there and what comes next."""
    if not facts:
        if loaded.world is None:
            raise CommandError("--facts atlas are facts of the bundled model; give a file for another --model.")
        facts = {f"{fact.subject} {fact.relation}": fact for fact in loaded.world.facts}
    # Drawn and not the first: a file may be sorted by relation.
    chosen = dict(random.Random(0).sample(list(facts.items()), min(count or len(facts), len(facts))))
    ways = {"known": known, "target": target, "retry_errors": retry_errors}
    found = trace_facts(loaded.model, chosen, kinds, out=out, shard=shard, **ways, **options)
    unknown = [name for name, reason in found.skipped.items() if not reason.startswith("error")]
    several = not target and any(_is_long(loaded, chosen[name], options.get("prepend_bos")) for name in unknown)
    _show(found, out, several)


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
