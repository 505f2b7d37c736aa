"""Evaluations whose workers are killed end as ones that never were."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lens_rome.evaluation import load_run
from lens_rome.runs import Run
from tests.evaluation.run_support import assert_same, rows_of

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")


def lives(*arguments: object, launcher: tuple[str, ...] = (), pause: float = 0.0) -> str:
    """What the script `tests.evaluation.lives` says."""
    command = [sys.executable, *launcher, "-m", "tests.evaluation.lives", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PAUSE": str(pause), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def assert_undisturbed(folder: Path, records: int) -> None:
    """Every id once, every value that of the run that nobody disturbed."""
    ids = [row["id"] for row in rows_of(folder / "run")]
    assert len(ids) == records == len(set(ids)) and Run.read(folder / "run", "evaluation").finished
    found, alone = load_run(folder / "run"), load_run(folder / "alone")
    assert found.case_ids == alone.case_ids and found.settings == alone.settings
    assert_same(found, alone, 1e-6)


def test_a_run_killed_twice_ends_as_one_that_never_was(tmp_path: Path) -> None:
    assert lives("disturb", tmp_path, "--records", 24, "--kills", 2, pause=0.2) == "2\n"
    assert_undisturbed(tmp_path, 24)
    assert len(list((tmp_path / "run").glob("part-*"))) >= 3


@pytest.mark.slow
def test_a_run_of_500_records_killed_ten_times_and_ended_by_torchrun(tmp_path: Path) -> None:
    said = lives("disturb", tmp_path, "--records", 500, "--kills", 10, "--unfinished", pause=0.05)
    assert said == "10\n"
    assert not Run.read(tmp_path / "run", "evaluation").finished
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    lives("work", tmp_path, "--records", 500, launcher=torchrun)
    assert_undisturbed(tmp_path, 500)
