"""Real actors of a local Ray cluster: the rows of a plain worker, through kills, poison and changes of engine."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lens_rome.runs import execute_on_ray
from tests.runs.support import do, failing_for, lines, open_run, row_of
from tests.runs.support_ray import Toy

ray = pytest.importorskip("ray", reason="needs lens_rome[ray]")
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL"),
]

IDS = [f"case {number}" for number in range(60)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Two cores, and workers that import the layer alone, which saves them half of their start."""
    with pytest.MonkeyPatch.context() as patch:
        bare = str(Path(__file__).parent / "bare_site")
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [bare, os.environ.get("PYTHONPATH")])))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            "local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=80 * 2**20,
            log_to_driver=False,
            logging_level="ERROR",
        )
        yield
        ray.shutdown()


def kill_one(pids: Path, killed: list[int]) -> threading.Thread:
    """Kills the first worker that starts, when it has been at work for a moment."""

    def kill() -> None:
        while not (found := sorted(pids.iterdir())):
            time.sleep(0.01)
        time.sleep(0.2)
        killed.append(int(found[0].name))
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("poison", ["", pytest.param(IDS[41], marks=pytest.mark.slow)], ids=["killed", "poisoned too"])
def test_a_half_done_run_ends_as_an_undisturbed_one_although_workers_die(tmp_path: Path, poison: str) -> None:
    (pids := tmp_path / "pids").mkdir()
    undisturbed, run, killed = open_run(tmp_path / "undisturbed", IDS), open_run(tmp_path / "run", IDS), []
    do(undisturbed, failing_for(IDS[9], poison))
    do(run, failing_for(IDS[9]), rank=0, world=4)  # a plain worker was here before: a quarter of the chunks
    killer = kill_one(pids, killed)
    toy = Toy(pids, poison=poison, bad=IDS[9], pause=0.05)
    execute_on_ray(run, toy, chunk_size=4, workers=2, progress=False)
    killer.join(timeout=60)
    assert run.rows() == undisturbed.rows() and list(run.rows())[:9] == IDS[:9]
    assert run.errors[IDS[9]] == f"LookupError: no subject in {IDS[9]}"
    assert not poison or run.errors[poison].startswith("WorkerDied")
    assert len(lines(run.folder)) == 60 and len(killed) == 1, "each id once"
    assert len(list(pids.iterdir())) >= (4 if poison else 2), "started again after deaths"
    assert ray.is_initialized(), "the caller's cluster is left alone"
    do(run, retry_errors=True)  # and a plain worker goes on
    assert run.rows() == {key: row_of(key) for key in IDS} and run.errors == {}


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_rows_of_a_plain_one(tmp_path: Path, workers: int) -> None:
    (pids := tmp_path / "pids").mkdir()
    run = open_run(tmp_path / "run", IDS)
    execute_on_ray(run, Toy(pids), chunk_size=4, workers=workers, progress=False)
    assert run.rows() == {key: row_of(key) for key in IDS} and 1 <= len(list(pids.iterdir())) <= workers
