"""Single sentences and numbers of the page about one edit, in the cases where they are easily wrong."""

from dataclasses import replace

from lens_rome.studies.pages import edit_page
from lens_rome.studies.probes.intervals import wilson
from tests.studies.one_edit.made import REPLIES, made_trace, reply
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
