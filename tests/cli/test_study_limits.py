"""`lens-rome study limits` on the golden model: what it prints, writes, skips and refuses."""

import json
import math
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lens_rome.atlas import World
from lens_rome.cli.limits_probes import PROBES, Inputs
from lens_rome.studies.probes import Finding, post, strength
from tests.cli.conftest import MODEL, Run
from tests.cli.test_evaluate import RECORDS

EDITOR = ("--model", MODEL, "--moments", "identity", "--layer", "1", "--set", "value.steps=2", "--seed", "2")
ON = ("study", "limits", *EDITOR)

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.editing.DisablingEditWarning")


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of records in the folder, and few resamples."""
    monkeypatch.setattr("lens_rome.studies.probes.intervals.SAMPLES", 50)
    (tmp_path / "records.json").write_text(json.dumps([record.to_dict() for record in RECORDS]), encoding="utf-8")


def test_a_probe_is_printed_written_and_not_computed_twice(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = (*ON, "--probes", "concept", "--cases", "2", "--out", "found")
    result = run(*asked)
    assert result.exit_code == 0, result.output
    finding = Finding.load(tmp_path / "found" / "concept.json")
    assert {row["case"] for row in finding.rows} == {"cheese", "fromage"}, "the post's words"
    assert "Probes of ROME at layer 1 on" in result.stdout
    assert finding.question in result.stdout and str(finding.answer) in result.stdout
    assert "leak ratio" in result.stdout and "concept.png" in result.stdout
    assert len(pd.read_csv(tmp_path / "found" / "concept.csv")) == len(finding.rows)
    assert (tmp_path / "found" / "concept.png").read_bytes()[:4] == b"\x89PNG"
    assert finding.settings["command"]["cases"] == 2 and finding.settings["editor_settings"]["value"]["steps"] == 2

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("computed again")

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["lens_rome.studies.probes.concept"], "said", never)
        again = run(*asked)
        assert again.exit_code == 0 and "concept is there with the same settings" in again.stdout, again.output
        assert str(finding.answer) in again.stdout
        other = run(*asked, "--seed", "3")
        assert isinstance(other.exception, AssertionError)


def test_records_of_a_file_are_swept_over_layers(run: Run, tmp_path: Path) -> None:
    result = run(
        *ON, "--probes", "layers", "--data", "records.json", "--cases", "1", "--layers", "1,5", "--out", "found"
    )
    assert result.exit_code == 0, result.output
    finding = Finding.load(tmp_path / "found" / "layers.json")
    assert finding.settings["layers"] == [1, 5] and len({row["case"] for row in finding.rows}) == 1
    assert "unedited" in result.stdout and "subject_first_after_last" in result.stdout
    assert "scored as the unedited model" in result.stdout
    assert (tmp_path / "found" / "layers.png").is_file()


def test_probes_without_inputs_say_what_they_need(run: Run, tmp_path: Path) -> None:
    result = run(*ON, "--probes", "aliases,layers", "--out", "found")
    assert result.exit_code == 1
    assert "aliases: not run. the probe aliases has no inputs for this model" in result.stdout
    assert "name a file of them by --data" in result.stdout
    assert "2 of 2 probes did not run: aliases, layers" in result.stderr
    assert not list((tmp_path / "found").iterdir())


def test_the_posts_examples_are_asked_of_other_models_and_what_these_do_not_know_is_told(
    run: Run, tmp_path: Path
) -> None:
    result = run(*ON, "--probes", "direction,hops,bleed", "--out", "found")
    assert result.exit_code == 0, result.output
    for name, cases, asked in (
        ("direction", {case.name for case in post.DIRECTION}, "The famous tower in Paris is called the"),
        ("hops", {case.name for case in post.HOPS}, "The founder of Amazon is"),
        ("bleed", {case.name for case in post.BLEED}, "Barack Obama was born in"),
    ):
        finding = Finding.load(tmp_path / "found" / f"{name}.json")
        assert finding.answer.n == 0 and not finding.rows
        assert {each.case for each in finding.missing} == cases
        assert any(f"after {asked!r}" in each.reason for each in finding.missing)
        assert finding.answer.reading in result.stdout and finding.missing[0].reason in result.stdout
    assert {path.suffix for path in (tmp_path / "found").iterdir()} == {".json"}, "nothing to tabulate or to draw"


def test_the_posts_objects_are_written_about_by_other_models(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = replace(PROBES["strength"], find=partial(strength, samples=1, tokens=2))
    monkeypatch.setitem(sys.modules["lens_rome.cli.limits_probes"].PROBES, "strength", quick)
    result = run(*ON, "--probes", "strength", "--cases", "1", "--out", "found")
    assert result.exit_code == 0, result.output
    finding = Finding.load(tmp_path / "found" / "strength.json")
    assert {row["case"] for row in finding.rows} == {case.name for case in post.STRENGTH[:3]}
    assert (tmp_path / "found" / "strength.png").is_file()


def test_what_is_there_of_some_other_kind_is_replaced(run: Run, tmp_path: Path) -> None:
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "concept.json").write_text("{", encoding="utf-8")
    result = run(*ON, "--probes", "concept", "--cases", "2", "--out", "found")
    assert result.exit_code == 0, result.output
    assert Finding.load(tmp_path / "found" / "concept.json").probe == "concept"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--probes", "concept,luck"), "there is no probe 'luck'; choose out of direction"),
        (("--probes", ","), "--probes is empty"),
        (("--layers", "one"), "--layers takes whole numbers"),
        (("--editor", "FT"), "--layer is for ROME"),
    ],
)
def test_options_that_cannot_be_are_refused_at_once(run: Run, options: tuple[str, ...], message: str) -> None:
    result = run(*ON, *options)
    assert result.exit_code == 1 and message in result.stderr, result.output


def test_every_probe_has_cases_of_the_bundled_world() -> None:
    inputs = Inputs(World(), None, 0)
    for probe in PROBES.values():
        assert len(probe.cases(inputs, 2)) >= 2, probe.name


def test_the_best_layer_is_told_also_where_another_has_no_score() -> None:
    scores = [("last", None, math.nan), ("last", 0, 0.2), ("last", 1, 0.5), ("last", 2, 0.3), ("first", 0, 0.1)]
    rows = [{"token": token, "layer": layer, "measure": "S", "mean": mean} for token, layer, mean in scores]
    assert [row["layer"] for row in PROBES["layers"].shown(rows)] == [1, 0]
