"""`lens-rome evaluate`: what `evaluate` gives, in memory and in a folder."""

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lens_rome.atlas import World
from lens_rome.cli.editors import EditorOptions
from lens_rome.cli.evaluate_data import DataOptions, references_of
from lens_rome.cli.evaluate_task import EvaluateTask
from lens_rome.cli.reporting import CommandError
from lens_rome.datasets import References, Snippets, read_records
from lens_rome.editing import ROME
from lens_rome.errors import DatasetError
from lens_rome.evaluation import EvalReport, TextSettings, evaluate, load_run
from lens_rome.facts import EditRequest, EvalRecord
from lens_rome.surface import load_model
from tests.cli.conftest import MODEL, Run
from tests.evaluation.run_support import assert_same

RECORDS = [
    EvalRecord(
        case_id,
        EditRequest(name, "The {} is in the city", new, "A", "P131"),
        (f"They say that the {name} stands in",),
        ("The Louvre is in the city",),
        generation_prompts=(f"The {name} is",),
    )
    for case_id, (name, new) in enumerate([("Eiffel Tower", "E"), ("Louvre", "O"), ("Colosseum", "U")])
]
ON = ("--model", MODEL, "--data", "records.json", "--moments", "identity")
EDITOR = ("--editor", "rome", "--layer", "1", "--set", "value.steps=2")

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.editing.DisablingEditWarning")


@pytest.fixture(autouse=True)
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of records in the folder, and no launcher's variables."""
    for name in ("RANK", "WORLD_SIZE", "SLURM_ARRAY_TASK_ID", "SLURM_PROCID", "SLURM_STEP_ID"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "records.json").write_text(json.dumps([record.to_dict() for record in RECORDS]), encoding="utf-8")


def expected(**asked: Any) -> EvalReport:
    base = ROME(1)
    editor = replace(base, value=replace(base.value, steps=2))
    return evaluate(load_model(MODEL), RECORDS, editor, moments="identity", before=True, **asked)


def test_a_run_in_a_folder_prints_the_papers_table_and_goes_on(run: Run, tmp_path: Path) -> None:
    result = run("evaluate", *ON, *EDITOR, "--out", "run", "--chunk", "2")
    assert result.exit_code == 0, result.output
    report = load_run(tmp_path / "run")
    assert_same(report, expected(), 1e-4)
    assert report.paper_table(unedited=True) in result.stdout
    assert "3 of 3 records are done, in run." in result.stdout and "seconds an edit, by the clock" in result.stdout
    assert report.label == "ROME" and report.settings["edits"][0]["settings"]["value"]["steps"] == 2
    again = run("evaluate", *ON, *EDITOR, "--out", "run", "--chunk", "2", "--label", "mine")
    assert again.exit_code == 0 and "mine " in again.stdout, again.output
    assert len(list((tmp_path / "run").glob("part-*"))) == 1
    other = run("evaluate", *ON, *EDITOR, "--out", "run", "--chunk", "2", "--seed", "4")
    assert other.exit_code == 1 and "holds another run" in other.stderr and "seed is 0 there, 4 was" in other.stderr


def test_a_worker_prints_the_table_only_where_nothing_is_left(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run("evaluate", *ON, *EDITOR, "--out", "run", "--chunk", "2", "--shard", "1/2")
    assert first.exit_code == 0 and "2 of 3 records are done" in first.stdout, first.output
    assert "1 are left: the same command goes on, on any number of workers." in first.stdout
    assert "editor" not in first.stdout and first.stderr.strip() == ""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    second = run("evaluate", *ON, *EDITOR, "--out", "run", "--chunk", "2")
    assert "3 of 3 records are done" in second.stdout and "editor " in second.stdout, second.output
    assert len(list((tmp_path / "run").glob("part-0001-*"))) == 1
    alone = run("evaluate", *ON, *EDITOR)
    assert alone.exit_code == 1 and "2 workers share a run in a folder; name it by --out" in alone.stderr


def test_texts_are_written_and_compared_in_memory(run: Run, tmp_path: Path) -> None:
    Snippets({("P131", each): (f"a tower in {each}",) for each in "EOU"}).save(tmp_path / "snippets.json")
    given = ("--texts", "--length", "12", "--references", "snippets.json", "--essence", "--label", "with texts")
    result = run("evaluate", *ON, *EDITOR, *given)
    assert result.exit_code == 0, result.output
    references = References.of(Snippets({("P131", each): (f"a tower in {each}",) for each in "EOU"}))
    asked: dict[str, Any] = {"texts": TextSettings(length=12), "references": references, "essence": True}
    table = expected(label="with texts", **asked).paper_table(unedited=True)
    assert [line.split()[:6] for line in result.stdout.splitlines()[:5]] == [
        line.split()[:6] for line in table.splitlines()
    ]
    assert "Fluency" in result.stdout and len(list(tmp_path.iterdir())) == 2, "nothing is written"


def test_the_unedited_model_is_a_row_by_itself(run: Run) -> None:
    result = run("evaluate", "--model", MODEL, "--data", "records.json", "--editor", "none", "--sample", "2")
    assert result.exit_code == 0, result.output
    (row,) = [line for line in result.stdout.splitlines() if line.startswith("unedited")]
    assert row.split()[1] == "2" and "seconds" not in result.stdout


def test_a_saved_edit_is_scored_on_the_records_that_it_is_of(run: Run, tmp_path: Path) -> None:
    editor = replace(ROME(1), value=replace(ROME(1).value, steps=2), contexts=("",))
    edit = editor.edit(load_model(MODEL), [record.request for record in RECORDS[:2]], moments="identity")
    edit.save(tmp_path / "edit.safetensors")
    given = ("--model", MODEL, "--data", "records.json", "--edit", "edit.safetensors")
    result = run("evaluate", *given, "--out", "run")
    assert result.exit_code == 0 and "\nROME  " in result.stdout, result.output
    found = load_run(tmp_path / "run")
    assert_same(found, evaluate(load_model(MODEL), RECORDS[:2], edit, before=True), 1e-4)
    (tmp_path / "records.json").write_text(json.dumps([RECORDS[2].to_dict()]), encoding="utf-8")
    result = run("evaluate", *given)
    assert result.exit_code == 1 and "none of the 1 records asks for what the edit does (2 requests;" in result.stderr


def test_a_record_that_fails_is_told_and_the_others_are_scored(run: Run, tmp_path: Path) -> None:
    long = replace(RECORDS[1], paraphrase_prompts=("It was a quiet day in the winter. " * 200,))
    made = [record.to_dict() for record in (RECORDS[0], long, RECORDS[2])]
    (tmp_path / "records.json").write_text(json.dumps(made), encoding="utf-8")
    result = run("evaluate", *ON, *EDITOR, "--out", "run")
    assert result.exit_code == 0, result.output
    assert "2 of 3 records are done" in result.stdout and "1 failed, case 1: SurfaceError: " in result.stdout
    assert "--retry-errors tries them again, and --refused unedited beside it" in result.stdout
    assert next(line for line in result.stdout.splitlines() if line.startswith("ROME")).split()[1] == "2"
    again = run("evaluate", *ON, *EDITOR, "--out", "run", "--retry-errors")
    assert "1 failed, case 1" in again.stdout and len(list((tmp_path / "run").glob("part-*"))) == 2


def test_a_task_does_the_same_in_another_process(tmp_path: Path) -> None:
    options = EditorOptions("rome", 1, settings=("value.steps=1",))
    data = DataOptions(str(tmp_path / "records.json"), sample=2, seed=3)
    task = EvaluateTask(MODEL, data, options, moments="identity")
    again = pickle.loads(pickle.dumps(task))
    job, other = (each.evaluation() for each in (task, again))
    assert again == task and other.settings() == job.settings() and job.ids == other.ids and len(job.ids) == 2
    assert [row["id"] for row in other.rows(job.ids)] == job.ids


def test_records_of_the_atlas_are_chosen_by_split_limit_and_sample() -> None:
    world = World()
    every, early = DataOptions().records(world), DataOptions(limit=40).records(world)
    assert [record.case_id for record in early] == [record.case_id for record in every if record.case_id < 40]
    few = DataOptions(split="evaluation", sample=7, seed=1).records(world)
    assert len(few) == 7 and [r.case_id for r in few] == sorted(r.case_id for r in few)
    assert few != DataOptions(split="evaluation", sample=7, seed=2).records(world)
    assert references_of("atlas", None, few, world).vectors
    with pytest.raises(CommandError, match="these options leave no record; raise --limit"):
        _ = [DataOptions(split=name, limit=1).records(world) for name in ("train", "validation", "evaluation")]


def test_zsre_is_read_in_either_form(tmp_path: Path) -> None:
    item = {"src": "Where is the Louvre?", "rephrase": "Which city has the Louvre?", "subject": "Louvre"}
    rest = {"loc": "nq question: where is the Colosseum", "loc_ans": "Rome"}
    path = tmp_path / "zsre.json"
    path.write_text(json.dumps([{**item, **rest, "answers": [answer]} for answer in ("Paris", "Rome")]))
    meng, hase = (DataOptions(str(path), zsre=form, seed=3).records(None) for form in ("meng", "hase"))
    assert [record.request.target_new for record in meng] == ["Paris", "Rome"]
    assert [record.request.target_new for record in hase] == ["Rome", "Paris"]
    assert len(DataOptions(str(path), zsre="meng", limit=1).records(None)) == 1
    with pytest.raises(DatasetError):
        read_records(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--split", "train", "--data", "records.json"), "--split is of the atlas's subjects; leave it out"),
        (("--split", "tests"), "no split 'tests'; the splits are train"),
        (("--zsre", "meng"), "--zsre reads a file of zsRE; give it by --data, not atlas"),
        (("--zsre", "x", "--data", "records.json"), "--zsre takes meng or hase; got 'x'"),
        (("--data", "none.json"), "cannot read none.json"),
        (("--essence",), "--references and --essence score texts; add --texts"),
        (("--length", "5"), "--length is of texts; add --texts"),
        (("--tfidf", "x"), "--tfidf tells how rare the words of --references are"),
        (("--refused", "skip"), "--refused takes raise or unedited; got 'skip'"),
        (("--editor", "none", "--layer", "1"), "are of an editor; leave them out"),
        (("--editor", "none", "--moments", "identity"), "--moments are for an editor; leave them out"),
        (("--edit", "e.st", "--editor", "ROME"), "--edit is made already; leave out --editor"),
        (("--edit", "none.safetensors"), "none.safetensors"),
        (("--editor", "MEMIT2"), "unknown editor 'MEMIT2'"),
        (("--shard", "1/2"), "--shard, --engine and --retry-errors are for a run in a folder; name it by --out"),
        (("--shard", "3/2", "--out", "run"), "shard '3/2' is not of the form"),
        (("--out", "no/run"), "cannot make no/run: the folder no does not exist"),
        (("--model", MODEL, "--layer", "1", "--data", "records.json"), "ROME needs second moments of layer 1"),
    ],
)
def test_bad_options_end_in_one_line(run: Run, tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    result = run("evaluate", *options)
    assert result.exit_code == 1 and message in result.stderr, result.output
    assert len(result.stderr.strip().splitlines()) == 1 and len(list(tmp_path.iterdir())) == 1, "nothing is made"


def test_metrics_of_texts_ask_for_texts_of_the_seed_and_length_that_were_given(run: Run) -> None:
    on = ("--model", MODEL, "--data", "records.json", "--editor", "none")
    run("evaluate", *on, "--metrics", "GE", "--seed", "5", "--length", "8", "--out", "run")
    told = EvalReport.load("run").settings["texts"]
    assert (told["seed"], told["length"]) == (5, 8)
