"""`lens-rome evaluate` on a cluster, by metric, by editing problem, and beside a run of the unedited model."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lens_rome.cli import engines
from lens_rome.cli.evaluate_task import EvaluateTask, problem_of
from lens_rome.cli.reporting import CommandError
from lens_rome.editing import FactForcing
from lens_rome.evaluation import load_run
from lens_rome.runs import ray_engine
from tests.cli.conftest import Run
from tests.cli.test_evaluate import EDITOR, ON
from tests.cli.test_evaluate import records as records
from tests.evaluation.run_support import assert_same
from tests.runs.fake_ray import FakeRay

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.editing.DisablingEditWarning")


def test_ray_gives_the_rows_of_one_process_and_either_goes_on_with_the_others_run(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = FakeRay()
    monkeypatch.setattr(ray_engine, "import_module", lambda _: ray)
    asked = ("evaluate", *ON, *EDITOR, "--chunk", "1", "--out")
    assert run(*asked, "local").exit_code == 0
    result = run(*asked, "ray", "--engine", "ray", "--workers", "2")
    assert result.exit_code == 0 and "3 of 3 records are done, in ray" in result.stdout, result.output
    assert_same(load_run("ray"), load_run("local"), 1e-6)
    (part,) = Path("local").glob("part-*")
    part.write_bytes(part.read_bytes().splitlines(True)[0])
    assert run(*asked, "local", "--engine", "ray").exit_code == 0
    assert_same(load_run("local"), load_run("ray"), 1e-6)


def test_a_run_of_the_unedited_model_stands_before(run: Run) -> None:
    assert run("evaluate", *ON[:4], "--editor", "none", "--out", "plain").exit_code == 0
    both = run("evaluate", *ON, *EDITOR)
    apart = run("evaluate", *ON, *EDITOR, "--unedited", "plain", "--out", "edited")
    assert apart.exit_code == 0, apart.output
    table = [line.split() for line in both.stdout.splitlines() if line.startswith(("unedited", "ROME"))]
    assert len(table) == 2
    assert table == [line.split() for line in apart.stdout.splitlines() if line.startswith(("unedited", "ROME"))]
    assert all(row.before is None for row in load_run("edited").scores)
    other = run("evaluate", *ON, *EDITOR, "--unedited", "edited", "--out", "never")
    assert other.exit_code == 1 and "of a model edited by ROME" in other.stderr and not Path("never").exists()
    page = run("report", "edited", "--unedited", "plain")
    assert page.exit_code == 0 and "unedited" in Path("edited", "report.html").read_text("utf-8"), page.output


def test_metrics_and_problems_are_asked_for_by_name(run: Run) -> None:
    result = run("evaluate", *ON, *EDITOR, "--metrics", "ES,NS+,NKL", "--out", "plus")
    assert result.exit_code == 0, result.output
    assert all(name in result.stdout for name in ("ES", "NS+", "NKL")) and "PS" not in result.stdout
    assert load_run("plus").metrics == ("ES", "NS+", "NKL")
    alone = run("evaluate", *ON, *EDITOR, "--metrics", "NKL")
    assert alone.exit_code == 0 and "unedited" not in alone.stdout and "NKL" in alone.stdout, alone.output
    result = run("evaluate", *ON, *EDITOR, "--problem", "fact-erasure", "--out", "erased")
    assert result.exit_code == 0 and "RwS_FE" in result.stdout, result.output
    assert load_run("erased").settings["problem"] == "fact erasure"
    assert problem_of("fact-forcing", 0.5) == FactForcing(0.5) and problem_of(None, None) is None


def test_options_that_do_not_go_together_are_refused(run: Run) -> None:
    for options, told in (
        (("--engine", "ray"), "are for a run in a folder; name it by --out"),
        (("--workers", "2", "--out", "r"), "--workers need --engine ray"),
        (("--metrics", "XY"), "there is no metric 'XY'"),
        (("--metrics", "RS"), "RS compares texts with references"),
        (("--problem", "erasure"), "--problem takes one of error-injection"),
        (("--problem", "fact-forcing"), "--noise is of --problem tracing-reversal and fact-forcing: these need it"),
        (("--unedited", "nothing"), "there is no nothing"),
    ):
        result = run("evaluate", *ON, *EDITOR, *options)
        assert result.exit_code == 1 and any(each in result.stderr for each in told.split("|")), result.stderr
    with pytest.raises(CommandError, match="these need it, others have none"):
        problem_of(None, 0.5)


def test_workers_on_ray_are_sent_the_contexts_of_the_manifest(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[EvaluateTask] = []
    monkeypatch.setattr(engines, "execute_on_ray", lambda _, task, **__: sent.append(task))
    result = run("evaluate", *ON, *EDITOR, "--engine", "ray", "--out", "run")
    assert result.exit_code == 0, result.output
    (edits,) = json.loads(Path("run/manifest.json").read_text("utf-8"))["settings"]["edits"]
    (task,) = sent
    assert task.contexts == tuple(edits["contexts"]) and len(edits["contexts"]) > 1
    other = replace(task, contexts=("", "Then. "))
    assert other.evaluation().contexts == ("", "Then. "), "no others are sampled"
