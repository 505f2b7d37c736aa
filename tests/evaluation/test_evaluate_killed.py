"""Evaluations whose workers are killed end as ones that never were."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lens_rome.evaluation import load_run
from lens_rome.runs import Run
from tests.evaluation.run_support import assert_same, rows_of
from tests.runs.ray_sessions import HAS_SESSIONS

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")


def lives(*arguments: object, launcher: tuple[str, ...] = (), pause: float = 0.0) -> str:
    """The last line that the script `tests.evaluation.lives` says."""
    command = [sys.executable, *launcher, "-m", "tests.evaluation.lives", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PAUSE": str(pause), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1800)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()[-1] if ended.stdout else ""  # Ray may have said something before


def assert_undisturbed(folder: Path, records: int) -> None:
    """Every id once, every value that of the run that nobody disturbed."""
    ids = [row["id"] for row in rows_of(folder / "run")]
    assert len(ids) == records == len(set(ids)) and Run.read(folder / "run", "evaluation").finished
    found, alone = load_run(folder / "run"), load_run(folder / "alone")
    assert found.case_ids == alone.case_ids and found.settings == alone.settings
    assert_same(found, alone, 1e-6)


def test_a_run_killed_twice_ends_as_one_that_never_was(tmp_path: Path) -> None:
    said = lives("disturb", tmp_path, "--records", 24, "--kills", 2, pause=0.2)
    assert said == "killed 2, on Ray 0, workers 0"
    assert_undisturbed(tmp_path, 24)
    assert len(list((tmp_path / "run").glob("part-*"))) >= 3


@pytest.mark.slow
@pytest.mark.skipif(not HAS_SESSIONS, reason="finds processes in /proc")
def test_a_run_on_ray_whose_worker_and_then_driver_is_killed_goes_on_without_it_and_ends_on_it(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs lens_rome[ray]")
    said = lives("disturb", tmp_path, "--records", 40, "--kills", 2, "--engines", "ray,shards", pause=0.2)
    assert said == "killed 2, on Ray 1, workers 1"
    assert_undisturbed(tmp_path, 40)
    assert len(list((tmp_path / "pids" / "3").iterdir())) >= 1, "the last life was on Ray"


@pytest.mark.slow
@pytest.mark.skipif(not HAS_SESSIONS, reason="finds processes in /proc")
def test_a_run_of_500_records_killed_ten_times_on_both_engines_and_ended_by_torchrun(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs lens_rome[ray]")
    records = int(os.environ.get("LIVES_RECORDS", "500"))
    kills = ("--kills", 10, "--engines", "shards,ray", "--unfinished")
    said = lives("disturb", tmp_path, "--records", records, *kills, pause=0.05)
    assert said == "killed 10, on Ray 5, workers 1"
    assert not Run.read(tmp_path / "run", "evaluation").finished
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    lives("work", tmp_path, "--records", records, launcher=torchrun)
    assert_undisturbed(tmp_path, records)
