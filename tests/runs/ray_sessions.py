"""Programs that start a Ray cluster, in a session of their own, so that nothing of it is left when they are killed."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


def with_token() -> dict[str, str]:
    """Variables of a cluster with a token that is written nowhere; Ray would leave one in the home folder."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}


@contextmanager
def ray_folder() -> Iterator[Path]:
    """For Ray's sockets and logs: its path must be short."""
    folder = tempfile.mkdtemp(prefix="ray")
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def session(command: list[str], variables: Mapping[str, str]) -> "Iterator[subprocess.Popen[str]]":
    """A program that leads a session, which all that it starts belong to, and which is killed at the end."""
    path = os.pathsep.join(filter(None, [variables.get("PYTHONPATH", str(ROOT)), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables, "PYTHONPATH": path}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            kill_session(process.pid)


def members(leader: int) -> list[int]:
    """The living processes of a session."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, _, its = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:  # it has ended
                continue
            if int(its) == leader and state not in "ZX":
                found.append(int(entry.name))
    return found


def kill_session(leader: int, patience: float = 30.0) -> None:
    """Kill all processes of a session with SIGKILL. Fails if one is still there after `patience` seconds."""
    end = time.monotonic() + patience
    while left := members(leader):
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > end:
            raise AssertionError(f"processes {left} outlive SIGKILL")
        time.sleep(0.05)


HAS_SESSIONS = sys.platform == "linux"
