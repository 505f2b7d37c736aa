"""Who does the work of a run: this process's share of it, or workers on a Ray cluster. Options and their meaning."""

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from lens_rome.cli.reporting import CommandError
from lens_rome.runs import Run, Worker, execute, execute_on_ray
from lens_rome.runs.chunk import Compute
from lens_rome.runs.ray_engine import Task


class Engine(StrEnum):
    """Who computes the rows of a run."""

    local = "local"
    ray = "ray"


EngineName = Annotated[
    Engine, typer.Option("--engine", help="`local` (this process, or its share), or `ray` (workers on a Ray cluster).")
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="With --engine ray: how many; left out: one a GPU, else one a machine."),
]
RayAddress = Annotated[
    str | None,
    typer.Option("--ray-address", help="With --engine ray: the cluster, e.g. `auto`; left out: one of this machine."),
]
Shard = Annotated[
    str | None,
    typer.Option("--shard", help="This process's share, such as 2/8; left out: as torchrun or SLURM set it."),
]
RetryErrors = Annotated[bool, typer.Option("--retry-errors", help="Try again what failed in an earlier start.")]


@dataclass(frozen=True)
class Engines:
    """The options of a command that is done by several workers."""

    engine: Engine = Engine.local
    workers: int | None = None
    ray_address: str | None = None
    shard: str | None = None
    retry_errors: bool = False

    def check(self) -> None:
        """Look for contradictions before a model is loaded.

        Raises:
            CommandError: options of the engine that was not asked for.
        """
        if self.engine is Engine.local:
            given = {"--workers": self.workers, "--ray-address": self.ray_address}
            wrong = [option for option, value in given.items() if value is not None]
            if wrong:
                raise CommandError(f"{' and '.join(wrong)} need --engine ray. Other engines: --shard, torchrun, SLURM.")
            return
        if self.shard is not None:
            raise CommandError("--shard is for plain workers; with --engine ray the cluster shares the work out.")
        worker = Worker.from_environment(os.environ)
        if worker.world > 1:
            raise CommandError(
                f"this process is worker {worker.rank + 1} of {worker.world} of torchrun or SLURM; with --engine ray "
                "one process hands out all the work. Start it once, without them, or leave out --engine."
            )

    def run(
        self,
        run: Run,
        compute: Compute,
        task: Task,
        *,
        chunk_size: int,
        device: str,
        what: str = "facts",
    ) -> None:
        """Do what the run lacks: `compute` in this process, or `task` in each worker of the cluster.

        Raises:
            RunError: as `execute` and `execute_on_ray`.
        """
        if self.engine is Engine.local:
            worker = Worker.from_environment(os.environ, self.shard)
            execute(run, compute, chunk_size=chunk_size, worker=worker, retry_errors=self.retry_errors, what=what)
            return
        execute_on_ray(
            run,
            task,
            chunk_size=chunk_size,
            workers=self.workers,
            gpus_each=0.0 if device == "cpu" else None,  # a GPU is not kept from others for a model on the CPU
            address=self.ray_address,
            retry_errors=self.retry_errors,
            what=what,
        )
