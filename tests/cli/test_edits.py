"""`lens-rome edits show`: what a file of an edit holds, without its model."""

import json
from pathlib import Path

import pytest
import torch

import lens_rome as lr
from lens_rome.cli import models
from lens_rome.editing import DenseDelta, RowsDelta
from lens_rome.editing.base import Base
from lens_rome.surface import load_model
from tests.cli.conftest import MODEL, Run

LONG = lr.ValueSettings(steps=3)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ROME's and half of R-ROME's edit of one model, added."""
    model = load_model(MODEL)
    request = lr.EditRequest("Eiffel Tower", "The {} is in the city", "E", "A")
    other = lr.EditRequest("Louvre", "The {} is in the city", "O [x]", "A")
    first = lr.ROME(1, value=LONG).edit(model, request, moments="identity")
    second = lr.RROME(2, value=LONG).edit(model, other, moments="identity").scaled(0.5)
    return (first + second).save(tmp_path_factory.mktemp("edits") / "both.safetensors")


def test_the_file_is_shown_without_its_model(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "load_model", None)
    result = run("edits", "show", file)
    assert result.exit_code == 0, result.output
    edit = lr.Edit.load(file)
    norms = [f"{norm:.3g}" for norm, _ in edit.norms().values()]
    for part in (
        *("ROME + 0.5 × R-ROME of", "layer=1", "value.steps=3", "layer 1 W_out", "layer 2 W_out", "rank 1", *norms),
        *("The Eiffel Tower is in the city → E", "The Louvre is in the city → O [x]", "p before", "p after", "float32"),
        *("1 at layer 1, 1 at layer 2",),
    ):
        assert part in result.stdout, part


def test_json_holds_everything_the_file_tells(run: Run, file: Path) -> None:
    result = run("edits", "show", file, "--json")
    assert result.exit_code == 0, result.output
    told, edit = json.loads(result.stdout), lr.Edit.load(file)
    assert told["title"] == "ROME + 0.5 × R-ROME"
    assert told["provenance"] == edit.provenance
    assert told["keys"] == {"1": 1, "2": 1}
    for place, ((layer, name), base) in zip(told["places"], edit.bases.items(), strict=True):
        assert (place["layer"], place["parameter"], place["kind"], place["rank"]) == (layer, name, "lowrank", 1)
        assert (place["norm"], place["relative_norm"]) == edit.norms()[layer, name]
        assert (place["before"], place["after"], place["dtype"]) == (base.before, base.after, "float32")


def test_every_kind_of_change_is_told_and_a_file_without_a_story_too(run: Run, tmp_path: Path) -> None:
    base = Base("before", None, "float32", 0.0)
    deltas = {
        (0, "b_out"): DenseDelta(torch.ones(3)),
        (-1, "W_E"): RowsDelta(torch.tensor([1, 4]), torch.ones(2, 3), 9),
    }
    lr.Edit(deltas, dict.fromkeys(deltas, base)).save(tmp_path / "bare.st")
    result = run("edits", "show", "bare.st")
    assert result.exit_code == 0, result.output
    for part in ("unknown of an unknown model", "layer 0 b_out", "1 dense", "2 rows", "–"):
        assert part in result.stdout, part
    told = json.loads(run("edits", "show", "bare.st", "--json").stdout)
    assert [place["relative_norm"] for place in told["places"]] == [None, None]  # of weights that are zero


def test_many_requests_are_cut_unless_all_are_asked_for(run: Run, tmp_path: Path) -> None:
    requests = [{"subject": f"s{i}", "template": "{} is", "target_new": "x"} for i in range(25)]
    lr.Edit({}, {}, {"editor": "MEMIT", "requests": requests}).save(tmp_path / "many.st")
    cut, whole = run("edits", "show", "many.st").stdout, run("edits", "show", "many.st", "--all").stdout
    assert "s19 is → x" in cut and "s20 is → x" not in cut and "… and 5 more; --all prints them" in cut
    assert "s24 is → x" in whole and "more; --all" not in whole


def test_a_file_that_is_no_edit_is_refused(run: Run, tmp_path: Path, moments_file: Path) -> None:
    (tmp_path / "text.st").write_text("no tensors", encoding="utf-8")
    for file, advice in (("none.st", "there is no file none.st"), ("text.st", "is not a readable lens_rome file")):
        result = run("edits", "show", file)
        assert result.exit_code == 1
        assert result.stderr.startswith("lens-rome: error: ") and advice in result.stderr
    assert "holds a 'moments', expected a 'edit'" in run("edits", "show", moments_file).stderr


def test_the_group_has_help(run: Run) -> None:
    assert "show" in run("edits", "--help").stdout
    assert "--json" in run("edits", "show", "--help").stdout
