"""`trace_facts`: the traces of many facts, in batches, into a folder that survives an interruption."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Unpack

import torch
from rich.console import Console
from rich.progress import Progress

from lens_rome._typing import Model
from lens_rome.errors import LensRomeError, TraceError
from lens_rome.facts import Fact
from lens_rome.runs import Run, Worker, execute
from lens_rome.surface.digest import model_digest
from lens_rome.tracing.plan import Batch, Question, batch_key
from lens_rome.tracing.result import TraceResult
from lens_rome.tracing.rows import to_row
from lens_rome.tracing.trace import TraceOptions, Tracer
from lens_rome.tracing.trace_set import RUN_KIND, TraceSet

Outcome = Mapping[str, TraceResult] | str
"""The traces of a fact by kind, or why there are none."""


@torch.no_grad()
def trace_facts(
    model: Model,
    facts: Sequence[Fact] | Mapping[str, Fact],
    kinds: Sequence[str] = ("resid", "mlp", "attn"),
    *,
    out: str | Path | None = None,
    known: bool = True,
    target: bool = False,
    chunk_size: int = 16,
    shard: str | None = None,
    retry_errors: bool = False,
    progress: bool = True,
    **options: Unpack[TraceOptions],
) -> TraceSet:
    """Trace many facts. Each equals its own `trace` but for rounding; prompts of equal shape run together.

    Noise given in deviations takes those of all the facts' subjects together, as the released code does.

    Args:
        facts: their ids are the keys of a mapping, or their places in a sequence.
        kinds: as of `trace`; all share one clean and one corrupted run.
        out: a folder that every finished chunk is written to at once. Called again with the same arguments after an
            interruption, it continues; it can be divided over processes that write to one folder.
        known: leave out facts that the model does not know: its top token must equal the target, as in the paper
            (with `target`, each of the target's tokens must be the top token in turn).
        target: trace the fact's target with all its tokens instead of the model's top token.
        chunk_size: facts that are run and written together; what an interruption costs at most.
        shard: this process's share, such as `"2/8"`; None to take it from torchrun's or SLURM's environment.
        retry_errors: try facts again that failed in an earlier call.
        progress: show a progress bar.
        **options: those of `trace`; `window` is that of the kinds `mlp` and `attn`.

    Returns:
        All that is there so far, including what other processes have written.

    Raises:
        TraceError: no facts, or options that do not fit.
        RunError: `out` holds a run of another model, other facts or other settings; nothing is written then.
    """
    named = dict(facts) if isinstance(facts, Mapping) else {str(i): fact for i, fact in enumerate(facts)}
    if not named:
        raise TraceError("no facts to trace.")
    if target and options.get("answer") is not None:
        raise TraceError("target=True traces each fact's own target; leave out answer=.")
    tracer = Tracer.make(model, list(dict.fromkeys(kinds)), options, [fact.subject for fact in named.values()])
    job = _Job(tracer, named, known, target)
    ids = job.ordered()
    if out is None:
        return _in_memory(job, ids, chunk_size, progress)
    run = Run.open(out, RUN_KIND, job.settings(chunk_size), ids=ids, created_by=_versions())
    worker = Worker.from_environment(os.environ, shard)
    execute(run, job.rows, chunk_size=chunk_size, worker=worker, retry_errors=retry_errors, progress=progress)
    return TraceSet.load(out)


def _in_memory(job: "_Job", ids: Sequence[str], chunk_size: int, progress: bool) -> TraceSet:
    found: dict[str, Outcome] = {}
    with Progress(console=Console(stderr=True), disable=not progress, transient=True) as bar:
        task = bar.add_task("tracing", total=len(ids))
        for start in range(0, len(ids), chunk_size):
            for name, outcome in job.outcomes(ids[start : start + chunk_size]):
                found[name] = outcome
                bar.advance(task)
    ordered = {name: found[name] for name in job.facts if name in found}
    traces = {name: outcome for name, outcome in ordered.items() if not isinstance(outcome, str)}
    return TraceSet(traces, {name: outcome for name, outcome in ordered.items() if isinstance(outcome, str)})


def _versions() -> dict[str, str]:
    """Of the programs, for readers of the manifest; a checkout that was not installed has none."""
    found = {}
    for name in ("lens_rome", "torch", "transformer-lens"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@dataclass(frozen=True, eq=False)
class _Job:
    """What is to be done, and how one chunk of it is."""

    tracer: Tracer
    facts: Mapping[str, Fact]
    known: bool
    target: bool

    def ordered(self) -> list[str]:
        """Ids by the length of their prompts, so that prompts of one shape share a chunk; stable otherwise."""
        return sorted(self.facts, key=lambda name: self._shape(self.facts[name]))

    def _shape(self, fact: Fact) -> tuple[int, int]:
        surface = self.tracer.surface
        bos = self.tracer.options.get("prepend_bos")
        before, _, _ = fact.template.partition("{}")
        try:
            return len(surface.encode(fact.prompt, bos)), len(before)
        except LensRomeError:
            return 0, 0  # Tracing it will tell what is wrong.

    def settings(self, chunk_size: int) -> dict[str, Any]:
        """Everything the rows depend on."""
        tracer = self.tracer
        described = json.dumps([[name, str(fact), fact.template] for name, fact in self.facts.items()])
        options = {name: _plain(value) for name, value in tracer.options.items() if name != "memory"}
        return {
            "model": tracer.surface.model_name,
            "weights": model_digest(tracer.surface),
            "surface": tracer.surface.name,
            "hooks": list(tracer.notes),
            "facts": hashlib.sha256(described.encode()).hexdigest(),
            "kinds": [plan.kind for plan in tracer.plans],
            "windows": [plan.window for plan in tracer.plans],
            "options": {**options, "noise": tracer.asked},
            "noise_level": tracer.corruption.size,
            "known": self.known,
            "target": self.target,
            "chunk_size": chunk_size,
        }

    def rows(self, ids: list[str]) -> Iterator[dict[str, Any]]:
        """A row for each id, for `execute`."""
        for name, outcome in self.outcomes(ids):
            if isinstance(outcome, str):
                yield {"id": name, "skipped": outcome}
            else:
                yield {"id": name, "traces": {kind: to_row(result) for kind, result in outcome.items()}}

    @torch.no_grad()
    def outcomes(self, ids: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
        """Trace some facts; those of one shape together, as many at once as memory allows."""
        posed: list[tuple[str, Question]] = []
        for name in ids:
            question = self._pose(self.facts[name])
            if isinstance(question, str):
                yield name, question
            else:
                posed.append((name, question))
        posed.sort(key=lambda pair: repr(batch_key(pair[1])))
        for _, alike in groupby(posed, key=lambda pair: repr(batch_key(pair[1]))):
            same = iter(alike)
            first = next(same)
            size = self._at_once(first[1])
            batch = [first, *islice(same, size - 1)]
            while batch:
                results = self.tracer.results(Batch(tuple(question for _, question in batch)))
                yield from zip((name for name, _ in batch), results, strict=True)
                batch = list(islice(same, size))

    def _pose(self, fact: Fact) -> Question | str:
        """The question of a fact, or why it is not asked."""
        answer = fact.target if self.target else None
        question = self.tracer.pose(fact, answer)
        if not self.known:
            return question
        if self.target:
            return question if self._recites(question) else f"the model does not continue with {fact.target!r}"
        if question.answer == fact.target:
            return question
        return f"the model says {question.answer!r}, not {fact.target!r}"

    def _recites(self, question: Question) -> bool:
        """Whether each token of the answer is the model's top token in turn."""
        surface = self.tracer.surface
        tokens = torch.tensor([[*question.prompt.tokens, *question.ids[:-1]]])
        logits = surface.run(tokens)[0, len(question.prompt) - 1 :]
        return logits.argmax(-1).tolist() == list(question.ids)

    def _at_once(self, question: Question) -> int:
        """Prompts of one batch whose corrupted runs (residuals, keys, values, kept sites) fit into the memory."""
        surface = self.tracer.surface
        tokens = (len(question.prompt) + len(question.ids)) * question.samples
        kept = 3 + len(self.tracer.plans)
        bytes_a_prompt = tokens * surface.n_layers * surface.d_model * kept * surface.dtype.itemsize
        return max(1, int(self.tracer.ways.memory / bytes_a_prompt))


def _plain(value: object) -> object:
    """An option for a manifest."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, (list, tuple, set, range)):
        return [_plain(item) for item in value]
    return repr(value)
