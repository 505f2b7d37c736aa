"""A run over made-up ids, and what its child processes do. The name of an id decides its row."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any
from zlib import crc32

from lens_rome.errors import RunError
from lens_rome.runs import Run, Worker, execute

IDS = [f"case {number}" for number in range(30)]
SETTINGS = {"samples": 10, "noise": {"kind": "gaussian", "scale": 3.0}, "contexts": ["{}", "So. {}"]}

Compute = Callable[[list[str]], Iterable[dict[str, Any]]]

PROCESSES = get_context("forkserver")
"""Fresh processes that import the layer only once for all tests."""
PROCESSES.set_forkserver_preload(["tests.runs.bare", "tests.runs.support"])


def open_run(folder: Path, ids: list[str] = IDS) -> Run:
    return Run.open(folder, "trace", SETTINGS, ids=ids)


def row_of(key: str) -> dict[str, Any]:
    return {"id": key, "score": crc32(key.encode()) / 2**32, "words": key.split()}


def compute(ids: list[str]) -> Iterator[dict[str, Any]]:
    yield from map(row_of, ids)


def failing_for(*bad: str) -> Compute:
    """A function that gives rows until it meets one of the `bad` ids, where it raises."""

    def rows(ids: list[str]) -> Iterator[dict[str, Any]]:
        for key in ids:
            if key in bad:
                raise LookupError(f"no subject in {key}")
            yield row_of(key)

    return rows


def do(run: Run, function: Compute = compute, *, rank: int = 0, world: int = 1, size: int = 4, **more: Any) -> None:
    execute(run, function, chunk_size=size, worker=Worker(rank, world), progress=False, **more)


def lines(folder: Path) -> list[bytes]:
    """All whole lines of all parts."""
    return [
        line
        for path in sorted(folder.glob("part-*"))
        for line in path.read_bytes().splitlines(True)
        if line[-1:] == b"\n"
    ]


def work(folder: Path, ids: list[str], rank: int, world: int, pause: float) -> None:
    """A whole worker, as a child process runs it; `pause` seconds a row."""

    def slow(chunk: list[str]) -> Iterator[dict[str, Any]]:
        for key in chunk:
            time.sleep(pause)
            yield row_of(key)

    do(open_run(folder, ids), slow, rank=rank, world=world)


def loaded(answers: Any) -> None:
    """Put the names of the modules that a worker has loaded."""
    answers.put(sorted(sys.modules))


def open_together(folders: list[Path], samples: int, start: Barrier, answers: Any) -> None:
    """Open each folder at the same moment as the other process; put which of them were refused."""
    refused = []
    for folder in folders:
        start.wait(timeout=60)
        try:
            run = Run.open(folder, "trace", {"samples": samples}, ids=IDS, created_by={"samples": samples})
            assert run.manifest.settings["samples"] == samples
        except RunError:
            refused.append(folder.name)
    answers.put(refused)
