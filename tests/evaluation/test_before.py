"""A report of the unedited model stands beside one of an edited model as if both had been made together."""

from dataclasses import replace

import pytest

from lens_rome.evaluation import EvalReport, Likelihood, RecordCase, ReportError
from lens_rome.evaluation.before import check_before
from tests.evaluation.reports import random_report

MADE = random_report(0, "ROME", plus=True)
BOTH = replace(
    MADE,
    scores=tuple(
        replace(row, before_new=Likelihood(-1.5 - place, row.new.tokens, 0), before_true=row.true)
        for place, row in enumerate(MADE.scores)
    ),
)
SETTINGS = {"model": "tiny", "prepend_bos": True, "texts": {"seed": 0, "essence_samples": 5}}
EDITED = EvalReport(
    tuple(replace(row, before_new=None, before_true=None) for row in BOTH.scores),
    "ROME",
    tuple(
        replace(
            row,
            before_texts=(),
            before_ngram_entropy=None,
            before_reference_score=None,
            before_perplexity=None,
        )
        for row in BOTH.texts
    ),
    {**SETTINGS, "edits": [{"editor": "ROME"}]},
)
UNEDITED = EvalReport(
    tuple(before for row in reversed(BOTH.scores) if (before := row.before)),
    "model",
    tuple(row.before for row in BOTH.texts),
    {**SETTINGS, "edits": [], "texts": {"seed": 0, "essence_samples": 0}},
)


def test_two_reports_make_the_one_that_asks_both_models() -> None:
    found = EDITED.with_before(UNEDITED)
    assert (found.scores, found.texts) == (BOTH.scores, BOTH.texts)
    assert found.settings["before"] is True and found.label == "ROME" and found.summary()["ES before"].n == 12


def test_a_report_that_is_not_of_the_same_unedited_model_is_refused() -> None:
    with pytest.raises(ReportError, match=r"of a model edited by ROME\. Evaluate the same records .* without an edit"):
        EDITED.with_before(EDITED)
    for change, told in (
        ({"model": "other"}, "differ in model: 'tiny' here, 'other' for the unedited"),
        ({"texts": {"seed": 1}}, "differ in texts"),
    ):
        with pytest.raises(ReportError, match=told):
            EDITED.with_before(replace(UNEDITED, settings={**UNEDITED.settings, **change}))


def test_prompts_and_texts_that_the_unedited_model_was_not_asked_are_named() -> None:
    with pytest.raises(ReportError, match="lacks 8 prompts, the first of case 10"):
        EDITED.with_before(replace(UNEDITED, scores=tuple(row for row in UNEDITED.scores if row.case_id > 10)))
    with pytest.raises(ReportError, match="lacks the texts of 12 records, the first of case 10"):
        EDITED.with_before(replace(UNEDITED, texts=()))


def test_a_report_about_other_objects_is_refused_though_its_prompts_are_the_same() -> None:
    asked = RecordCase(10, "Rome", "{} is in", "Spain", "Italy")
    edited, unedited = (replace(each, cases=(asked,)) for each in (EDITED, UNEDITED))
    assert edited.with_before(unedited).cases == (asked,)
    for other in (replace(asked, target_new="France"), replace(asked, target_true="")):
        with pytest.raises(ReportError, match=r"ask case 10 about other objects: \('Spain', 'Italy'\) here"):
            edited.with_before(replace(unedited, cases=(other,)))
    noised = {**EDITED.settings, "problem": "fact forcing", "problem_settings": {"noise": 0.1}}
    with pytest.raises(ReportError, match="differ in problem: 'fact forcing' here, None for the unedited"):
        replace(EDITED, settings=noised).with_before(UNEDITED)


def test_a_report_that_cannot_stand_before_is_found_before_anything_is_computed() -> None:
    settings, cases = {**SETTINGS, "groups": ["rewrite"]}, UNEDITED.case_ids
    check_before(
        replace(UNEDITED, settings={**UNEDITED.settings, "groups": ["rewrite", "paraphrase"]}), settings, cases
    )
    for unedited, ids, told in (
        (EDITED, cases, "edited by ROME"),
        (
            replace(UNEDITED, settings={**UNEDITED.settings, "groups": ["paraphrase"]}),
            cases,
            "lacks all rewrite prompts",
        ),
        (UNEDITED, [*cases, 99], "lacks 1 records, the first is case 99"),
    ):
        with pytest.raises(ReportError, match=told):
            check_before(unedited, settings, ids)
