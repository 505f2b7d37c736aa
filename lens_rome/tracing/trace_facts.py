"""`trace_facts`: the traces of many facts, in batches, into a folder that survives an interruption."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Unpack

import torch
from rich.console import Console
from rich.progress import Progress

from lens_rome._typing import Model
from lens_rome.facts import Fact
from lens_rome.runs import Worker, execute
from lens_rome.tracing.facts_job import FactsJob, Outcome, check_ways, in_order
from lens_rome.tracing.options import SharedOptions, named_facts
from lens_rome.tracing.trace_set import TraceSet


@torch.no_grad()
def trace_facts(
    model: Model,
    facts: Sequence[Fact] | Mapping[str, Fact] | Mapping[int, Fact],
    kinds: Sequence[str] = ("resid", "mlp", "attn"),
    *,
    out: str | Path | None = None,
    known: bool = True,
    target: bool = False,
    against: str | Mapping[str, str] | Mapping[int, str] | None = None,
    chunk_size: int = 16,
    shard: str | None = None,
    retry_errors: bool = False,
    progress: bool = True,
    **options: Unpack[SharedOptions],
) -> TraceSet:
    """Trace many facts. Each equals its own `trace` but for rounding; prompts of equal shape run together.

    Noise given in deviations takes those of all the facts' subjects together, as the released code does.

    Args:
        facts: their ids are the keys of a mapping (numbers become texts), or their places in a sequence.
        kinds: as of `trace`; all share one clean and one corrupted run.
        out: a folder that every finished chunk is written to at once. Called again with the same arguments after an
            interruption, it continues; it can be divided over processes that write to one folder.
        known: leave out facts that the model does not know: its top token must equal the target, as in the paper,
            whatever `answer` is traced (with `target`, each of the target's tokens must be the top token in turn).
        target: trace the fact's target with all its tokens instead of the model's top token.
        against: the second answer of a logit difference: a text for all facts, or a mapping from ids to texts.
        chunk_size: facts that are run and written together; what an interruption costs at most.
        shard: this process's share, such as `"2/8"`; None to take it from torchrun's or SLURM's environment.
        retry_errors: try facts again that failed in an earlier call.
        progress: show a progress bar.
        **options: those of `trace`; `window` is that of the kinds `mlp` and `attn`, and of any kind traced alone.

    Returns:
        All that is there so far, including what other processes have written; in the order of `facts`. A fact that
        cannot be traced is in `skipped` with its error.

    Raises:
        TraceError: no facts, or options that do not fit. In memory also the first fact's own error if all have one.
        RunError: `out` holds a run of another model, other facts or other settings; nothing is written then.
    """
    named = named_facts(facts)
    check_ways(options, target=target, chunk_size=chunk_size, shard=shard, out=out)
    job = FactsJob.of(model, named, kinds, known=known, target=target, against=against, options=options)
    if out is None:
        return _in_memory(job, chunk_size, progress)
    run, worker = job.open(out, chunk_size), Worker.from_environment(os.environ, shard)
    execute(run, job.rows, chunk_size=chunk_size, worker=worker, retry_errors=retry_errors, progress=progress)
    return job.found(out)


def _in_memory(job: FactsJob, chunk_size: int, progress: bool) -> TraceSet:
    ids = job.ordered()
    found: dict[str, Outcome] = {}
    errors: dict[str, Exception] = {}
    with Progress(console=Console(stderr=True), disable=not progress, transient=True) as bar:
        task = bar.add_task("tracing", total=len(ids))
        for start in range(0, len(ids), chunk_size):
            chunk = ids[start : start + chunk_size]
            with suppress(Exception):  # the fact to blame fails again alone, the others do not
                for name, outcome in job.outcomes(chunk):
                    found[name] = outcome
                    bar.advance(task)
            for name in [name for name in chunk if name not in found]:
                try:
                    found.update(job.outcomes([name]))
                except Exception as error:
                    errors[name], found[name] = error, f"error: {type(error).__name__}: {error}"
                bar.advance(task)
    if len(errors) == len(ids):
        raise errors[next(iter(job.facts))]
    ordered = in_order(found, job.facts)
    traces = {name: outcome for name, outcome in ordered.items() if not isinstance(outcome, str)}
    return TraceSet(traces, {name: outcome for name, outcome in ordered.items() if isinstance(outcome, str)})
