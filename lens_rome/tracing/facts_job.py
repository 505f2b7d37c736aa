"""The traces of many facts as a job: its settings, and the rows of some of its facts."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any, TypeVar

import torch

from lens_rome._installed import versions
from lens_rome._typing import Model
from lens_rome.errors import LensRomeError, TraceError
from lens_rome.facts import Fact
from lens_rome.runs import Run
from lens_rome.surface.digest import model_digest
from lens_rome.tracing.options import SharedOptions, TraceOptions, named_answers
from lens_rome.tracing.places import is_whole
from lens_rome.tracing.plan import Batch, Question, batch_key
from lens_rome.tracing.result import TraceResult
from lens_rome.tracing.rows import to_row
from lens_rome.tracing.trace import Tracer
from lens_rome.tracing.trace_set import RUN_KIND, TraceSet

T = TypeVar("T")
Outcome = Mapping[str, TraceResult] | str
"""The traces of a fact by kind, or why there are none."""


@dataclass(frozen=True, eq=False)
class FactsJob:
    """What is to be done, and how one chunk of it is."""

    tracer: Tracer
    facts: Mapping[str, Fact]
    known: bool
    target: bool
    against: Mapping[str, str]
    """The second answer of each fact by id, where they have their own; empty where they have not."""

    @classmethod
    def of(
        cls,
        model: Model,
        facts: Mapping[str, Fact],
        kinds: Sequence[str],
        *,
        known: bool,
        target: bool,
        against: str | Mapping[str, str] | Mapping[int, str] | None,
        options: SharedOptions,
    ) -> "FactsJob":
        """The job of `trace_facts` with these arguments.

        Raises:
            TraceError: options that do not fit.
        """
        others = named_answers(against, facts) if isinstance(against, Mapping) else {}
        second = against if against is None or isinstance(against, str) else next(iter(others.values()))
        every = TraceOptions(**options, against=second)
        tracer = Tracer.make(model, kinds, every, [fact.subject for fact in facts.values()])
        return cls(tracer, facts, known, target, others)

    def open(self, out: str | Path, chunk_size: int) -> Run:
        """The run of this job in the folder `out`.

        Raises:
            RunError: as `Run.open`.
        """
        settings = self.settings(chunk_size)
        return Run.open(out, RUN_KIND, settings, ids=self.ordered(), created_by=versions(), what="facts")

    def found(self, out: str | Path) -> TraceSet:
        """What is in the folder of its run so far, in the order of the facts."""
        there = TraceSet.load(out)
        return TraceSet(in_order(there.traces, self.facts), in_order(there.skipped, self.facts))

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
        # Windows and layers stand there as they were resolved; batches of another size give the same but for rounding.
        left = ("memory", "window", "layers")
        options = {name: _plain(value) for name, value in tracer.options.items() if name not in left}
        if isinstance(options["positions"], (str, int)):
            options["positions"] = [options["positions"]]
        if self.against:
            options["against"] = "of each fact, sha256 " + _sha256(list(self.against.items()))
        return {
            "model": tracer.surface.model_name,
            "weights": model_digest(tracer.surface),
            "surface": tracer.surface.name,
            "hooks": list(tracer.notes),
            "facts": _sha256([[name, str(fact), fact.template] for name, fact in self.facts.items()]),
            "kinds": [plan.kind for plan in tracer.plans],
            "windows": [plan.window for plan in tracer.plans],
            "layers": list(tracer.plans[0].windows),
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
            question = self._pose(name)
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
                for (name, _), traces in zip(batch, results, strict=True):
                    yield name, {kind: self._named(name, result) for kind, result in traces.items()}
                batch = list(islice(same, size))

    def _named(self, name: str, result: TraceResult) -> TraceResult:
        """The result with the second answer of this fact in its settings, where facts have their own."""
        if not self.against:
            return result
        return replace(result, settings=replace(result.settings, against=self.against[name], against_each=True))

    def _pose(self, name: str) -> Question | str:
        """The question of a fact, or why it is not asked."""
        fact = self.facts[name]
        answer = fact.target if self.target else None
        question = self.tracer.pose(fact, answer, self.against.get(name))
        if not self.known:
            return question
        if self.target:
            return question if self._recites(question) else f"the model does not continue with {fact.target!r}"
        says = self._says(question)
        return question if says == fact.target else f"the model says {says!r}, not {fact.target!r}"

    def _says(self, question: Question) -> str:
        """The model's top token; run for itself where the question is about an answer that was given."""
        if self.tracer.options.get("answer") is None:
            return question.answer
        surface = self.tracer.surface
        logits = surface.run(torch.tensor([question.prompt.tokens], device=surface.device))[0, -1]
        return str(surface.tokenizer.decode([int(logits.argmax())])).strip()

    def _recites(self, question: Question) -> bool:
        """Whether each token of the answer is the model's top token in turn."""
        surface = self.tracer.surface
        tokens = torch.tensor([[*question.prompt.tokens, *question.ids[:-1]]], device=surface.device)
        logits = surface.run(tokens)[0, len(question.prompt) - 1 :]
        return logits.argmax(-1).tolist() == list(question.ids)

    def _at_once(self, question: Question) -> int:
        """Prompts of one batch whose corrupted runs (residuals, keys, values, kept sites) fit into the memory."""
        surface = self.tracer.surface
        tokens = (len(question.prompt) + len(question.ids)) * question.samples
        kept = 3 + len(self.tracer.plans)
        bytes_a_prompt = tokens * surface.n_layers * surface.d_model * kept * surface.dtype.itemsize
        return max(1, int(self.tracer.ways.memory / bytes_a_prompt))


def check_ways(
    options: SharedOptions, *, target: bool, chunk_size: object, shard: str | None, out: str | Path | None
) -> None:
    """`TraceError` for arguments of `trace_facts` that do not go together."""
    if target and options.get("answer") is not None:
        raise TraceError("target=True traces each fact's own target; leave out answer=.")
    if target and options.get("original"):
        raise TraceError(
            "original=True follows the released code, which always traces the model's top token; leave out target=."
        )
    if not is_whole(chunk_size) or chunk_size < 1:
        raise TraceError(f"chunk_size must be a whole number from 1 up, got {chunk_size!r}.")
    if shard is not None and out is None:
        raise TraceError(f"shard={shard!r} is a share of a run in a folder; pass out=, the same for all shares.")


def in_order(found: Mapping[str, T], order: Iterable[str]) -> dict[str, T]:
    """What was found, in that order."""
    return {name: found[name] for name in order if name in found}


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _plain(value: object) -> object:
    """An option for a manifest."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if is_whole(value):
        return int(value)
    if isinstance(value, (list, tuple, set, range)):
        return [_plain(item) for item in value]
    return repr(value)
