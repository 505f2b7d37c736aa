"""`trace_facts` on a Ray cluster: the job as something that can be sent, with a recipe of the model and not a model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from lens_rome._typing import Model
from lens_rome.facts import Fact
from lens_rome.runs import execute_on_ray
from lens_rome.runs.chunk import Compute
from lens_rome.tracing.facts_job import FactsJob, check_ways
from lens_rome.tracing.options import SharedOptions, named_facts
from lens_rome.tracing.trace_set import TraceSet


@dataclass(frozen=True)
class TraceTask:
    """What `trace_facts` is asked for, without the model. Picklable if its parts are; called in each worker."""

    load: Callable[[], Model]
    """Makes the model, such as `functools.partial(load_model, "gpt2-xl", device="cuda")`; no lambda is needed."""
    facts: Sequence[Fact] | Mapping[str, Fact] | Mapping[int, Fact]
    kinds: Sequence[str] = ("resid", "mlp", "attn")
    known: bool = True
    target: bool = False
    against: str | Mapping[str, str] | Mapping[int, str] | None = None
    options: SharedOptions = field(default_factory=SharedOptions)

    @torch.no_grad()
    def job(self, model: Model) -> FactsJob:
        """The work on that model.

        Raises:
            TraceError: as `trace_facts`.
        """
        facts = named_facts(self.facts)
        return FactsJob.of(
            model,
            facts,
            self.kinds,
            known=self.known,
            target=self.target,
            against=self.against,
            options=self.options,
        )

    def __call__(self) -> Compute:
        """Load the model; the function that gives rows."""
        return self.job(self.load()).rows


def trace_facts_on_ray(
    task: TraceTask,
    out: str | Path,
    *,
    model: Model | None = None,
    chunk_size: int = 16,
    workers: int | None = None,
    gpus_each: float | None = None,
    cpus_each: float | None = None,
    address: str | None = None,
    retry_errors: bool = False,
    progress: bool = True,
) -> TraceSet:
    """`trace_facts` into the folder `out`, by workers on Ray that each load the model; the same rows but for rounding.

    A run begun here may be continued by `trace_facts(..., out=out)` with the same arguments, and the other way round.

    Args:
        task: what is traced, and how the workers get the model.
        model: the same model in this process, where it is loaded already: the run's settings name its weights and the
            noise they give. None to load it by `task.load`.
        workers: and all that follows, as of `lens_rome.runs.execute_on_ray`.

    Raises:
        TraceError: as `trace_facts`.  RunError: as `trace_facts` and `execute_on_ray`.
    """
    check_ways(task.options, target=task.target, chunk_size=chunk_size, shard=None, out=out)
    job = task.job(task.load() if model is None else model)
    execute_on_ray(
        job.open(out, chunk_size),
        task,
        chunk_size=chunk_size,
        workers=workers,
        gpus_each=gpus_each,
        cpus_each=cpus_each,
        address=address,
        retry_errors=retry_errors,
        progress=progress,
    )
    return job.found(out)
