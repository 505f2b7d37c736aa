"""The page says what the report says, in one file that asks nobody for anything."""

import base64
import hashlib
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from lens_rome.errors import FileFormatError
from lens_rome.evaluation import METRICS, EvalReport, ReportError, Score
from lens_rome.studies.pages import report_page, save_report_page
from tests.evaluation.reports import random_report
from tests.studies.pages.made import full_report
from tests.studies.pages.parsed import Node, parse, section

REPORT, OTHER = full_report(), full_report(2, "MEMIT")
PAGE = report_page(REPORT)
BOTH = report_page([REPORT, OTHER])


def table(page: Node, caption: str) -> list[list[str]]:
    (found,) = [each for each in page.all("table") if caption in "".join(c.text for c in each.all("caption"))]
    return found.cells


def in_brackets(score: Score) -> str:
    width = "" if math.isnan(score.half_width) else f" ({score.scale * score.half_width:.1f})"
    return f"{score.scale * score.mean:.1f}{width}"


def with_width(score: Score) -> str:
    """Perplexity and nats are not in percent, and have three digits."""
    return str(score) if score.scale > 1 else f"{score.mean:.3g} ± {score.half_width:.3g}"


@pytest.mark.parametrize("text", [PAGE, BOTH], ids=["one", "several"])
def test_a_page_is_one_file_without_a_single_address(text: str) -> None:
    page = parse(text)
    assert not re.search("https?:|//[a-z]|@import|url\\(", text)
    asking = {"src", "href", "srcset", "action", "data", "poster", "background"}
    assert [node.name for node in page.walk() if asking & node.attributes.keys()] == []
    assert {node.name for node in page.walk()} & {"link", "img", "iframe", "object", "embed", "base", "form"} == set()
    assert [name for node in page.walk() for name in node.attributes if name.startswith("on") or name == "style"] == []


def test_the_policy_allows_the_pages_own_script_and_style_alone() -> None:
    page = parse(PAGE)
    (policy,) = [each for each in page.all("meta") if each.attributes.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in str(policy.attributes["content"]).split("; "))
    assert rules["default-src"] == "'none'"
    for name, rule in (("script", "script-src"), ("style", "style-src")):
        digest = hashlib.sha256(page.one(name).text.encode()).digest()
        assert rules[rule] == f"'sha256-{base64.b64encode(digest).decode()}'"


def test_the_table_has_the_scores_of_the_report_and_of_the_unedited_model() -> None:
    names = ["S", "ES", "EM", "PS", "PM", "NS", "NM", "GE", "RS"]
    _, heads, unedited, own, *published = table(parse(PAGE), "as the papers print them")
    assert heads == ["editor", "records", *names]
    assert own == ["ROME", "6", *(in_brackets(REPORT.score(name)) for name in names)]
    assert unedited == ["unedited", "6", *(in_brackets(REPORT.score(name, before=True)) for name in names)]
    assert ["ROME (published)", "7,500", "89.2"] in [row[:3] for row in published]  # the model is gpt2-xl


def test_every_metric_is_told_with_its_source() -> None:
    heads, *rows = table(parse(BOTH), "Every metric")
    assert heads == ["metric", "what it is", "source", "unedited", "ROME", "MEMIT"]
    assert [row[0] for row in rows] == [name for name in REPORT.metrics if REPORT.score(name).n]
    for name, title, source, unedited, *own in rows:
        assert (title, source) == (METRICS[name].title, METRICS[name].source)
        before = REPORT.score(name, before=True)
        assert unedited == (with_width(before) if before.n else "–")
        assert own == [with_width(REPORT.score(name)), with_width(OTHER.score(name))]


def test_the_forest_plot_draws_means_and_intervals_where_they_are() -> None:
    forest = parse(PAGE).one("table", "forest")
    lines = [row for row in forest.all("tr") if row.all("circle")]
    assert len(lines) == 8
    for row, (name, before) in zip(
        lines, [(n, b) for n in ("S", "ES", "PS", "NS") for b in (True, False)], strict=True
    ):
        score = REPORT.score(name, before=before)
        low, high = (min(max(end, 0), 1) for end in score.interval)
        assert row.one("circle").attributes["cx"] == f"{100 * score.mean:.2f}%"
        interval = row.one("line", "interval").attributes
        assert (interval["x1"], interval["x2"]) == (f"{100 * low:.2f}%", f"{100 * high:.2f}%")
        assert row.one("td", "number").text == str(score)
        assert ("muted" in row.classes) is before


@pytest.mark.parametrize("reports", [[REPORT], [REPORT, OTHER]], ids=["one", "several"])
def test_every_relation_has_its_scores(reports: list[EvalReport]) -> None:
    heads, *rows = table(parse(report_page(reports)), "by relation")
    editor = [["ROME"], ["MEMIT"]] if len(reports) > 1 else [[]]
    assert heads == ["relation", *(["editor"] * (len(reports) > 1)), "records", "S", "ES", "PS", "NS"]
    assert rows == [
        [name, *own, "3", *(str(part.score(each)) for each in ("S", "ES", "PS", "NS"))]
        for name in ("P0", "P1")
        for own, part in zip(editor, [report.breakdown()[name] for report in reports], strict=True)
    ]


def test_differences_are_paired_and_those_apart_from_0_are_bold() -> None:
    better = replace(
        OTHER, scores=tuple(replace(row, new=row.true, true=row.new) if row.success else row for row in OTHER.scores)
    )
    page = report_page([REPORT, better])
    heads, *rows = table(parse(page), "Paired differences")
    assert heads == ["metric", "MEMIT minus ROME, 6 records"]
    found = better.compare(REPORT).differences
    for name, cell in rows:
        score = found[name].difference
        low, high = score.interval
        scale = METRICS[name].scale
        digits = "+.1f" if scale > 1 else "+.3g"
        assert cell == f"{scale * score.mean:{digits}} ({scale * low:{digits}} to {scale * high:{digits}})"
        assert (f"<b>{cell}</b>" in page) is (low > 0 or high < 0), name
    assert {low > 0 or high < 0 for low, high in (each.difference.interval for each in found.values())} == {True, False}


def test_the_headline_names_model_editor_records_and_s_with_its_interval() -> None:
    (told,) = parse(PAGE).all("p", "headline")
    score, before = REPORT.score("S"), REPORT.score("S", before=True)
    low, high = score.interval
    assert told.text.startswith(
        f"ROME on gpt2-xl, 6 records: S\u00a0{100 * score.mean:.1f} (95% interval {100 * low:.1f} to "
        f"{100 * high:.1f}; unedited {100 * before.mean:.1f}). The new object is likelier than the old one after "
        f"{100 * REPORT.efficacy.mean:.1f}% of"
    )


def test_the_same_report_gives_the_same_bytes_also_when_it_was_saved_and_read(tmp_path: Path) -> None:
    again = [EvalReport.load(each.save(tmp_path / f"{each.label}.jsonl")) for each in (REPORT, OTHER)]
    assert report_page(again) == BOTH
    assert not re.search(r"20[2-9]\d-\d\d", BOTH)


def test_a_page_is_written_whole_and_replaces_an_older_page_but_nothing_else(tmp_path: Path) -> None:
    path = save_report_page(EvalReport(()), tmp_path / "report.html")
    save_report_page([REPORT, OTHER], path)
    assert path.read_text(encoding="utf-8") == BOTH and list(tmp_path.iterdir()) == [path]
    other = tmp_path / "notes.html"
    other.write_text("<html>mine</html>")
    with pytest.raises(FileFormatError, match="not a page that lens_rome wrote, so it is not replaced"):
        save_report_page(EvalReport(()), other)
    assert other.read_text() == "<html>mine</html>"


def test_a_page_needs_a_report_and_no_fewer_than_no_cases() -> None:
    with pytest.raises(ReportError, match="a page needs a report at least"):
        report_page([])
    with pytest.raises(ReportError, match="whole number of cases from 0, got -1"):
        report_page(REPORT, cases=-1)


def test_settings_are_all_there_with_dots_between_names() -> None:
    settings = {"edits": [{"editor": "ROME", "settings": {"layer": 5, "steps": [1, 2]}}], "seed": None, "before": True}
    page = parse(report_page(replace(REPORT, settings=settings)))
    pairs = {each.one("dt").text: each.one("dd").text for each in page.one("dl", "settings").all("div")}
    assert pairs == {
        "edits.1.editor": "ROME",
        "edits.1.settings.layer": "5",
        "edits.1.settings.steps": "1, 2",
        "seed": "not set",
        "before": "yes",
    }


def test_reports_of_one_name_are_told_apart() -> None:
    page = parse(report_page([REPORT, random_report(3, "ROME")]))
    assert [row[0] for row in table(page, "as the papers print them")[2:5]] == ["unedited", "ROME (1)", "ROME (2)"]
    assert {entry.one("span", "editor").text for entry in section(page, "records").all("details")} == {
        "ROME (1)",
        "ROME (2)",
    }
