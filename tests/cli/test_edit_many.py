"""`lens-rome edit --requests`: one joint edit, the same that Python makes."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import lens_rome as lr
from lens_rome.cli import app
from lens_rome.cli.edit_many import Outcome
from lens_rome.editing import EMMET, ValueSettings
from lens_rome.surface import as_surface, load_model
from tests.cli.conftest import MODEL, Run
from tests.cli.test_edit import joint_prob

REQUESTS = (
    {"subject": "Eiffel Tower", "template": "The {} is in the city", "target_new": "E", "target_true": "A"},
    {"subject": "Louvre", "prompt": "The Louvre is in the city", "target_new": "O"},
)
ON = ("--model", MODEL, "--moments", "identity")
EMMET_AT_1_2 = ("--editor", "emmet", "--preset", "gpt2-xl", "--set", "layers=1,2", "--set", "value.steps=4", "--bos")


@pytest.fixture
def file(tmp_path: Path) -> str:
    return write_requests(tmp_path).name


def write_requests(folder: Path) -> Path:
    path = folder / "wanted.jsonl"
    path.write_text("\n".join(map(json.dumps, REQUESTS)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes: `o/edit.json`, `o/edit.safetensors` and the folder `checkpoint`."""
    folder = tmp_path_factory.mktemp("many")
    ends = ("--seed", "3", "--out", str(folder / "o"), "--export", str(folder / "checkpoint"))
    args = ["edit", *EMMET_AT_1_2, *ON, "--requests", str(write_requests(folder)), *ends]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def told(folder: Path) -> dict:
    return json.loads((folder / "o" / "edit.json").read_text(encoding="utf-8"))


def test_the_command_makes_the_edit_that_python_makes(told: dict, folder: Path) -> None:
    model = load_model(MODEL)
    published = lr.preset("EMMET", "gpt2-xl")
    assert isinstance(published, EMMET)
    value = ValueSettings(steps=4, clamp=published.value.clamp)
    editor = replace(published, layers=(1, 2), value=value, seed=3, prepend_bos=True)
    wanted = [lr.EditRequest(**each["request"]) for each in told["requests"]]
    ours, theirs = editor.edit(model, wanted, moments="identity"), lr.Edit.load(folder / "o" / "edit.safetensors")
    assert theirs.bases == ours.bases  # with fingerprints of the weights before and after
    assert told["edit"]["settings"] == json.loads(json.dumps(ours.provenance["settings"]))


def test_every_request_is_asked_before_and_after(told: dict, folder: Path) -> None:
    model = load_model(MODEL)
    edit = lr.Edit.load(folder / "o" / "edit.safetensors")
    first, second = told["requests"]
    assert first["request"]["target_true"] == "A"
    assert second["request"]["target_true"] == ""  # none was given, and the model says no word
    assert second["p_true_after"] is None and second["holds"] is None
    for each in told["requests"]:
        prompt = each["request"]["template"].replace("{}", each["request"]["subject"])
        for when, scope in (("before", lr.Edit({}, {}).applied(model)), ("after", edit.applied(model))):
            with scope:
                for kind in ("new", "true") if each is first else ("new",):
                    wanted = joint_prob(model, prompt, each["request"][f"target_{kind}"])
                    assert each[f"p_{kind}_{when}"] == pytest.approx(wanted, rel=1e-4)
        assert each["p_new_after"] > each["p_new_before"]
    assert first["holds"] == (first["p_new_after"] > first["p_true_after"])
    assert [place["layer"] for place in told["places"]] == [1, 2]


def test_the_exported_folder_holds_the_edited_model(folder: Path) -> None:
    tokens = torch.tensor([[1, 2, 3, 4]])
    model, exported = load_model(MODEL), load_model(folder / "checkpoint")
    with lr.Edit.load(folder / "o" / "edit.safetensors").applied(model):
        edited = as_surface(model).run(tokens)
    # float32, and another path through the libraries
    assert torch.allclose(as_surface(exported).run(tokens), edited, atol=1e-4)
    assert not torch.allclose(as_surface(model).run(tokens), edited, atol=1e-2)


def test_the_command_prints_requests_and_places(run: Run, file: str) -> None:
    result = run("edit", *EMMET_AT_1_2, *ON, "--requests", file, "--save", "kept.st")
    assert result.exit_code == 0, result.output
    parts = ("EMMET: 2 requests in one edit", "The Louvre is in the city → O", "mean probability goes from", "of 1.")
    for part in (*parts, "layer 1 W_out", "layer 2 W_out", "rank 2", "written at the keys", "The edit is in kept.st"):
        assert part in result.stdout, part


def test_an_editor_of_one_fact_writes_one_after_another(run: Run, file: str, tmp_path: Path) -> None:
    options = ("--editor", "R-ROME", "--layer", "1", "--set", "value.steps=3")
    result = run("edit", *options, *ON, "--requests", file, "--save", "kept.st")
    assert result.exit_code == 0, result.output
    assert lr.Edit.load(tmp_path / "kept.st").rank == 2


def test_a_single_fact_is_edited_by_an_editor_of_many(run: Run, tmp_path: Path) -> None:
    fact = ("-s", "Eiffel Tower", "-t", "The {} is in the city", "-n", "E", "--target-true", "A", "--tokens", "0")
    result = run("edit", *EMMET_AT_1_2, *ON, *fact, "--out", "o")
    assert result.exit_code == 0, result.output
    for part in ("EMMET: a change of 2 parameters, found in 4 steps", "layer 2 W_out", "Rewritten prompt"):
        assert part in result.stdout, part
    assert json.loads((tmp_path / "o" / "edit.json").read_text(encoding="utf-8"))["edit"]["editor"] == "EMMET"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (("--editor", "FT", "--set", "layers=1", "--set", "steps=2"), "FT: a change of 2 parameters, found in 2 steps"),
        (("--editor", "FT+L", "--set", "parameters=W_out", "--set", "steps=2"), "layer 0: a change (1 dense) of W_out"),
        (("--editor", "KN", "--set", "steps=2"), "KN (as released)"),
    ],
)
def test_editors_without_moments_ask_for_none(run: Run, settings: tuple[str, ...], told: str) -> None:
    fact = ("-s", "Eiffel Tower", "-t", "The {} is in the city", "-n", "E", "--target-true", "A", "--tokens", "0")
    result = run("edit", *settings, "--model", MODEL, "--preset", "gpt2-xl", *fact)
    assert result.exit_code == 0, result.output
    assert told in result.stdout


def test_a_request_holds_where_its_new_object_is_the_likelier_one() -> None:
    request = lr.EditRequest("a", "{} is", "b")
    assert Outcome(request, 0.1, 0.6, 0.8, 0.3).holds is True
    assert Outcome(request, 0.1, 0.3, 0.8, 0.3).holds is False
    assert Outcome(request, 0.1, 0.6, math.nan, math.nan).holds is None


ONE = ("-s", "a", "-t", "{} is", "-n", "b")
BAD = {
    "both": (("--requests", "wanted.jsonl", *ONE), "--requests names the facts; leave out --subject"),
    "a paraphrase": (("--requests", "wanted.jsonl", "--paraphrase", "x"), "--requests names the facts"),
    "tokens": (("--requests", "wanted.jsonl", "--tokens", "0"), "--generate and --tokens"),
    "neither": ((), "give --subject, --template and --target-new for one fact, or --requests for many"),
    "no new object": (ONE[:4], "give --subject, --template and --target-new"),
    "a bad entry": (("--requests", "bad.json"), "bad.json: entry 2 is not a request: the key 'target_new' is missing"),
    "no file": (("--requests", "none.json"), "cannot read none.json"),
    "export folder": ((*ONE, "--export", "none/x"), "the folder none does not exist. Create it first"),
    "export into a full one": ((*ONE, "--export", "."), "it is not an empty folder. Name a new one"),
    "setting": ((*ONE, "--layer", "1", "--set", "speed=1"), "there is no setting 'speed' of ROME; it has layer, value"),
    "layer": ((*ONE, "--editor", "MEMIT", "--layer", "1"), "--layer is for ROME, p-ROME, R-ROME"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_options_are_refused_before_a_model_is_looked_for(run: Run, file: str, tmp_path: Path, name: str) -> None:
    assert file
    (tmp_path / "bad.json").write_text(json.dumps([REQUESTS[0], {"subject": "a", "prompt": "a is"}]), encoding="utf-8")
    args, advice = BAD[name]
    before = sorted(tmp_path.iterdir())
    result = run("edit", *args, "--model", "no/such/model")
    assert result.exit_code == 1, result.output
    assert advice in " ".join(result.stderr.split())
    assert sorted(tmp_path.iterdir()) == before


def test_a_failed_edit_leaves_nothing_behind(run: Run, file: str, tmp_path: Path) -> None:
    result = run(
        "edit", *EMMET_AT_1_2, "--set", "layers=1,9", *ON, "--requests", file, "--save", "e.st", "--export", "c"
    )
    assert result.exit_code == 1
    assert "layer 9 does not exist" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == [file]


@pytest.mark.parametrize(
    ("settings", "code", "told"),
    [
        (("--editor", "ROME", "--layer", "1"), 1, "lens-rome: error: {}, so ROME cannot write both exactly. Keep one"),
        (
            ("--editor", "FT", "--set", "layers=1", "--set", "steps=2", "--preset", "gpt2-xl"),
            0,
            "lens-rome: warning: {}; FT fits one against the other. Keep one of them.",
        ),
    ],
    ids=["ROME", "FT"],
)
def test_one_fact_twice_is_named_in_one_line(
    run: Run, tmp_path: Path, settings: tuple[str, ...], code: int, told: str
) -> None:
    again = {**REQUESTS[0], "target_new": "O"}
    (tmp_path / "twice.json").write_text(json.dumps([*REQUESTS, again]), encoding="utf-8")
    result = run("edit", *settings, *ON, "--requests", "twice.json")
    assert result.exit_code == code, result.output
    prompt = "The Eiffel Tower is in the city"
    pair = f"requests 0 ({prompt} → E) and 2 ({prompt} → O) are of the same fact"
    assert result.stderr.count(pair) == 1
    assert told.format(pair) in " ".join(result.stderr.split())
