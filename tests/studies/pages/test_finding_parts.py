"""What stands beside the answer of a probe: words that changed, pictures of one unit, and what each measure is."""

import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from lens_rome.evaluation import METRICS
from lens_rome.studies.pages.finding_part import finding_part
from lens_rome.studies.probes import Answer, Finding
from lens_rome.studies.probes.measures import MEASURES
from tests.studies.pages.parsed import Node
from tests.studies.pages.test_page_parts import whole

BLEED = Finding("bleed", "Does it bleed?", Answer("bleed", 1.95, math.nan, math.nan, 1, "It bleeds."), ({"case": "a"},))


def rows(prompt: str, before: str, after: str, **words: Any) -> list[dict[str, Any]]:
    """A prompt in both phases, asked for two targets."""
    told = {"case": "the edit", "prompt": prompt, **words}
    return [{**told, "role": role, "phase": phase, "top": top}
            for phase, top in (("before", before), ("after", after)) for role in ("new", "known")]  # fmt: skip


def part(probe: str, rows: list[dict[str, Any]] | None = None, summary: list[dict[str, Any]] | None = None) -> Node:
    told: tuple[Mapping[str, Any], ...] = BLEED.rows if rows is None else tuple(rows)
    return whole(finding_part(replace(BLEED, probe=probe, rows=told, summary=tuple(summary or ()))))


def line(measure: str, mean: float = 0.5, **words: Any) -> dict[str, Any]:
    return {"measure": measure, **words, "mean": mean, "low": mean - 0.1, "high": mean + 0.1, "n": 7}


def test_prompts_whose_most_likely_word_changed_stand_open_those_with_a_mention_first() -> None:
    told = part("bleed", [
        *rows("Big Ben is in", " London", " London", distractor="without"),
        *rows("Cairo is in", " Egypt", " Italy", distractor="without"),
        *rows("The tower is cool. Big Ben is in", " London", " Rome", distractor="with"),
        *rows("The tower is cool. Cairo is in", " Egypt", " Egypt", distractor="with"),
    ])  # fmt: skip
    assert told.one("p", "words").text == (
        "The most likely word changed after 1 of 2 prompts with a mention of the subject and 1 of 2 without one:"
    )
    assert [each.text for each in told.one("ul", "words").all("li")] == [
        "The tower is cool. Big Ben is in: London → Rome", "Cairo is in: Egypt → Italy"
    ]  # fmt: skip


def test_without_a_change_that_is_all_that_is_said_and_without_words_nothing() -> None:
    told = part("hops", rows("It is in", " Paris", " Paris"))
    assert told.one("p", "words").text == "The most likely word changed after 0 of 1 prompt." and not told.all("ul")
    assert not part("bleed").all("p", "words") and not part("strength", rows("x", "a", "b")).all("p", "words")


def test_of_related_subjects_only_edits_of_others_count_and_cases_are_named() -> None:
    told = part("concept", [
        *(row for tested in ("A", "B") for row in rows(f"{tested} is in", "x", "y", tested=tested)),
    ])  # fmt: skip
    assert "2 of 2 prompts" in told.one("p", "words").text
    both = [row | {"case": case} for case in "AB" for tested in "AB" for row in rows(tested, "x", "\n", tested=tested)]
    told = part("concept", both)
    assert "2 of 2 prompts" in told.one("p", "words").text
    assert [each.text for each in told.all("li")] == ["A: B: x → ␣", "B: A: x → ␣"]


def test_many_changed_prompts_are_folded_but_for_the_first() -> None:
    told = part("hops", [row for place in range(11) for row in rows(f"prompt {place}", "a", "b")])
    assert [len(each.all("li")) for each in told.all("ul", "words")] == [8, 3] and "3 more prompts" in told.text


def test_each_picture_has_one_unit_and_more_than_one_point() -> None:
    told = part("bleed", summary=[
        line("bleed", 1.9), line("change", 2.1), line("most likely"), line("unheard of"), line("unheard of"),
    ])  # fmt: skip
    (picture,) = told.all("table", "forest")
    assert picture.one("caption").text == "Means with 95% intervals (nats)"
    assert [row.one("th").text for row in picture.all("tr") if row.all("circle")] == ["bleed", "change"]
    told = part("bleed", summary=[*(line(each) for each in ("bleed", "change", "most likely", "most likely"))])
    assert [each.one("caption").text for each in told.all("table", "forest")] == [
        "Means with 95% intervals (nats)", "Means with 95% intervals (share)"
    ]  # fmt: skip


def test_every_measure_of_a_summary_is_explained_beside_it() -> None:
    told = part("bleed", summary=[line("most likely"), line("most likely"), line("unheard of")])
    assert [each.text for each in told.all("dt")] == ["most likely"]
    assert told.one("dd").text == MEASURES["bleed"]["most likely"].told + " (share)"
    assert not part("mine", summary=[line("bleed")]).all("dl")


@pytest.mark.parametrize("probe", ["direction", "strength", "hops", "bleed"])
def test_the_legend_names_the_measures_that_the_probe_documents(probe: str) -> None:
    module = sys.modules[f"lens_rome.studies.probes.{probe}"]
    summary = getattr(sys.modules.get(f"lens_rome.studies.probes.{probe}_summary"), "summary_of", None)
    said = (summary or module._summary).__doc__
    for name in MEASURES[probe]:
        assert f"`{name}`" in said, name


@pytest.mark.parametrize("probe", ["layers", "prefixes"])
def test_scores_of_records_are_those_of_the_package(probe: str) -> None:
    scores = [name for name in MEASURES[probe] if name.isupper()]
    assert scores == ["S", "ES", "PS", "NS", "EM", "PM", "NM"] and set(scores) <= METRICS.keys()


def test_texts_of_the_probe_are_told_from_those_that_the_page_counts() -> None:
    assert "a sample of their own" in part("strength").text and "a sample of their own" not in part("bleed").text
