"""Evaluations on the atlas in processes that are killed. Run as a script, so that no process is forked from the tests'.

python -m tests.evaluation.lives disturb FOLDER --records 24 --kills 2   # FOLDER/alone, and FOLDER/run to its end
python -m tests.evaluation.lives disturb FOLDER --records 24 --kills 2 --unfinished
python -m tests.evaluation.lives work FOLDER --records 24                # one worker: a share
"""

import argparse
import multiprocessing
import os
import random
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from zlib import crc32

import torch

import lens_rome as lr
from lens_rome._typing import Model
from lens_rome.atlas import World
from lens_rome.atlas.bundled import load_atlas_model
from lens_rome.editing import Edit, LowRankDelta
from lens_rome.facts import EditRequest, EvalRecord
from lens_rome.surface import as_surface

CHUNK = 2
KILLED = -signal.SIGKILL


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


def work(model: Any, records: Sequence[EvalRecord], folder: Path, shard: str | None = None) -> None:
    """A worker's share."""
    warnings.simplefilter("ignore")
    lr.evaluate(model, records, Random(), out=folder, chunk_size=CHUNK, before=True, shard=shard)


def written(folder: Path) -> int:
    """Bytes of all parts."""
    return sum(path.stat().st_size for path in folder.glob("part-*"))


def disturb(model: Any, records: Sequence[EvalRecord], folder: Path, kills: int, finish: bool) -> int:
    """Start one to three workers, kill them at a random moment after they have written something, and again; at last
    let some finish. Returns how many were killed.
    """
    forks, chance, killed = multiprocessing.get_context("fork"), random.Random(0), 0

    def started() -> list[BaseProcess]:
        world = chance.randint(1, 3)
        shards = [f"{rank}/{world}" for rank in range(1, world + 1)]
        workers: list[BaseProcess] = [forks.Process(target=work, args=(model, records, folder, s)) for s in shards]
        for worker in workers:
            worker.start()
        return workers

    for _ in range(kills):
        before, workers = written(folder), started()
        while written(folder) == before and any(worker.is_alive() for worker in workers):
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.1))
        for worker in workers:
            worker.kill()
            worker.join()
        killed += any(worker.exitcode == KILLED for worker in workers)
    if finish:
        for worker in started():
            worker.join()
            assert worker.exitcode == 0
    return killed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("disturb", "work"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--records", type=int)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--unfinished", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)  # No threads, or a fork could wait for one that it has not got.
    model = load_atlas_model(None, torch.float64, "cpu")
    records = World().records[: options.records]
    if options.task == "work":
        return work(model, records, options.folder / "run")
    killed = disturb(model, records, options.folder / "run", options.kills, not options.unfinished)
    os.environ["PAUSE"] = "0"
    work(model, records, options.folder / "alone")
    sys.stdout.write(f"{killed}\n")
    return None


if __name__ == "__main__":
    main()
