"""What a process that may be killed does: an evaluation on the atlas with a quick editor, its share or on Ray."""

import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import torch

import lens_rome as lr
from lens_rome._typing import Model
from lens_rome.atlas import World
from lens_rome.atlas.bundled import load_atlas_model
from lens_rome.editing import Edit, LowRankDelta
from lens_rome.evaluation import Asked, Evaluation
from lens_rome.evaluation.run_folder import WHAT, open_run
from lens_rome.facts import EditRequest
from lens_rome.runs import execute_on_ray
from lens_rome.runs.chunk import Compute
from lens_rome.surface import as_surface

CHUNK = 2


@dataclass(frozen=True)
class Random:
    """A rank-one change that the request's words decide; as quick as an edit can be."""

    size: float = 0.05

    def edit_each(self, model: Model, requests: Sequence[EditRequest], *, moments: Any = None) -> list[Edit]:  # noqa: ARG002
        time.sleep(float(os.environ.get("PAUSE", "0")))
        return [self._edit(model, request) for request in requests]

    def _edit(self, model: Any, request: EditRequest) -> Edit:
        surface = as_surface(model)
        chance = torch.Generator().manual_seed(crc32(str(request).encode()))
        d_in, d_out = surface.weight(2).shape
        left, right = (torch.randn(*shape, generator=chance, dtype=torch.float64) for shape in ((d_in, 1), (1, d_out)))
        return Edit.made_for(surface, {(2, "W_out"): LowRankDelta(self.size * left, right)}, {"editor": "random"})


def job_of(records: int) -> Evaluation:
    """The evaluation of the atlas's first records."""
    torch.set_num_threads(1)  # No threads, or a fork could wait for one that it has not got.
    model = load_atlas_model(None, torch.float64, "cpu")
    return Evaluation(model, World().records[:records], Random(), asked=Asked(before=True))


def work(job: Evaluation, folder: Path, shard: str | None = None) -> None:
    """A worker's share."""
    warnings.simplefilter("ignore")
    lr.evaluate(job.model, job.records, Random(), out=folder, chunk_size=CHUNK, before=True, shard=shard)


def work_on_ray(job: Evaluation, folder: Path, workers: int, pids: Path) -> None:
    """All of it, on a cluster in a session of its own, whose workers each leave a file named by their process."""
    os.setsid()
    task = Task(len(job.records), pids)
    run = open_run(folder, job, chunk_size=CHUNK)
    execute_on_ray(run, task, chunk_size=CHUNK, workers=workers, progress=False, what=WHAT)


@dataclass(frozen=True)
class Task:
    """What is sent to workers on Ray."""

    records: int
    pids: Path

    def __call__(self) -> Compute:
        """What a worker calls once."""
        warnings.simplefilter("ignore")
        job = job_of(self.records)
        (self.pids / str(os.getpid())).touch()
        return job.rows
