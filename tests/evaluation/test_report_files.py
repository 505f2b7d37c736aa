"""Reports come back from their files exactly, and damaged files are refused."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from lens_rome.errors import FileFormatError
from lens_rome.evaluation import EvalReport, Likelihood, PromptScore, RecordCase, RecordTexts, ReportError
from tests.evaluation.reports import random_report

REPORT = random_report(0, "ROME, “Köln”", plus=True)


def test_a_report_comes_back_exactly(tmp_path: Path) -> None:
    path = REPORT.save(tmp_path / "rome.jsonl")
    found = EvalReport.load(path)
    assert found == REPORT and found.summary() == REPORT.summary()
    assert [each.name for each in tmp_path.iterdir()] == ["rome.jsonl"]


def test_a_folder_holds_the_report_and_its_tables(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    folder = REPORT.save(tmp_path / "run")
    assert EvalReport.load(folder) == EvalReport.load(folder / "report.jsonl") == REPORT
    prompts, records = (pd.read_parquet(folder / f"{name}.parquet") for name in ("prompts", "records"))
    pd.testing.assert_frame_equal(prompts, REPORT.to_dataframe(), check_dtype=False)
    pd.testing.assert_frame_equal(records, REPORT.to_record_dataframe(), check_dtype=False)
    assert replace(REPORT, label="again").save(folder) == folder and EvalReport.load(folder).label == "again"


def test_without_pyarrow_there_are_no_tables_and_no_stale_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "prompts.parquet").write_bytes(b"of another report")
    monkeypatch.setattr("lens_rome.evaluation.report_files.find_spec", lambda _: None)
    REPORT.save(folder)
    assert [each.name for each in folder.iterdir()] == ["report.jsonl"] and EvalReport.load(folder) == REPORT


def test_numbers_that_are_not_finite_and_rows_that_know_little_come_back(tmp_path: Path) -> None:
    row = PromptScore(1, "rewrite", "", Likelihood(-math.inf, 2, 0), known=frozenset({"nll"}))
    case = RecordCase(
        1, "Köln", "{} lies in", "Rome", editor="ROME", seconds=0.5, change=math.inf, losses=(2.0, math.inf)
    )
    refused = RecordCase(2, "Bonn", "{} lies in", "Rome", "Germany", "P17", "ROME", refused="no neuron")
    report = EvalReport((row,), "", (RecordTexts(1, perplexity=math.inf),), cases=(case, refused))
    found = EvalReport.load(report.save(tmp_path / "report.jsonl"))
    assert found == report
    nan = EvalReport((replace(row, new=Likelihood(math.nan, 1, 0)),)).save(tmp_path / "nan.jsonl")
    assert math.isnan(EvalReport.load(nan).scores[0].new.logprob)
    assert EvalReport.load(EvalReport(()).save(tmp_path / "empty.jsonl")) == EvalReport(())


def test_every_line_is_strict_json_and_the_first_tells_how_the_report_was_made(tmp_path: Path) -> None:
    def strict(text: str) -> float:
        raise AssertionError(text)

    report = EvalReport((PromptScore(1, "rewrite", "", Likelihood(math.nan, 1, 0)),), "x", settings={"seed": 1})
    lines = report.save(tmp_path / "report.jsonl").read_text().splitlines()
    head, _, end = (json.loads(line, parse_constant=strict) for line in lines)
    assert head == {"kind": "evaluation", "format_version": 1, "label": "x", "settings": {"seed": 1}}
    assert end["rows"] == 1


@pytest.mark.parametrize("place", [0, 3, -1])
def test_a_file_that_was_cut_or_changed_is_refused(tmp_path: Path, place: int) -> None:
    path = REPORT.save(tmp_path / "report.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    for damaged in (
        lines[:place],
        lines[:place] + lines[place:][1:],
        [*lines[:place], lines[place].replace(b"0", b"1", 1), *lines[place:][1:]],
        [*lines[:place], lines[place][:-5]],
    ):
        path.write_bytes(b"".join(damaged))
        with pytest.raises(
            FileFormatError, match=r"is not a complete report.*Take another copy|expected an 'evaluation'"
        ):
            EvalReport.load(path)


def test_files_of_another_kind_or_a_newer_format_are_refused(tmp_path: Path) -> None:
    path = REPORT.save(tmp_path / "report.jsonl")
    text = path.read_text()
    for old, new in (('"evaluation"', '"sequence"'), ('"format_version": 1', '"format_version": 99')):
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(FileFormatError, match="expected an 'evaluation' of version 1 at most"):
            EvalReport.load(path)
    for content in ("", "[1]\n[2]\n", "not JSON\n{}\n", '{"a": 1}\n'):
        path.write_text(content)
        with pytest.raises(FileFormatError, match="is not a complete report"):
            EvalReport.load(path)
    with pytest.raises(FileFormatError, match=r"there is no .*nothing\.jsonl\. Name a report"):
        EvalReport.load(tmp_path / "nothing.jsonl")


def test_an_interrupted_save_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = REPORT.save(tmp_path / "report.jsonl")

    def full(*_: object) -> None:
        raise OSError("no space left on the device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="no space left"):
        replace(REPORT, label="new").save(path)
    assert EvalReport.load(path) == REPORT and len(list(tmp_path.iterdir())) == 1


def test_places_where_no_report_can_lie_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"saved to a folder or to a file \*.jsonl, got .*report.csv"):
        REPORT.save(tmp_path / "report.csv")
    for name in ("run", "report.jsonl"):
        with pytest.raises(FileFormatError, match=r"does not exist\. Create it first"):
            REPORT.save(tmp_path / "missing" / name)
