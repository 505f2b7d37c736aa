"""`lens-rome report`: from saved reports to a page, without a model."""

from pathlib import Path

import pytest

from lens_rome.cli import models
from lens_rome.studies.pages import report_page
from tests.cli.conftest import Run
from tests.studies.pages.made import full_report

ONE, TWO = full_report(1, "[ROME]"), full_report(2, "MEMIT")


def test_a_page_is_written_beside_a_file_or_into_a_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "load_model", None)
    (tmp_path / "some").mkdir()
    ONE.save("some/one.jsonl")
    result = run("report", "some/one.jsonl")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [str(ONE), "some/report.html: open it in a browser"]
    assert Path("some/report.html").read_text(encoding="utf-8") == report_page(ONE)
    ONE.save("folder")
    assert run("report", "folder").exit_code == 0
    assert Path("folder/report.html").read_text(encoding="utf-8") == report_page(ONE)


def test_several_reports_make_one_page_under_a_title(run: Run) -> None:
    files = [each.save(f"{number}.jsonl") for number, each in enumerate((ONE, TWO))]
    result = run("report", *files, "--out", "both.html", "--cases", 1, "--title", "A <title>")
    assert result.exit_code == 0, result.output
    assert Path("both.html").read_text(encoding="utf-8") == report_page([ONE, TWO], title="A <title>", cases=1)
    assert run("report", *files, "--out", "both.html").exit_code == 0  # its own page is replaced


BAD = {
    "nothing there": (("none.jsonl",), "there is no none.jsonl. Name a report that EvalReport.save wrote"),
    "no report": (("notes.html",), "notes.html is not a complete report"),
    "a folder without a report": (("empty",), "is not a complete report"),
    "a foreign file": (("one.jsonl", "--out", "notes.html"), "is not replaced. Take another name."),
    "no folder": (("one.jsonl", "--out", "none/x.html"), "the folder none does not exist. Create it first."),
    "cases": (("one.jsonl", "--cases", "-1"), "a page shows a whole number of cases from 0, got -1."),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_in_one_clear_line(run: Run, name: str) -> None:
    args, advice = BAD[name]
    ONE.save("one.jsonl")
    Path("notes.html").write_text("mine")
    Path("empty").mkdir()
    result = run("report", *args)
    assert result.exit_code == 1, result.output
    assert advice in result.stderr and result.stderr.count("\n") == 1 and "Traceback" not in result.output
    assert Path("notes.html").read_text() == "mine" and not Path("report.html").exists()
