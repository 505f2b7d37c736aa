"""A cluster that was started by `ray start`, reached by its address and token."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runs.ray_sessions import HAS_SESSIONS, ROOT, members, ray_folder, session, with_token
from tests.runs.support import IDS, open_run, row_of

pytest.importorskip("ray", reason="needs lens_rome[ray]")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not HAS_SESSIONS, reason="finds processes in /proc")]

_PROGRAM = """
import os, sys
import tests.runs.bare
from pathlib import Path
from lens_rome.errors import RunError
from lens_rome.runs import execute_on_ray
from tests.runs.support import open_run
from tests.runs.support_ray import Toy
address, folder = sys.argv[1], Path(sys.argv[2])
os.chdir(folder)  # not where the cluster was started
os.mkdir("pids")
try:
    execute_on_ray(open_run(Path("run")), Toy(Path("pids")), chunk_size=4, workers=2, address=address,
                   progress=False)
except RunError as error:
    sys.exit(str(error))
"""

Cluster = tuple[int, int, dict[str, str]]
"""Session, port, and variables of those who may connect."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    token = with_token()
    with ray_folder() as folder:
        paths = {"PYTHONPATH": f"{ROOT / 'tests' / 'runs' / 'bare_site'}:{ROOT}", "RAY_TMPDIR": str(folder)}
        ray = str(Path(sys.executable).parent / "ray")
        options = f"--block --port {port} --num-cpus 2 --include-dashboard false --object-store-memory 80000000"
        command = [ray, "start", "--head", *options.split()]
        with session(command, token | paths) as head:
            assert head.stdout is not None
            assert any("Ray runtime started" in line for line in head.stdout)
            yield head.pid, port, token | paths


def connected(address: str, folder: Path, variables: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    with session([sys.executable, "-c", _PROGRAM, address, str(folder)], variables) as process:
        said, failed = process.communicate(timeout=200)
    return subprocess.CompletedProcess([], process.returncode, said, failed)


@pytest.mark.parametrize("kind", ["explicit", "auto"])
def test_workers_are_those_of_the_cluster_at_the_address(tmp_path: Path, cluster: Cluster, kind: str) -> None:
    head, port, variables = cluster
    ended = connected("auto" if kind == "auto" else f"127.0.0.1:{port}", tmp_path, variables)
    assert ended.returncode == 0, ended.stderr
    assert open_run(tmp_path / "run").rows() == {key: row_of(key) for key in IDS}
    assert {path.read_text("utf-8") for path in (tmp_path / "pids").iterdir()} == {str(head)}
    assert members(head), "the cluster goes on"


def test_without_the_mode_the_error_says_what_the_cluster_may_want(tmp_path: Path, cluster: Cluster) -> None:
    _, port, variables = cluster
    ended = connected(f"127.0.0.1:{port}", tmp_path, variables | {"RAY_AUTH_MODE": "disabled"})
    assert ended.returncode == 1
    assert f"cannot connect to the Ray cluster at '127.0.0.1:{port}'" in ended.stderr
    assert "RAY_AUTH_MODE=token and the token" in ended.stderr
