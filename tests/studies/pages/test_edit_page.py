"""The page about one edit says what its story says, in one file that asks nobody for anything."""

import base64
import hashlib
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from lens_rome.errors import FileFormatError
from lens_rome.facts import EditRequest
from lens_rome.studies.one_edit import EditStory, Question, Written
from lens_rome.studies.pages import edit_page, save_edit_page
from lens_rome.studies.pages.forest import Interval, forest_plot
from lens_rome.studies.pages.heat_map import HeatRow, heat_legend, heat_map
from lens_rome.studies.probes import Answer, Finding, Missing
from lens_rome.studies.probes.intervals import wilson
from tests.studies.one_edit.made import FINDINGS, NEW, OLD, REPLIES, TOKENS, made_edit, made_story, made_trace, reply
from tests.studies.pages.parsed import Node, parse, section
from tests.studies.pages.test_page_parts import BROKEN, NASTY, whole

STORY = made_story()
TEXT = edit_page(STORY)
PAGE = parse(TEXT)


def lead(page: Node, name: str) -> str:
    return section(page, name).all("p", "lead")[0].text


def table_of(page: Node, prompt: str) -> list[str]:
    """The cells of the row about a prompt."""
    (row,) = [row for row in page.all("tr") if any(cell.text == prompt for cell in row.all("td", "prompt"))]
    return [cell.text for cell in row.all("td")]


def test_a_page_is_one_file_without_a_single_address() -> None:
    assert not re.search("https?:|//[a-z]|@import|url\\(", TEXT)
    asking = {"src", "href", "srcset", "action", "data", "poster", "background"}
    assert [node.name for node in PAGE.walk() if asking & node.attributes.keys()] == []
    assert {node.name for node in PAGE.walk()} & {"link", "img", "iframe", "object", "embed", "base", "form"} == set()
    assert [name for node in PAGE.walk() for name in node.attributes if name.startswith("on") or name == "style"] == []


def test_the_policy_allows_the_pages_own_script_and_style_alone() -> None:
    (policy,) = [each for each in PAGE.all("meta") if each.attributes.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in str(policy.attributes["content"]).split("; "))
    assert rules["default-src"] == "'none'"
    for name, rule in (("script", "script-src"), ("style", "style-src")):
        digest = hashlib.sha256(PAGE.one(name).text.encode()).digest()
        assert rules[rule] == f"'sha256-{base64.b64encode(digest).decode()}'"


def test_the_story_is_told_in_order() -> None:
    assert [node.attributes["id"] for node in PAGE.all("section")] == [
        "where", "written", "changed", "kept", "leaked", "settings"
    ]  # fmt: skip
    assert PAGE.one("h1").text == PAGE.one("head").one("title").text == "The Eiffel Tower is in: Paris → Rome"


def test_the_trace_is_told_with_its_interval_over_the_noise() -> None:
    trace = STORY.traces["resid"]
    shares = (trace.sample_scores[2, 3] - trace.corrupted_samples) / trace.total_effect
    half = 1.96 * float(shares.std()) / math.sqrt(3)
    mean = float(shares.mean())
    assert lead(PAGE, "where") == (
        f"The unedited model says Paris with a probability of 90.0%, and with {100 * trace.corrupted_score:.1f}% when "
        f"noise hides the subject. At the subject’s last token “Tower” no layer’s hidden state brings back more than "
        f"that of layer 2: alone {100 * mean:.0f}% of what the noise took (95% interval over the noise, for the layer "
        f"chosen by it, {100 * (mean - half):.0f} to {100 * (mean + half):.0f}%)."
    )


def test_each_cell_of_a_map_and_of_its_table_has_the_number_of_the_trace() -> None:
    where = section(PAGE, "where")
    assert [each.one("figcaption").text for each in where.all("figure", "heat-map")] == [
        "Hidden states", "MLP outputs, windows of 3 layers", "Attention outputs, windows of 3 layers"
    ]  # fmt: skip
    top = max(100 * abs(each.indirect_effects.nan_to_num()).max() for each in STORY.traces.values())
    for figure, table, trace in zip(
        where.all("figure", "heat-map"), where.all("table", "data"), STORY.traces.values(), strict=True
    ):
        effects = 100 * trace.indirect_effects
        labels = ["<|endoftext|>", "The", "Eiffel", "Tower", "is", "\\n"]
        cells = [rect for rect in figure.all("rect") if rect.all("title")]
        asked = [(pos, layer) for pos in range(len(TOKENS)) for layer in range(4) if (pos, layer) != (0, 3)]
        assert len(cells) == len(asked)
        for cell, (pos, layer) in zip(cells, asked, strict=True):
            value = float(effects[layer, pos])
            assert cell.one("title").text == f"“{labels[pos]}”, layer {layer}: {value:+.3g} percentage points"
            assert float(str(cell.attributes["fill-opacity"])) == pytest.approx(abs(value) / float(top), abs=6e-4)
            assert cell.classes == ["warm" if value >= 0 else "cold"]
        assert len(figure.all("rect", "best")) == 1
        assert figure.one("svg").attributes["role"] == "img" and "total effect" in figure.one("desc").text
        assert table.cells[1:] == [
            [
                label,
                *(
                    "–" if math.isnan(v) else f"{v:.1f}".replace("-", "\N{MINUS SIGN}")
                    for v in effects[:, pos].tolist()
                ),
            ]
            for pos, label in enumerate(labels)
        ]
    assert where.one("div", "heat-legend").text.endswith(f"{top:.3g} percentage points")


def test_a_weak_trace_is_told_as_such() -> None:
    page = parse(edit_page(replace(STORY, traces={"resid": made_trace(strong=False)})))
    assert "Read nothing into the maps" in lead(page, "where")


def test_the_change_is_told_with_its_size_key_value_losses_and_diagnostics() -> None:
    written = section(PAGE, "written")
    assert lead(PAGE, "written").startswith("ROME changed W_out of layer 1 by 25% of its norm (rank 1).")
    assert "another seed than 5" in lead(PAGE, "written")
    assert (
        "at the subject’s last token, averaged over the prompt alone and with 1 context in front" in written.text
        and "in 3 steps" in written.text
    )
    assert ["W_out of layer 1", "rank 1", "6", "25%"] in [row for table in written.all("table") for row in table.cells]
    told = {row[0]: row[1] for table in written.all("table") for row in table.cells if len(row) == 3}
    assert told["prob before"] == "0.2%" and told["prob after"] == "97%" and told["key energy"] == "993"
    assert "4 at the first step, 0.25 at step 3" in written.one("figure", "line-chart").text
    assert next(each.text for each in written.all("li")) == "Some context. "


def test_rounding_is_told_where_it_loses_much() -> None:
    edit = made_edit()
    lossy = replace(edit, bases={place: replace(base, rounding=0.2) for place, base in edit.bases.items()})
    assert "rounding" not in lead(PAGE, "written")
    assert "rounding to float32 lost 20% of it" in lead(parse(edit_page(replace(STORY, edit=lossy))), "written")


def test_shares_are_told_with_wilson_s_interval_and_what_was_before() -> None:
    low, high = wilson(2, 3)[1:]
    assert lead(PAGE, "changed").startswith(
        f"Rome is likelier than Paris after 2 of 3 prompts that ask for the fact (95% interval {100 * low:.0f} to "
        f"{100 * high:.0f}%; before the edit 0). At the edited prompt Rome went from 1.0% to 95.0% and Paris from 90.0%"
    )
    assert lead(PAGE, "kept").startswith(
        "What should stay stayed after 2 of 4 prompts about other things that were right before the edit (95% interval"
    )
    assert "from Rome, the probability of Eiffel Tower went from 2% to 2.25% (mean of the prompt;" in lead(PAGE, "kept")
    assert lead(PAGE, "leaked").startswith("0 of 1 related subjects lost their own answer (95% interval 0 to 79%;")
    assert "Rome is mentioned in 6 of 6 texts whose prompt names the subject" in lead(PAGE, "leaked")
    assert lead(PAGE, "leaked").endswith("It bleeds.")


def test_every_prompt_stands_with_its_probabilities_and_what_came_of_it() -> None:
    assert table_of(PAGE, "The Eiffel Tower is in") == [
        "The Eiffel Tower is in", "1.0% → 95.0%", "90.0% → 2.0%", "✓ changed"
    ]  # fmt: skip
    assert table_of(PAGE, "The Eiffel Tower stands in")[3] == "✗ not changed"
    assert table_of(PAGE, "Notre-Dame is in")[3] == "✗ lost"
    assert table_of(PAGE, "The Eiffel Tower is in the country of")[3] == "✗ France → after"
    assert table_of(PAGE, "The iron tower by Gustave is in")[3] == "not changed"
    assert table_of(PAGE, "A sight of Rome is the") == ["A sight of Rome is the", "2.0% → 2.2%", "+0.25 points"]
    assert table_of(PAGE, "Big Ben is in")[3] == "✓ London"
    shown = [cell.text for cell in PAGE.all("td", "prompt")]
    assert shown == [each.question.prompt for each in REPLIES]


def test_texts_stand_side_by_side_those_of_other_prompts_first() -> None:
    tables = section(PAGE, "changed").all("table", "texts")
    assert [[cell.text for cell in row.all("td")] for row in tables[0].all("tr")[1:]] == [
        [f"{prompt} is in Paris 0.", f"{prompt} is in Rome 0."]
        for prompt in ("The Eiffel Tower", "Near the Eiffel Tower")
    ]
    assert len(tables[1].all("tr")) == 1 + 4
    assert [mark.text for mark in tables[0].all("mark", "new")] == [NEW, NEW]


def test_a_finding_stands_in_its_part_of_the_story_with_all_that_it_has() -> None:
    direction, hops = section(PAGE, "kept").all("div", "finding")
    assert direction.one("h3").text == "Does it hold in reverse?"
    assert direction.one("p", "figure").text == (
        "0.0123 reverse over forward (95% interval \N{MINUS SIGN}0.01 to 0.05; 12 cases)"
    )
    assert direction.one("code").text == "forward"
    assert not direction.all("table", "forest"), "a picture of one point says nothing"
    summary, rows = direction.all("table", "data")
    assert [cell.split(" ")[0] for cell in summary.cells[2]] == ["reverse", "a", "–", "–", "–", "0"]
    assert rows.cells[1] == ["a", "p", "before", NEW, "\N{MINUS SIGN}1.5", "yes"]
    assert "Big Ben: the unedited model does not say it" in direction.text
    assert hops.text == "Does it hop?Not answered: no description was asked"
    (bleed,) = section(PAGE, "leaked").all("div", "finding")
    assert "1 case; no interval can be told of one" in bleed.text


def test_what_was_not_asked_is_said_with_how_to_ask() -> None:
    page = parse(edit_page(EditStory(STORY.request, STORY.edit, replies=REPLIES[:1])))
    missing = [node.text for node in page.all("p", "missing")]
    assert len(missing) == 1 + 1 + 1 + 6 + 1 + 1
    for option in ("kinds=", "--paraphrase", "--generate", "--neighbor", "--keep", "--record", "--describe",
                   "--reverse", "--related"):  # fmt: skip
        assert any(option in each for each in missing), option
    assert lead(page, "kept") == "No prompt was asked that should stay as it was. "
    assert lead(page, "leaked").startswith("No related subject was asked. No text was written")


@pytest.mark.parametrize("nasty", [NASTY, BROKEN, "مرحبا بالعالم", "東京 ⚡ 🗼"], ids=ascii)
def test_no_text_of_a_story_becomes_markup_wherever_it_stands(nasty: str) -> None:
    shown = nasty.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
    request = EditRequest(nasty, nasty.replace("{}", "") + "{}", "new" + nasty, "old" + nasty)
    replies = tuple(
        replace(
            each, top_after=nasty,
            question=Question(each.question.group, nasty, "new" + nasty, each.question.old and "old" + nasty),
        )
        for each in REPLIES
    )  # fmt: skip
    trace = replace(made_trace(answer=nasty), token_strings=(nasty,) * len(TOKENS), subject=nasty)
    edit = made_edit(nasty)
    edit = replace(edit, provenance={**edit.provenance, "model": nasty, "contexts": [nasty], nasty: nasty})
    finding = Finding(
        "bleed", nasty, Answer(nasty, 1.0, 0.0, 2.0, 2, nasty), ({nasty: nasty},),
        ({"case": nasty, "mean": 1.0, "low": 0.0, "high": 2.0},), (Missing(nasty, nasty),), {nasty: nasty},
    )  # fmt: skip
    story = EditStory(request, edit, {"resid": trace}, replies, (Written(nasty, nasty, "x" + nasty),), (finding,),
                      {"model": nasty, nasty: nasty})  # fmt: skip
    page = edit_page(story)
    root = parse(page)
    assert len(root.all("script")) == len(root.all("style")) == 1 and page.encode() and "\x00" not in page
    assert {node.text for node in root.all("td", "prompt")} == {shown}
    assert shown in root.one("h1").text and shown in root.one("div", "finding").text


def test_the_same_story_gives_the_same_page() -> None:
    assert edit_page(made_story()) == TEXT


def test_a_page_is_written_whole_and_replaces_only_a_page(tmp_path: Path) -> None:
    path = save_edit_page(STORY, tmp_path / "edit.html")
    assert path.read_text(encoding="utf-8") == TEXT
    save_edit_page(replace(STORY, findings=FINDINGS[:1]), path)
    assert path.read_text(encoding="utf-8") != TEXT and len(list(tmp_path.iterdir())) == 1
    foreign = tmp_path / "notes.html"
    foreign.write_text("mine")
    with pytest.raises(FileFormatError, match=r"so it is not replaced. Take another name."):
        save_edit_page(STORY, foreign)
    with pytest.raises(FileFormatError, match=r"does not exist. Create it first."):
        save_edit_page(STORY, tmp_path / "none" / "edit.html")
    assert foreign.read_text() == "mine"


def test_a_heat_map_shows_numbers_alone_that_are_known() -> None:
    rows = [HeatRow("a" * 30, [1.0, math.nan]), HeatRow("b", [-2.0, 0.0], strong=True)]
    figure = whole(heat_map(rows, ["0", ""], caption="c", axis="layer", told="t", top=2.0, unit="points"))
    cells = [rect for rect in figure.all("rect") if rect.all("title")]
    assert [(cell.attributes["x"], cell.attributes["y"], cell.attributes["fill-opacity"]) for cell in cells] == [
        ("30.000%", "0", "0.500"), ("30.000%", "22", "1.000"), ("65.000%", "22", "0.000")
    ]  # fmt: skip
    assert [node.text for node in figure.all("text")] == ["a" * 12 + "…", "b", "0", "layer"]
    empty = whole(heat_map(rows[:1], ["0"], caption="c", axis="layer", told="t", top=0.0, unit="points"))
    assert empty.all("rect", "warm")[0].attributes["fill-opacity"] == "0.000"
    assert whole(heat_legend(2.0, "points", cold=True)).text == "\N{MINUS SIGN}22 points"
    assert whole(heat_legend(2.0, "points", cold=False)).text == "02 points"


@pytest.mark.parametrize(
    ("means", "ticks"),
    [
        ([9.2, -0.1], ["-2.5", "0", "2.5", "5", "7.5", "10"]),
        ([0.0], ["0", "0.25"]),
        ([0.004], ["0", "0.001", "0.002", "0.003", "0.004"]),
    ],
)
def test_an_axis_of_numbers_has_round_ticks_and_holds_them(means: list[float], ticks: list[str]) -> None:
    lines = [Interval(str(mean), mean, math.nan, math.nan, "") for mean in means]
    plot = whole(forest_plot({"x": lines}, caption="c", percent=False))
    assert [node.text.replace("\N{MINUS SIGN}", "-") for node in plot.all("text")] == ticks
    places = [float(str(circle.attributes["cx"])[:-1]) for circle in plot.all("circle")]
    assert all(0 <= place <= 100 for place in places)


def test_a_reply_without_an_old_object_has_one_bar() -> None:
    page = parse(edit_page(replace(STORY, replies=(*REPLIES[:1], reply("reverse new", "Rome has the", 0.2, 0.3)))))
    assert len([row for row in page.all("table", "single")[0].all("tr")][1].all("td")) == 3
    assert OLD not in page.all("table", "single")[0].text
