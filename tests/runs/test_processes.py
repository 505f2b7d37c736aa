"""Real processes: killed at random moments, several at once, and two that make the folder at the same moment."""

import json
import random
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from lens_rome.runs import Run
from tests.runs.support import PROCESSES, do, lines, loaded, open_run, open_together, work

IDS = [f"case {number}" for number in range(200)]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs forkserver and SIGKILL")


def started(folder: Path, rank: int = 0, world: int = 1, pause: float = 0.0) -> BaseProcess:
    process = PROCESSES.Process(target=work, args=(folder, IDS, rank, world, pause))
    process.start()
    return process


def assert_ends_well(*processes: BaseProcess) -> None:
    for process in processes:
        process.join(timeout=60)
        assert process.exitcode == 0


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = open_run(tmp_path_factory.mktemp("uninterrupted"), IDS)
    do(run)
    return run


def test_a_run_killed_three_times_ends_as_one_that_never_was(tmp_path: Path, uninterrupted: Run) -> None:
    moments = random.Random(0)
    for attempt in range(1, 4):
        process = started(tmp_path, pause=0.02)  # 200 rows take 4 s, so it is killed long before its end
        while not (tmp_path / f"part-0000-{attempt:04d}.jsonl").exists():
            assert process.is_alive()
            time.sleep(0.005)
        time.sleep(moments.uniform(0.0, 0.3))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not open_run(tmp_path, IDS).finished
    assert_ends_well(started(tmp_path))
    run = open_run(tmp_path, IDS)
    assert run.rows() == uninterrupted.rows() and run.finished
    assert sorted(json.loads(line)["id"] for line in lines(tmp_path)) == sorted(IDS)  # each exactly once
    assert len(list(tmp_path.glob("part-*"))) == 4


@pytest.mark.parametrize("world", [1, 2, 3])
def test_any_number_of_workers_gives_the_same_union(tmp_path: Path, world: int, uninterrupted: Run) -> None:
    assert_ends_well(*[started(tmp_path, rank, world) for rank in range(world)])
    run = Run.read(tmp_path, "trace")
    assert run.finished and run.rows() == uninterrupted.rows()
    assert len(lines(tmp_path)) == len(IDS) and len(list(tmp_path.glob("part-*"))) == world


def test_three_killed_workers_are_finished_by_two(tmp_path: Path, uninterrupted: Run) -> None:
    processes = [started(tmp_path, rank, 3, pause=0.02) for rank in range(3)]
    while not (tmp_path / "manifest.json").exists() or len(open_run(tmp_path, IDS).done) < 12:
        time.sleep(0.005)
    for process in processes:
        process.kill()
        process.join()
    done = open_run(tmp_path, IDS).done
    assert 12 <= len(done) < len(IDS)
    assert_ends_well(*[started(tmp_path, rank, 2) for rank in range(2)])
    assert open_run(tmp_path, IDS).rows() == uninterrupted.rows()
    assert len(lines(tmp_path)) == len(IDS)


@pytest.mark.parametrize("same", [True, False], ids=["same settings", "other settings"])
def test_two_processes_may_make_the_folder_at_the_same_moment(tmp_path: Path, same: bool) -> None:
    folders = [tmp_path / f"run {number}" for number in range(40)]
    start, answers = PROCESSES.Barrier(2), PROCESSES.Queue()
    processes = [
        PROCESSES.Process(target=open_together, args=(folders, 1 if same else samples, start, answers))
        for samples in (1, 2)
    ]
    for process in processes:
        process.start()
    refused = [name for _ in processes for name in answers.get(timeout=60)]
    assert_ends_well(*processes)
    # The one that comes second is refused in each folder if it wants something else, and never otherwise.
    assert sorted(refused) == ([] if same else sorted(folder.name for folder in folders))
    for folder in folders:
        assert [path.name for path in folder.iterdir()] == ["manifest.json"]
        manifest = Run.read(folder, "trace").manifest
        assert manifest.settings == manifest.created_by


def test_the_layer_needs_no_library_of_models() -> None:
    answers = PROCESSES.Queue()
    process = PROCESSES.Process(target=loaded, args=(answers,))
    process.start()
    modules = set(answers.get(timeout=60))
    assert_ends_well(process)
    assert "lens_rome.runs.execute" in modules and not modules & {
        "transformer_lens",
        "transformers",
        "lens_rome.surface",
    }
