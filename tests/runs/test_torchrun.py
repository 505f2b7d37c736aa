"""Processes that torchrun starts divide a run among them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs.support import IDS, open_run, row_of

_PROGRAM = """
import os, sys
import tests.runs.bare
from pathlib import Path
from lens_rome.runs import Worker
from tests.runs.support import do, open_run
worker = Worker.from_environment(os.environ)
do(open_run(Path(sys.argv[1])), rank=worker.rank, world=worker.world)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="torchrun's rendezvous needs more than Windows's torch has")
def test_two_processes_of_torchrun_fill_one_folder(tmp_path: Path) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python")
    command = [sys.executable, *launcher, sys.executable, "-c", _PROGRAM, str(tmp_path / "run")]
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    root = str(Path(__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    run = open_run(tmp_path / "run")
    assert run.rows() == {key: row_of(key) for key in IDS}
    assert [path.name[:9] for path in sorted(run.folder.glob("part-*"))] == ["part-0000", "part-0001"]
