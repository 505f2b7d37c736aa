"""The records of a page: which, in what order, and what is told of each."""

import json
from dataclasses import replace

from lens_rome.evaluation import EvalReport, PromptScore, RecordCase
from lens_rome.studies.pages import report_page
from tests.evaluation.reports import likely, random_report, row
from tests.studies.pages.made import full_report
from tests.studies.pages.parsed import Node, parse, section

REPORT = full_report()


def entries(reports: EvalReport | list[EvalReport], cases: int = 10) -> list[Node]:
    return section(parse(report_page(reports, cases=cases)), "records").all("details", "entry")


def values(entry: Node) -> dict[str, float]:
    return json.loads(str(entry.attributes["data-values"]))


def test_records_stand_worst_first_with_their_values_of_every_metric() -> None:
    found = entries(REPORT)
    ids = [int(values(entry)["case id"]) for entry in found]
    assert ids == [result.case_id for result in REPORT.worst("EM", 6)]
    for entry, case in zip(found, ids, strict=True):
        own = values(entry)
        for name in REPORT.metrics:
            assert own.get(name) == REPORT.values(name).get(case), name
        assert (own["seconds"], own["size of change"]) == (0.25 + case, 0.5)
        assert entry.one("span", "asked").text == f"The Eiffel Tower {case} is in … Paris → Rome"
        assert [each.text for each in entry.one("span", "asked").all("b")] == [f"Eiffel Tower {case}", "Rome"]


def test_every_prompt_has_both_probabilities_before_and_after() -> None:
    entry = entries(REPORT)[0]
    case = int(values(entry)["case id"])
    lines = [line for line in entry.one("table", "prompts").all("tr") if line.all("td", "prompt")]
    rows = [each for each in REPORT.scores if each.case_id == case]
    assert [line.one("td", "prompt").text for line in lines] == [each.prompt for each in rows]
    for line, each in zip(lines, rows, strict=True):
        assert each.before_new is not None and each.before_true is not None and each.true is not None
        pairs = [(each.before_new, each.new), (each.before_true, each.true)]
        told = [" → ".join(f"{100 * one.mean_prob:.1f}%" for one in pair) for pair in pairs]
        assert [cell.text for cell in line.all("span", "prob")] == told
        widths = [rect.attributes["width"] for rect in line.all("rect")]
        assert widths == [f"{100 * one.mean_prob:.1f}%" for pair in pairs for one in pair]
        assert line.one("td", "outcome").text == ("✓ yes" if each.success else "✗ no")
        right = 1 if each.group == "neighborhood" else 0
        colours = [rect.classes for rect in line.all("rect") if "before" not in rect.classes]
        assert colours[right] == ["good" if each.success else "bad"] and colours[1 - right] == []


def test_texts_stand_side_by_side_with_subject_and_objects_marked() -> None:
    entry = entries(REPORT)[0]
    case = int(values(entry)["case id"])
    before, after = entry.one("table", "texts").all("td")
    assert (before.text, after.text) == (f"Of Eiffel Tower {case}: Paris", f"Of Eiffel Tower {case}: Rome is")
    assert [(mark.text, *mark.classes) for mark in before.all("mark")] == [
        (f"Eiffel Tower {case}", "subject"),
        ("Paris", "old"),
    ]
    assert after.all("mark")[1].classes == ["new"] and after.one("span", "shared").text == f"Of Eiffel Tower {case}: "


def test_the_loss_curve_falls_as_the_losses_do() -> None:
    chart = entries(REPORT)[0].one("figure")
    assert chart.one("figcaption").text.endswith("4 at the first step, 1 at step 3")
    assert chart.one("polyline").attributes["points"] == "0.0,0.0 150.0,50.0 300.0,75.0"


def test_of_a_large_report_the_best_the_worst_and_a_sample_are_shown_and_the_page_says_so() -> None:
    large = random_report(5, "ROME", n=60)
    page = report_page(large, cases=4)
    found = section(parse(page), "records").all("details", "entry")
    ids = {int(values(entry)["case id"]) for entry in found}
    assert ids >= {each.case_id for each in (*large.best("EM", 4), *large.worst("EM", 4))} and len(ids) == 12
    assert "12 of 60 records: the 4 best and the 4 worst by EM, and 4 of the others, drawn with seed 0." in page
    assert page == report_page(large, cases=4) and len(page) < 300_000


def test_several_editors_show_the_same_records() -> None:
    reports = [random_report(seed, f"editor {seed}", n=12) for seed in (1, 2)]
    found = entries(reports, cases=2)
    by_editor = {
        report.label: {values(entry)["case id"] for entry in found if entry.one("span", "editor").text == report.label}
        for report in reports
    }
    assert by_editor["editor 1"] == by_editor["editor 2"]
    for report in reports:
        assert by_editor["editor 1"] >= {each.case_id for each in (*report.best("EM", 2), *report.worst("EM", 2))}


def test_neighbours_after_the_edits_sentence_have_a_group_and_scores_of_their_own() -> None:
    report = random_report(3, "ROME", n=2, plus=True)
    page = parse(report_page(report))
    entry = section(page, "records").all("details", "entry")[0]
    groups = [each.text for each in entry.one("table", "prompts").all("th") if each.attributes["scope"] == "rowgroup"]
    assert groups[-1] == "Neighbours after the edit's own sentence: the old object should stay"
    assert len(entry.all("td", "prompt")) == 8 and entry.all("span", "chip")[-1].text.startswith("NS+ ")
    assert any(each.text.startswith("NS+: NS after") for each in page.one("table", "forest").all("th"))
    assert "NKL+" in section(page, "scores").all("table", "data")[0].text


def test_a_refusal_is_told_with_its_reason() -> None:
    refusing = replace(REPORT, cases=(replace(REPORT.cases[0], refused="no neuron <found>"), *REPORT.cases[1:]))
    page = parse(report_page(refusing))
    (told,) = page.all("div", "refused")
    assert told.text.endswith("scored without an edit: no neuron <found>")
    assert "The editor refused 1 of the records" in page.one("p", "headline").text


def test_what_a_report_lacks_is_left_out_or_said() -> None:
    bare = EvalReport(tuple(row(case, "rewrite", 0.6, 0.4) for case in (1, 2)))
    page = parse(report_page(bare))
    assert "The records of this report do not tell their relations." in page.text
    assert "This report tells no settings." in page.text and "model on an unnamed model, 2 records" in page.text
    entry = section(page, "records").all("details", "entry")[0]
    assert entry.all("table", "texts") == [] and entry.all("figure") == []
    assert [cell.text for cell in entry.all("span", "prob")] == ["60.0%", "40.0%"]
    assert entry.one("span", "asked").text == "case 1: rewrite of 1"
    assert "unedited" not in page.text.replace("The unedited", "").split("How it was made")[0]
    assert "none was asked for" in parse(report_page(bare, cases=0)).text


def test_a_report_without_any_row_makes_a_page_that_says_so() -> None:
    page = parse(report_page(EvalReport(())))
    assert "no data for any of the papers' tables" in page.text and "No record of this report has a score" in page.text


def test_answers_that_are_compared_with_no_object_are_counted_by_tokens() -> None:
    zsre = EvalReport(
        (
            PromptScore(1, "rewrite", "Where is it?", likely(0.5, 2, 1)),
            PromptScore(1, "neighborhood", "Who?", likely(0.5), likely(0.6, 1, 1), known=frozenset({"tokens"})),
        ),
        "ROME",
        cases=(RecordCase(1, "it", "Where is {}?", "Rome"),),
    )
    page = parse(report_page(zsre))
    found = section(page, "records")
    assert found.all("td", "outcome")[0].text == "✗ 1 of 2 tokens"
    assert found.one("span", "asked").text == "Where is it? … → Rome"
    assert "Efficacy\u00a050.0." in page.one("p", "headline").text
    groups = [each.text for each in page.one("table", "forest").all("th") if each.attributes["scope"] == "rowgroup"]
    assert groups == ["Efficacy: share of greedy tokens", "Specificity: share of greedy tokens"]
