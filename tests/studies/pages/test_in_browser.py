"""The page in a browser: it opens without a word on the console, and its controls do what they say."""

import json
from pathlib import Path
from typing import Any

import pytest

from lens_rome.studies.pages import report_page
from tests.studies.pages.browser import open_page, with_script
from tests.studies.pages.made import full_report

REPORTS = [full_report(1, "ROME"), full_report(2, "MEMIT")]

DRIVE = """
const found = {};
const list = document.querySelector(".filter-list");
const set = (name, value) => {
  const control = list.querySelector(`[data-control=${name}]`);
  control.value = value;
  control.dispatchEvent(new Event("input"));
};
const shown = () => [...list.querySelectorAll(".entry")].filter((each) => each.checkVisibility()).map((each) => [
  each.querySelector(".chip.editor").textContent, JSON.parse(each.dataset.values)["case id"],
]);
const told = () => list.querySelector("output").textContent;
const seen = (name) => { found[name] = [told(), shown()]; };
seen("first");
set("search", "eiffel TOWER 12");
seen("search");
set("search", "");
set("editor", "MEMIT");
set("relation", "P1");
seen("filters");
set("order", "PM");
seen("worst PM");
set("direction", "best");
seen("best PM");
set("order", "seconds");
seen("fastest");
const table = document.querySelector("table.sortable");
const column = (place) => [...table.tBodies[0].rows].map((row) => row.cells[place].textContent);
const click = (place) => table.querySelectorAll("thead button")[place].click();
click(3); found.up = column(3);
click(3); found.down = column(3);
click(1); found.names = column(1);
found.sorted = [...table.querySelectorAll("th[aria-sort]")].map((each) => [each.textContent, each.ariaSort]);
window.dispatchEvent(new Event("beforeprint"));
found.closedInPrint = document.querySelectorAll("details:not([open])").length;
window.dispatchEvent(new Event("afterprint"));
found.openAfterwards = document.querySelectorAll("details[open]").length;
found.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
document.body.append(Object.assign(document.createElement("pre"), {id: "found", textContent: JSON.stringify(found)}));
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a reader finds after each step of DRIVE."""
    opened = open_page(with_script(report_page(REPORTS), DRIVE), tmp_path_factory.mktemp("driven"))
    assert opened.console == []
    return json.loads(opened.page.all("pre")[-1].text)


def ranked(name: str, *, worst: bool, relation: str = "") -> list[list[Any]]:
    """Editors and records by a metric."""
    values = {
        (report.label, case): value
        for report in REPORTS
        for case, value in report.values(name).items()
        if relation in ("", f"P{case % 2}")
    }
    return [list(each) for each in sorted(values, key=lambda each: values[each] if worst else -values[each])]


def test_the_page_opens_without_a_word_on_the_console(tmp_path: Path) -> None:
    opened = open_page(report_page(REPORTS), tmp_path)
    assert opened.console == []
    assert len(opened.page.all("details", "entry")) == 12


def test_a_script_that_is_not_the_pages_own_does_not_run(tmp_path: Path) -> None:
    opened = open_page(with_script(report_page(REPORTS[0]), "document.title = 'mine'", policy=True), tmp_path)
    assert opened.page.one("title").text == "ROME on gpt2-xl"
    assert len(opened.console) == 1 and "Content Security Policy" in opened.console[0]


def test_records_can_be_searched(found: dict[str, Any]) -> None:
    assert found["first"] == ["12 shown", ranked("EM", worst=True)]
    told, shown = found["search"]
    assert told == "2 of 12 shown" and sorted(shown) == [["MEMIT", 12], ["ROME", 12]]


def test_records_can_be_filtered_and_sorted(found: dict[str, Any]) -> None:
    def of_memit(rows: list[list[Any]]) -> list[list[Any]]:
        return [row for row in rows if row[0] == "MEMIT"]

    assert found["filters"] == ["3 of 12 shown", of_memit(ranked("EM", worst=True, relation="P1"))]
    assert found["worst PM"][1] == of_memit(ranked("PM", worst=True, relation="P1"))
    assert found["best PM"][1] == of_memit(ranked("PM", worst=False, relation="P1"))
    assert found["fastest"][1] == [["MEMIT", 11], ["MEMIT", 13], ["MEMIT", 15]]


def test_a_table_is_sorted_by_the_head_that_is_clicked(found: dict[str, Any]) -> None:
    scores = [report.breakdown()[name].score("S") for report in REPORTS for name in ("P0", "P1")]
    up = [str(score) for score in sorted(scores, key=lambda score: score.mean)]
    assert found["up"] == up and found["down"] == up[::-1]
    assert found["names"] == ["MEMIT", "MEMIT", "ROME", "ROME"]
    assert found["sorted"] == [["editor", "ascending"]]


def test_everything_is_open_in_print_and_closed_again(found: dict[str, Any]) -> None:
    assert (found["closedInPrint"], found["openAfterwards"]) == (0, 0)


def test_the_page_itself_does_not_scroll_sideways(found: dict[str, Any]) -> None:
    assert found["wide"] == 0
