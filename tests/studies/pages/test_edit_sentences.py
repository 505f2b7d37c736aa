"""Single sentences and numbers of the page about one edit, in the cases where they are easily wrong."""

from dataclasses import replace
from typing import Any

import pytest

from lens_rome.editing.rows import LOOKUPS
from lens_rome.studies.one_edit import Written
from lens_rome.studies.pages import edit_page
from lens_rome.studies.probes.intervals import wilson
from tests.studies.one_edit.made import REPLIES, made_edit, made_trace, reply
from tests.studies.pages.parsed import parse, section
from tests.studies.pages.test_edit_page import STORY, lead


def test_only_what_a_related_subject_had_can_be_lost() -> None:
    never = reply("related", "The Space Needle is in", 0.0, 0.2, 0.2, 0.1, old="Seattle", ranks=(2, 3))
    lost = reply("related", "The Shard is in", 0.0, 0.9, 0.9, 0.1, old="London", ranks=(1, 2))
    low, high = wilson(1, 2)[1:]
    told = lead(parse(edit_page(replace(STORY, replies=(*REPLIES, never, lost)))), "leaked")
    assert told.startswith(
        f"1 of 2 related subjects lost their own answer (95% interval {100 * low:.0f} to {100 * high:.0f}%; 1 had none "
        "before the edit). "
    )
    told = lead(parse(edit_page(replace(STORY, replies=(*REPLIES[:1], never)))), "leaked")
    assert told.startswith("No related subject had its own answer to lose: 1 had none before the edit. ")
    assert "(95% interval 61 to 100%; before the edit 0); Paris was mentioned in 6 before the edit." in told


def test_numbers_that_round_to_nothing_have_no_sign() -> None:
    trace = made_trace()
    scores = trace.sample_scores.clone()
    scores[0, 0] = trace.corrupted_samples - 1e-5
    scores[1, 0] = trace.corrupted_samples - 0.02
    page = parse(edit_page(replace(STORY, traces={"resid": replace(trace, sample_scores=scores)})))
    assert section(page, "where").all("table", "data")[0].cells[1][1:3] == ["0.0", "\N{MINUS SIGN}2.0"]


def test_only_what_was_right_before_can_stay_right() -> None:
    never = reply("neighbor", "Nice is in", 0.9, 0.1, 0.1, 0.9)  # wrong before, right after
    low, high = wilson(1, 2)[1:]
    told = lead(parse(edit_page(replace(STORY, replies=(*REPLIES[:5], never)))), "kept")
    assert told == (
        "What should stay stayed after 1 of 2 prompts about other things that were right before the edit (95% interval "
        f"{100 * low:.0f} to {100 * high:.0f}%; 1 more was wrong before). "
    )
    told = lead(parse(edit_page(replace(STORY, replies=(REPLIES[0], never)))), "kept")
    assert told == "The prompt about other things was wrong before the edit already: nothing could be lost. "


def test_mentions_are_told_by_whether_the_prompt_names_the_subject() -> None:
    other = tuple(Written("The Louvre", f"The Louvre is {place}.", "The Louvre is in Rome.") for place in range(4))
    page = parse(edit_page(replace(STORY, texts=(*STORY.texts, *other))))
    told = lead(page, "leaked")
    assert "Rome is mentioned in 6 of 6 texts whose prompt names the subject (95% interval 61 to 100%; " in told
    assert (
        "Rome is mentioned in 4 of 4 texts of other prompts (95% interval 51 to 100%; before the edit 0); Paris" in told
    )
    alone = section(parse(edit_page(replace(STORY, texts=other))), "leaked")
    assert "names the subject a mention" not in alone.text and "Rome in texts of other prompts" in alone.text
    assert "mention that was not there before is a leak" in alone.text


def test_two_measures_of_the_same_prompts_are_told_apart() -> None:
    told = section(parse(edit_page(STORY)), "kept").text
    assert "after 0 of 1 prompt." in told  # the probe of descriptions has no rows
    direction, hops, _ = STORY.findings
    told = section(parse(edit_page(replace(STORY, findings=(replace(hops, rows=direction.rows),)))), "kept").text
    assert (
        "after 0 of 1 prompt by the geometric mean a token. The finding about descriptions below compares joint" in told
    )


def written(editor: str, **provenance: Any) -> str:
    edit = made_edit(editor)
    story = replace(STORY, edit=replace(edit, provenance={**edit.provenance, **provenance}))
    return section(parse(edit_page(story)), "written").text


def test_what_the_change_does_is_told_by_editor() -> None:
    told = {name: written(name) for name in ("ROME", "p-ROME", "R-ROME", "MEMIT", "EMMET", "AlphaEdit", "Mine")}
    assert "the key of the prompt alone is mapped exactly" in told["ROME"]
    assert "averaged over" not in told["p-ROME"] and "maps the key exactly" in told["p-ROME"]
    assert "maps the averaged key exactly" in told["R-ROME"]
    for name in ("MEMIT", "AlphaEdit"):
        assert "in part only" in told[name] and "exactly" not in told[name]
    assert "and that exactly" in told["EMMET"]
    least = {name for name, each in told.items() if "moves the keys of the corpus least" in each}
    assert least == {"p-ROME", "R-ROME", "EMMET"}
    output = {name for name, each in told.items() if "The value is the MLP’s output there" in each}
    assert output == {"ROME", "p-ROME", "R-ROME"}
    assert "The change of" not in told["Mine"] and "The key is" in told["Mine"]
    assert "This edit is 0.5 times that change." in written("ROME", scaled=0.5)


@pytest.mark.parametrize("editor", ["ROME", "MEMIT"])
def test_without_a_second_moment_nothing_is_said_of_a_corpus(editor: str) -> None:
    origin = {"model": "identity", "prepend_bos": None, "corpus": "identity", "count": 1}
    told = written(editor, moment=origin if editor == "ROME" else {"1": origin})
    assert "made without a second moment" in told and "corpus has" not in told and "keys of the corpus move" not in told
    assert "the squared length of the key" in told and "how unusual the key" not in told
    assert "made without" not in written(editor, moment={**origin, "corpus": "wiki"})


def test_every_token_of_the_key_has_a_name() -> None:
    for lookup in LOOKUPS:
        assert f"neurons hold at {lookup}" not in written("ROME", settings={"lookup": lookup})


@pytest.mark.parametrize("probe", ["layers", "prefixes"])
def test_a_score_by_a_letter_is_explained(probe: str) -> None:
    named = replace(STORY.findings[0], probe=probe)
    assert "S is the harmonic mean" in section(parse(edit_page(replace(STORY, findings=(named,)))), "written").text
    assert "S is the harmonic mean" not in section(parse(edit_page(STORY)), "kept").text


def test_a_probe_that_asked_and_can_tell_nothing_is_told_from_one_that_was_not_asked() -> None:
    hops = STORY.findings[1]
    unsaid = replace(hops, answer=replace(hops.answer, name="hop transfer"))
    told = section(parse(edit_page(replace(STORY, findings=(unsaid,)))), "kept").text
    assert "Cannot be told: no description was asked" in told and "Not answered" not in told
    assert "Not answered: no description was asked" in section(parse(edit_page(STORY)), "kept").text


def test_an_old_object_that_only_the_model_says_is_told_as_such() -> None:
    assert "nobody has checked" not in parse(edit_page(STORY)).text
    guess = replace(STORY, settings={**STORY.settings, "unchecked": "The atlas knows no Eiffel Tower."})
    assert parse(edit_page(guess)).one("p", "doubt").text == (
        "The object until now, Paris, is what the model says (90%); nobody has checked that it is true. The atlas "
        "knows no Eiffel Tower."
    )
