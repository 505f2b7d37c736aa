"""`lens-rome trace --facts` on Ray (played, and real) and under torchrun: the rows of one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import lens_rome.cli.trace_many as trace_many
from lens_rome.runs import ray_engine
from lens_rome.tracing import TraceSet
from tests.cli.conftest import MODEL, Run
from tests.runs.fake_ray import FakeRay

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")

NAMES = ("Eiffel Tower", "Steve Jobs", "Catalonia", "Danielle Darrieux", "Rome", "Paris")
FACTS = [
    {"id": f"{name} {n}", "subject": name, "template": "The {} is in the city" + " of" * n, "target": "E"}
    for name in NAMES
    for n in range(2)
]
OPTIONS = ("--model", MODEL, "--noise", "0.5", "--samples", "2", "--all", "--kinds", "resid", "--layers", "1,2")
OPTIONS += ("--positions", "last")


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """The command up to the name of the folder, which works in chunks of four."""
    monkeypatch.setattr(trace_many, "_CHUNK", 4)
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(FACTS), encoding="utf-8")
    return "trace", "--facts", str(path), *OPTIONS, "--out"


def assert_same(found: TraceSet, wanted: TraceSet) -> None:
    assert found.traces.keys() == wanted.traces.keys() and len(found) == len(FACTS)
    for name, result in wanted.of_kind("resid").items():
        torch.testing.assert_close(
            found.of_kind("resid")[name].scores, result.scores, rtol=0, atol=1e-6, equal_nan=True
        )


def test_ray_gives_the_rows_of_one_process_and_either_goes_on_with_the_others_run(
    run: Run, asked: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = FakeRay()
    monkeypatch.setattr(ray_engine, "import_module", lambda _: ray)
    assert run(*asked, "local").exit_code == 0
    result = run(*asked, "ray", "--engine", "ray", "--workers", "2", "--ray-address", "auto")
    assert result.exit_code == 0 and f"{len(FACTS)} facts traced, 0 left out, in ray" in result.stdout, result.output
    assert ray.made == 2 and ray.calls[0][0] == "auto" and ray.calls[1][0]["num_gpus"] == 0.0
    wanted = TraceSet.load("local")
    assert_same(TraceSet.load("ray"), wanted)
    for out, engine in (("local", ("--engine", "ray")), ("ray", ())):
        (part,) = Path(out).glob("part-*")
        part.write_bytes(b"".join(part.read_bytes().splitlines(True)[:6]))
        result = run(*asked, out, *engine)
        assert result.exit_code == 0 and len(list(Path(out).glob("part-*"))) == 2, result.output
        assert_same(TraceSet.load(out), wanted)


def test_without_ray_the_command_names_the_extra(
    run: Run, asked: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = run(*asked, "out", "--engine", "ray")
    assert result.exit_code == 1 and "pip install 'lens_rome[ray]'" in result.stderr


def test_ray_is_not_started_once_for_each_process_of_torchrun(
    run: Run, asked: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = run(*asked, "out", "--engine", "ray")
    assert result.exit_code == 1 and "worker 2 of 2 of torchrun or SLURM; with --engine ray one" in result.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a cluster of one's own needs Linux or macOS")
def test_a_real_cluster_of_two_workers_traces_the_facts(
    run: Run, asked: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="needs lens_rome[ray]")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert run(*asked, "local").exit_code == 0
    result = run(*asked, "ray", "--engine", "ray", "--workers", "2")
    assert result.exit_code == 0, result.output
    assert_same(TraceSet.load("ray"), TraceSet.load("local"))


@pytest.mark.slow
def test_two_processes_of_torchrun_share_the_facts(run: Run, asked: tuple[str, ...]) -> None:
    assert run(*asked, "local").exit_code == 0
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python")
    program = "import lens_rome.cli as cli, lens_rome.cli.trace_many as many; many._CHUNK = 4; cli.main()"
    command = (sys.executable, "-c", program, *asked, "shared")
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    environment = {name: value for name, value in environment.items() if name not in ("RANK", "WORLD_SIZE")}
    ended = subprocess.run([*launcher, *command], env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert sorted(path.name for path in Path("shared").glob("part-*")) == [
        "part-0000-0001.jsonl",
        "part-0001-0001.jsonl",
    ]
    assert_same(TraceSet.load("shared"), TraceSet.load("local"))
