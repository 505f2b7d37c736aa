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
from lens_rome.editing import preset
from lens_rome.errors import EditError
from lens_rome.plotting import PlotError
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
    summary = pd.read_csv(tmp_path / "found" / "concept_summary.csv")
    assert list(summary["measure"]) == [row["measure"] for row in finding.summary]
    assert summary["mean"].tolist() == pytest.approx([row["mean"] for row in finding.summary], nan_ok=True)
    assert "concept_summary.csv" in result.stdout
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


def test_a_probe_that_is_not_for_the_editor_is_told_and_an_error_only_if_it_was_asked_for(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = {
        name: [p.name for p in PROBES.values() if not p.fits(preset(name, "atlas"))] for name in ("ROME", "FT", "KN")
    }
    assert fit == {"ROME": [], "FT": ["prefixes"], "KN": ["layers", "prefixes"]}
    assert not PROBES["layers"].fits(preset("MEMIT", "atlas")) and PROBES["prefixes"].fits(preset("MEMIT", "atlas"))
    left = {"concept": PROBES["concept"], "prefixes": replace(PROBES["prefixes"], fits=lambda _: False)}
    for module in ("study_limits", "limits_probes"):
        monkeypatch.setattr(sys.modules[f"lens_rome.cli.{module}"], "PROBES", left)
    result = run(*ON, "--cases", "2", "--data", "records.json")
    assert result.exit_code == 0 and "prefixes: not run. the probe prefixes is not for this editor" in result.stdout
    assert run(*ON, "--data", "records.json", "--probes", "prefixes").exit_code == 1


def test_every_probe_has_cases_of_the_bundled_world() -> None:
    inputs = Inputs(World(), None, 0)
    for probe in PROBES.values():
        assert len(probe.cases(inputs, 2)) >= 2, probe.name


def test_the_best_layer_is_told_also_where_another_has_no_score() -> None:
    scores = [("last", None, math.nan), ("last", 0, 0.2), ("last", 1, 0.5), ("last", 2, 0.3), ("first", 0, 0.1)]
    rows = [{"token": token, "layer": layer, "measure": "S", "mean": mean} for token, layer, mean in scores]
    assert [row["layer"] for row in PROBES["layers"].shown(rows)] == [1, 0]


def broken(reason: str) -> Any:
    """A probe that cannot run."""

    def find(*_: Any, **__: Any) -> Any:
        raise EditError(reason)

    return find


def only(monkeypatch: pytest.MonkeyPatch, *names: str, **changes: Any) -> None:
    """Leave these probes, changed so."""
    left = {name: replace(PROBES[name], **changes) for name in names}
    for module in ("study_limits", "limits_probes"):
        monkeypatch.setattr(sys.modules[f"lens_rome.cli.{module}"], "PROBES", left)


def test_other_records_weights_or_networks_under_the_same_names_are_computed_again(run: Run, tmp_path: Path) -> None:
    asked = (*ON, "--probes", "prefixes", "--data", "records.json", "--cases", "1", "--out", "found")
    assert run(*asked).exit_code == 0
    first = Finding.load(tmp_path / "found" / "prefixes.json")
    told = first.settings["command"]
    assert len(told["weights_digest"]) == len(told["cases_digest"]) == 64 and "data" not in told
    other = [replace(record, paraphrase_prompts=("They say that it is",)) for record in RECORDS]
    (tmp_path / "records.json").write_text(json.dumps([record.to_dict() for record in other]), encoding="utf-8")
    again = run(*asked)
    assert again.exit_code == 0 and "not computed again" not in again.stdout
    assert Finding.load(tmp_path / "found" / "prefixes.json").settings["command"] != told


def test_another_model_in_the_same_folder_is_another_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = (*ON, "--probes", "concept", "--cases", "2", "--out", "found")
    assert run(*asked).exit_code == 0
    monkeypatch.setattr(sys.modules["lens_rome.cli.study_limits"], "model_digest", lambda _: "other")
    again = run(*asked)
    assert again.exit_code == 0 and "not computed again" not in again.stdout
    assert Finding.load(tmp_path / "found" / "concept.json").settings["command"]["weights_digest"] == "other"


def test_a_picture_that_fails_loses_neither_finding_nor_table_and_is_an_error_at_the_end(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plot(_: Any) -> Any:
        raise PlotError("too small to see")

    asked = (*ON, "--probes", "concept", "--cases", "2", "--out", "found")
    found = tmp_path / "found"
    found.mkdir()
    (found / "concept.png").write_bytes(b"of another run")
    with monkeypatch.context() as patch:
        only(patch, "concept", plot=plot)
        result = run(*asked)
    assert result.exit_code == 1 and "concept: no picture. too small to see" in result.stdout
    assert "No picture of concept." in result.stderr and "did not run" not in result.stderr
    assert "leak ratio" in result.stdout
    assert sorted(path.name for path in found.iterdir()) == ["concept.csv", "concept.json", "concept_summary.csv"]
    again = run(*asked)
    assert again.exit_code == 0 and "not computed again" in again.stdout, again.output
    assert (found / "concept.png").read_bytes()[:4] == b"\x89PNG", "what was missing is made"


def test_the_finding_is_there_before_its_table_and_a_table_appears_whole(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(_: Any, path: Path, **__: Any) -> None:
        Path(path).write_text("case,", encoding="utf-8")
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_csv", half)
    run(*ON, "--probes", "concept", "--cases", "2", "--out", "found")
    assert [path.name for path in (tmp_path / "found").iterdir()] == ["concept.json"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data", "typo.json"), "typo.json"),
        (("--layers", "1,99"), "layer 99 does not exist"),
        (("--probes", "concept,hops", "--layers", "1"), "--layers is for layers, and none of them is asked for"),
        (("--probes", "concept", "--data", "records.json"), "--data is for layers and prefixes, and none of them"),
    ],
)
def test_what_cannot_be_is_told_before_the_first_probe_runs(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], message: str
) -> None:
    for probe in PROBES.values():
        monkeypatch.setitem(PROBES, probe.name, replace(probe, find=lambda *_, **__: 1 / 0))  # pyright: ignore[reportArgumentType]
    result = run(*ON, *options, "--out", "found")
    assert result.exit_code == 1 and message in result.stderr, result.output
    assert not (tmp_path / "found").exists()


def test_layers_without_moments_are_told_before_the_first_probe_runs(
    run: Run, tmp_path: Path, moments_file: Path
) -> None:
    result = run(
        *("study", "limits", "--model", MODEL, "--layer", "1", "--moments", moments_file, "--probes", "layers"),
        *("--data", "records.json", "--layers", "1,2", "--out", "found"),
    )
    assert result.exit_code == 1 and "no second moments of layer 2, but of layer 1." in result.stderr, result.output
    assert not (tmp_path / "found").exists()


def test_a_probe_that_fails_is_an_error_at_the_end_and_one_without_inputs_only_if_it_was_asked_for(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        only(patch, "concept", "layers")
        result = run(*ON, "--cases", "2")
        assert result.exit_code == 0 and "layers: not run" in result.stdout, result.output
        assert run(*ON, "--cases", "2", "--probes", "concept,layers").exit_code == 1
        only(patch, "concept", "layers", "hops")
        left = sys.modules["lens_rome.cli.study_limits"].PROBES
        patch.setitem(left, "hops", replace(PROBES["hops"], find=broken("no edit today")))
        result = run(*ON, "--cases", "2", "--out", "found")
        assert result.exit_code == 1 and "hops: not run. no edit today" in result.stdout, result.output
        assert "1 of 3 probes did not run: hops. See above" in result.stderr
    assert (tmp_path / "found" / "concept.json").is_file()
