"""`lens-rome study localization` on the atlas: tables, pictures, shares, and what it refuses."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer import rich_utils

from lens_rome.cli import localization_task
from lens_rome.cli.evaluate_data import DataOptions
from lens_rome.cli.evaluate_task import PROBLEMS
from lens_rome.cli.limits_probes import PROBES
from lens_rome.cli.localization_task import LocalizationTask
from lens_rome.cli.models import Recipe
from lens_rome.cli.options import Precision
from lens_rome.runs import ray_engine
from lens_rome.studies.localization import METHODS, load_localization
from tests.cli.conftest import Run
from tests.runs.fake_ray import FakeRay

pytestmark = [
    pytest.mark.filterwarnings("ignore::lens_rome.editing.DisablingEditWarning"),
    pytest.mark.usefixtures("moments_once"),
]
CHEAP = ("study", "localization", "--sample", "3", "--methods", "MEMIT", "--problems", "error-injection,fact-erasure",
         "--layers", "1,3", "--windows", "1", "--samples", "2", "--no-essence", "--out")  # fmt: skip


def test_the_study_writes_its_tables_and_pictures_and_goes_on_from_what_is_there(run: Run) -> None:
    result = run(*CHEAP, "study")
    assert result.exit_code == 0, result.output
    assert "3 known facts, 12 edits." in result.stdout
    assert "GPT-J, published" in result.stdout and "Seconds an edit" in result.stdout
    assert "tracing effect adds" in result.stdout and "by chance alone it would add about 0." in result.stdout
    assert "Caution: few facts. The regressions have 3 facts" in result.stdout
    names = {path.name for path in Path("study").iterdir()}
    pictures = {
        "effects.png",
        "effects_last.png",
        "peaks.png",
        "zeroing.png",
        "trace.png",
        "explained_rewrite.png",
        "scatter_memit.png",
    }
    tables = {"scores.csv", "effects.csv", "regressions.csv", "correlations.csv", "tables.md"}
    assert pictures | tables | {"scores_error_injection.png", "scores_fact_erasure.png"} <= names
    scores: Any = pd.read_csv("study/scores.csv")
    assert len(scores) == 12 and scores["rewrite"].notna().all()
    text = Path("study/tables.md").read_text("utf-8")
    assert "Caution: few facts" in text.split("##")[0] and "by chance alone" in text.split("##")[0]
    assert "## R² of the rewrite score" in text and "fact erasure" in text
    again = run(*CHEAP, "study")
    assert again.exit_code == 0 and pd.read_csv("study/scores.csv").equals(scores)
    other = run(*CHEAP, "study", "--seed", "1")
    assert (other.exit_code == 1 and "another" in other.stderr) or "differ" in other.stderr


def test_a_share_says_what_is_left_and_the_last_one_draws(run: Run) -> None:
    asked = (*CHEAP, "study", "--problems", "error-injection", "--layers", "1,2")
    first = run(*asked, "--shard", "1/2")
    assert first.exit_code == 0, first.output
    assert "are left: the same command goes on" in first.stdout and not Path("study/scores.csv").exists()
    last = run(*asked, "--shard", "2/2")
    assert last.exit_code == 0 and Path("study/scores.csv").exists(), last.output


@pytest.mark.slow
def test_a_cluster_gives_the_rows_of_one_process(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay()
    monkeypatch.setattr(ray_engine, "import_module", lambda _: ray)
    assert run(*CHEAP, "local").exit_code == 0
    result = run(*CHEAP, "ray", "--engine", "ray", "--workers", "2")
    assert result.exit_code == 0, result.output
    columns = ["id", "problem", "method", "layer", "rewrite", "paraphrase", "neighborhood"]
    one, other = (load_localization(name).scores[columns] for name in ("local", "ray"))
    pd.testing.assert_frame_equal(one, other, rtol=1e-5, atol=1e-6)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("--methods", "KN"), "--methods takes some of FT-1, FT-5, ROME, MEMIT; got 'KN'"),
        (("--problems", "erasure"), "--problems takes some of error-injection"),
        (("--layers", "9"), "layer 9 does not exist"),
        (("--windows", "0"), "windows are different whole numbers from 1"),
        (("--window", "3"), "--window 3 is not traced; --windows has 1"),
        (("--preset", "mine"), "no preset for model 'mine'"),
        (("--split", "moon"), "no split 'moon'"),
        (("--workers", "2"), "--workers need --engine ray"),
    ],
)
def test_what_is_no_study_is_one_error_and_nothing_is_written(run: Run, changes: tuple[str, ...], message: str) -> None:
    result = run(*CHEAP, "never", *changes)
    assert result.exit_code == 1 and message in result.stderr, result.output
    assert len(result.stderr.strip().splitlines()) == 1 and not Path("never").exists()


def test_a_folder_without_parent_and_a_model_without_moments_are_told(run: Run) -> None:
    result = run(*CHEAP[:-1], "--out", "no/where")
    assert result.exit_code == 1 and "the folder no does not exist" in result.stderr


def test_a_file_in_the_folders_place_is_told_before_a_model_is_loaded(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(localization_task, "load", never)
    Path("study").write_text("mine", "utf-8")
    result = run(*CHEAP, "study")
    assert result.exit_code == 1 and "the folder study: there is a file of that name. Give another" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1 and Path("study").read_text("utf-8") == "mine"


@pytest.mark.parametrize("command", ["localization", "limits"])
def test_help_at_80_columns_shows_every_name(run: Run, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rich_utils, "MAX_WIDTH", 80)
    shown = run("study", command, "--help").stdout
    assert "…" not in shown
    for name in (*METHODS, *PROBLEMS) if command == "localization" else PROBES:
        assert name in shown


def test_a_worker_takes_the_facts_and_the_noise_that_were_found_before(monkeypatch: pytest.MonkeyPatch) -> None:
    data, recipe = DataOptions(sample=3), Recipe("atlas", None, "cpu", Precision.float32)
    job = (task := LocalizationTask(recipe, data, methods=("FT-1",), layers=(1,), essence=False)).job()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr(localization_task, "known_records", never)
    monkeypatch.setattr(localization_task, "subject_deviation", never)
    other = task.as_found(job).job()
    assert other.records == job.records and other.noise == job.noise and other.ids == job.ids


def test_marks_are_the_methods_own_layers() -> None:
    task = LocalizationTask(Recipe("atlas", None, "cpu", Precision.float32))
    marks = task.marks
    assert marks == {
        "edited": 1,
        "shade": (0, 2),
        "edited_is": "the layer that ROME edits by its own settings",
        "shade_is": "the layers that MEMIT edits by its own settings",
    }
