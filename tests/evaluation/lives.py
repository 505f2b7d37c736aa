"""Evaluations on the atlas in processes that are killed. Run as a script, so that no process is forked from the tests'.

python -m tests.evaluation.lives disturb FOLDER --records 24 --kills 2   # FOLDER/alone, and FOLDER/run to its end
python -m tests.evaluation.lives disturb FOLDER --records 24 --kills 2 --engines shards,ray --unfinished
python -m tests.evaluation.lives work FOLDER --records 24                # one worker: a share
"""

import argparse
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from lens_rome.evaluation import Evaluation
from tests.evaluation.living import job_of, work, work_on_ray
from tests.runs.ray_sessions import kill_session, ray_folder, with_token

KILLED = -signal.SIGKILL


def written(folder: Path) -> int:
    """Bytes of all parts."""
    return sum(path.stat().st_size for path in folder.glob("part-*"))


class Lives:
    """One life of a run after the other: one to three workers, on the engines in turn."""

    def __init__(self, job: Evaluation, folder: Path, engines: Sequence[str]) -> None:
        self.job, self.run, self.pids, self.engines = job, folder / "run", folder / "pids", engines
        self.killed, self.killed_on_ray, self.killed_workers = 0, 0, 0
        self._chance, self._number = random.Random(0), 0

    def disturbed(self) -> None:
        """Start workers and kill them at a random moment after they have written something. Before the first driver on
        Ray is killed, one of its workers is, and the driver starts it again.
        """
        before = written(self.run)
        workers, on_ray = self._begin()
        self._wait(lambda: written(self.run) > before, workers)
        if on_ray and not self.killed_workers:
            self._kill_a_worker(workers)
        time.sleep(self._chance.uniform(0, 0.1))
        for worker in workers:
            worker.kill()
            worker.join()
            if on_ray:
                kill_session(worker.pid or 0)
        died = any(worker.exitcode == KILLED for worker in workers)
        self.killed, self.killed_on_ray = self.killed + died, self.killed_on_ray + (died and on_ray)

    def finished(self) -> None:
        """Start workers and wait for them."""
        for worker in self._begin()[0]:
            worker.join()
            assert worker.exitcode == 0

    def _begin(self) -> tuple[list[BaseProcess], bool]:
        world, engine = self._chance.randint(1, 3), self.engines[self._number % len(self.engines)]
        self._number += 1
        shares: list[tuple[Callable[..., None], tuple[object, ...]]]
        if engine == "ray":
            (pids := self.pids / str(self._number)).mkdir(parents=True)
            shares = [(work_on_ray, (world, pids))]
        else:
            shares = [(work, (f"{rank}/{world}",)) for rank in range(1, world + 1)]
        forks = multiprocessing.get_context("fork")
        workers: list[BaseProcess] = []
        for share, options in shares:
            workers.append(forks.Process(target=share, args=(self.job, self.run, *options)))
            workers[-1].start()
        return workers, engine == "ray"

    def _kill_a_worker(self, drivers: Sequence[BaseProcess]) -> None:
        pids = self.pids / str(self._number)
        there = [int(path.name) for path in pids.iterdir()]
        os.kill(there[0], signal.SIGKILL)
        self._wait(lambda: len(list(pids.iterdir())) > len(there), drivers)
        before = written(self.run)
        self._wait(lambda: written(self.run) > before, drivers)
        self.killed_workers += drivers[0].is_alive()

    @staticmethod
    def _wait(reached: Callable[[], bool], workers: Sequence[BaseProcess]) -> None:
        while not reached() and any(worker.is_alive() for worker in workers):
            time.sleep(0.002)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("disturb", "work"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--records", type=int)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--engines", default="shards")
    parser.add_argument("--unfinished", action="store_true")
    options = parser.parse_args()
    job = job_of(options.records)
    if options.task == "work":
        return work(job, options.folder / "run")
    lives = Lives(job, options.folder, options.engines.split(","))
    with ray_folder() as short:
        os.environ.update(with_token() | {"RAY_TMPDIR": str(short)})
        for _ in range(options.kills):
            lives.disturbed()
        if not options.unfinished:
            lives.finished()
    os.environ["PAUSE"] = "0"
    work(job, options.folder / "alone")
    sys.stdout.write(f"killed {lives.killed}, on Ray {lives.killed_on_ray}, workers {lives.killed_workers}\n")
    return None


if __name__ == "__main__":
    main()
