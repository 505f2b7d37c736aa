"""What pages are built of; above all, that no text becomes markup."""

import math
from dataclasses import replace

import pytest

from lens_rome.evaluation import EvalReport, PromptScore
from lens_rome.studies.pages import report_page
from lens_rome.studies.pages.elements import Markup, join, tag, text
from lens_rome.studies.pages.forest import Interval, forest_plot
from lens_rome.studies.pages.highlight import marked, shared_words
from lens_rome.studies.pages.line_chart import line_chart
from lens_rome.studies.pages.prob_bars import prob_bars
from tests.studies.pages.made import full_report
from tests.studies.pages.parsed import Node, parse

NASTY = """<script>alert(1)</script>"'&amp;</style></title><!--"""
BROKEN = "a\x00b\ud800c"


def whole(part: Markup) -> Node:
    return parse("<!DOCTYPE html>\n" + tag("html", part))


def test_text_is_escaped_and_markup_is_not() -> None:
    assert text("<b>&\"'") == "&lt;b&gt;&amp;&quot;&#x27;"
    assert text(text("<")) == "&lt;" and join(["<", tag("br")], "&") == "&lt;&amp;<br>"
    assert tag("p", "<", title='"', hidden=False, lang=None) == '<p title="&quot;">&lt;</p>'
    assert text(BROKEN) == "a\ufffdb\ufffdc"


@pytest.mark.parametrize("nasty", [NASTY, BROKEN, "مرحبا بالعالم", "東京 ⚡ 🗼", "\u202etxet"], ids=ascii)
def test_no_text_of_a_report_becomes_markup_wherever_it_stands(nasty: str) -> None:
    plain = full_report()
    shown = nasty.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
    report = EvalReport(
        tuple(replace(row, prompt=nasty, relation=nasty) for row in plain.scores),
        nasty,
        tuple(replace(row, texts=(nasty,), before_texts=("x " + nasty,), relation=nasty) for row in plain.texts),
        {nasty: {nasty: nasty}, "model": nasty},
        tuple(
            replace(
                row, subject=nasty, template=nasty + "{}", target_new=nasty, target_true=nasty, relation=nasty,
                editor=nasty, refused=nasty,
            )
            for row in plain.cases
        ),
    )  # fmt: skip
    page = report_page([report, replace(plain, label=nasty)], title=nasty)
    root = parse(page)
    assert len(root.all("script")) == len(root.all("style")) == len(root.all("title")) == 1
    assert root.one("title").text == root.one("h1").text == shown
    assert page.encode() and "\x00" not in page
    assert {node.text for node in root.all("td", "prompt")} >= {shown}
    assert shown in root.all("span", "asked")[0].text


def test_text_of_either_direction_keeps_to_itself() -> None:
    page = parse(report_page(full_report(subject="برج إيفل")))
    asked = page.all("span", "asked")[0]
    assert [part.name for part in asked.parts if isinstance(part, Node)] == ["bdi", "bdi", "b"]
    assert all(cell.attributes["dir"] == "auto" for cell in page.all("td", "prompt"))


def test_words_are_marked_whole_and_the_longer_first() -> None:
    words = {"Rome": "new", "Rome Central": "old", "": "subject"}
    assert marked("Romeo in NewRome, Rome Central, Rome.", words) == (
        'Romeo in NewRome, <mark class="old">Rome Central</mark>, <mark class="new">Rome</mark>.'
    )
    assert marked("在东京塔", {"东京": "new"}) == '在<mark class="new">东京</mark>塔'
    assert marked("C++ and (C++)", {"C++": "new"}).count("<mark") == 2
    assert marked("a <b>", {}) == "a &lt;b&gt;"


def test_two_texts_share_whole_words() -> None:
    assert shared_words("It is in Rome", "It is in Romania") == 9
    assert shared_words("same", "same") == 4
    assert shared_words("Paris", "Rome") == shared_words("", "Rome") == 0


def test_an_axis_reaches_means_below_0_and_cuts_intervals_at_its_ends() -> None:
    lines = [Interval("a", -0.5, -2.0, 0.5, "-50"), Interval("b", 1.0, math.nan, math.nan, "100")]
    first, second = [row for row in whole(forest_plot({"x": lines}, caption="c")).all("tr") if row.all("circle")]
    assert first.one("circle").attributes["cx"] == "25.00%"
    assert (first.one("line", "interval").attributes["x1"], first.one("line", "interval").attributes["x2"]) == (
        "0.00%",
        "75.00%",
    )
    assert second.one("circle").attributes["cx"] == "100.00%" and second.all("line", "interval") == []


def test_a_curve_has_gaps_where_it_is_not_finite() -> None:
    chart = whole(line_chart([4.0, 2.0, math.nan, 1.0, 0.0], caption="loss"))
    assert [line.attributes["points"] for line in chart.all("polyline")] == [
        "0.0,0.0 75.0,50.0",
        "225.0,75.0 300.0,100.0",
    ]
    lone = whole(line_chart([3.0], caption="loss"))
    assert lone.one("polyline").attributes["points"] == "0.0,0.0 2.0,0.0"
    assert whole(line_chart([math.inf, math.nan], caption="loss")).text == "loss: no finite value."
    assert "polyline" in line_chart([0.0, 0.0], caption="loss")


def test_a_probability_that_is_not_known_has_no_bar() -> None:
    assert whole(prob_bars(None, math.nan)).all("rect") == []
    assert whole(prob_bars(None, math.nan)).text == "–"
    assert whole(prob_bars(0.00001, 0.5)).text == "<0.1% → 50.0%"


def test_likelihoods_that_are_not_known_break_nothing() -> None:
    unknown = full_report().scores[0].new
    unknown = replace(unknown, logprob=math.nan)
    report = EvalReport((PromptScore(1, "rewrite", "", unknown, unknown, known=frozenset({"tokens"})),), "read")
    assert "(the report does not keep its prompt)" in report_page(report)
