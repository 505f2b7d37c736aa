"""Each metric is what its paper says, is averaged as the papers do, and is missing where its data is."""

import math
from dataclasses import replace
from statistics import fmean, pstdev

import pytest

from lens_rome.evaluation import METRICS, EvalReport, Likelihood, Metric, PromptScore, RecordTexts, ReportError
from tests.evaluation.reports import likely, random_report, row
from tests.oracles.scores import DEFINITIONS, by_hand

COMPARING = {"RwS", "PaS", "NeS", "RwS_FE", "PaS_FE", "NKL", "NKL+"}
"""Metrics that compare the two models, and have no version of the unedited one."""


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_metric_is_what_the_plain_loop_over_its_definition_gives(name: str) -> None:
    report = random_report(0, plus=True)
    score = report.score(name)
    group, value = DEFINITIONS[name]
    assert (score.mean, score.half_width) == pytest.approx(by_hand(report.scores, group, value), rel=1e-13)
    assert score.n == 12 and math.isfinite(score.mean)


@pytest.mark.parametrize("name", sorted(set(DEFINITIONS) - COMPARING))
def test_the_version_before_the_edit_is_that_of_the_unedited_model(name: str) -> None:
    report = random_report(1, plus=True)
    unedited = EvalReport(tuple(each.before for each in report.scores if each.before))
    assert report.values(name, before=True) == unedited.values(name) != report.values(name)


def test_every_metric_of_prompts_has_its_definition_in_the_oracle() -> None:
    of_prompts = {name for name, metric in METRICS.items() if isinstance(metric, Metric) and metric.group != "texts"}
    assert of_prompts == set(DEFINITIONS)
    assert all(metric.name == name and metric.title and metric.source for name, metric in METRICS.items())


def test_two_tokens_tell_mean_and_joint_probability_apart() -> None:
    before, after = Likelihood(2 * math.log(0.5), 2, 0), Likelihood(2 * math.log(0.8), 2, 1)
    report = EvalReport((PromptScore(1, "rewrite", "", after, likely(0.7), before, likely(0.9)),))
    assert report.score("EM").mean == pytest.approx(0.8 - 0.7)
    assert report.score("EM", before=True).mean == pytest.approx(0.5 - 0.9)
    assert report.score("RwS").mean == pytest.approx((0.64 - 0.25) / (1 - 0.25))
    assert report.score("RwS_FE").mean == pytest.approx((0.25 - 0.64) / 0.25)
    assert report.score("Efficacy").mean == 0.5 and report.score("rewrite_acc").mean == 0


def test_an_identity_edit_scores_nothing_and_harms_nothing() -> None:
    report = random_report(2)
    scores = tuple(replace(each, new=each.before_new, true=each.before_true) for each in report.scores)
    texts = tuple(replace(each, ngram_entropy=each.before_ngram_entropy, essence=1.0) for each in report.texts)
    same = EvalReport(scores, "identity", texts)
    assert same.score("RwS").mean == 0 and same.score("PaS").mean == 0
    assert same.score("NeS").mean == 1 and same.score("Ess").mean == 1
    assert same.score("Overall").mean == pytest.approx(1 / 3) and same.score("Overall+E").mean == 0.5
    for name in ("S", "ES", "EM", "PS", "PM", "NS", "NM", "GE", "rewrite_acc", "Specificity"):
        assert same.score(name) == same.score(name, before=True)


def test_an_edit_that_makes_the_target_certain_has_rewrite_score_one() -> None:
    certain = PromptScore(1, "rewrite", "", likely(1.0), likely(0.1), likely(0.3), likely(0.5))
    assert EvalReport((certain,)).score("RwS").mean == 1


@pytest.mark.parametrize("name", ["ES", "PS", "NS"])
def test_a_tie_fails(name: str) -> None:
    metric = METRICS[name]
    assert isinstance(metric, Metric)
    assert metric.value(row(1, metric.group, 0.3, 0.3)) == 0


@pytest.mark.parametrize("name", list(METRICS))
def test_missing_data_is_no_score_and_never_zero(name: str) -> None:
    bare = tuple(
        PromptScore(1, group, "", likely(0.5), known=frozenset()) for group in ("rewrite", "paraphrase", "neighborhood")
    )
    report = EvalReport(bare, "", (RecordTexts(1),))
    assert report.values(name) == {} and report.score(name).n == 0
    assert math.isnan(report.score(name).mean) and report.summary() == {}


def test_prompts_without_an_old_object_have_no_comparison() -> None:
    report = EvalReport((PromptScore(1, "rewrite", "", likely(0.5, top=1)), row(2, "rewrite", 0.5, 0.4)))
    assert report.values("ES") == {2: 1} and report.values("EM") == {2: pytest.approx(0.1)}
    assert report.values("Efficacy") == {1: 1, 2: 0}


def test_a_score_that_is_undefined_for_a_prompt_leaves_it_out() -> None:
    def gained(before: float, after: float) -> PromptScore:
        return PromptScore(1, "paraphrase", "", likely(after), None, likely(before))

    assert EvalReport((gained(1.0, 1.0), gained(0.5, 0.75))).values("PaS") == {1: pytest.approx(0.5)}
    assert EvalReport((gained(1.0, 1.0),)).values("PaS") == {}


def test_a_broken_model_has_no_success_and_shows_in_the_means() -> None:
    nan = Likelihood(math.nan, 1, 0)
    broken = PromptScore(1, "rewrite", "", nan, nan, likely(0.5), likely(0.4))
    report = EvalReport((broken, row(2, "rewrite", 0.5, 0.4)))
    assert report.score("ES").mean == 0.5
    assert math.isnan(report.score("EM").mean) and math.isnan(report.score("RwS").mean)


def test_scores_of_texts_are_means_over_the_records_that_have_them() -> None:
    texts = (RecordTexts(1, ("a",), 6.0, 0.4, 0.9, 20.0), RecordTexts(2, ("b",), 5.0, None, 0.7, 30.0))
    report = EvalReport((), "", texts)
    assert report.score("GE").mean == 5.5 and report.score("GE").half_width == pytest.approx(1.96 * 0.5 / 2**0.5)
    assert (report.score("RS").mean, report.score("RS").n) == (0.4, 1)
    assert report.score("Ess").mean == pytest.approx(0.8) and str(report.score("perplexity")) == "25.0 ± 6.9"


def test_a_record_has_an_overall_score_if_it_has_all_its_parts() -> None:
    report = random_report(3)
    without = EvalReport(tuple(each for each in report.scores if (each.case_id, each.group) != (10, "paraphrase")))
    whole, found = report.values("Overall"), without.values("Overall")
    assert set(whole) - set(found) == {10}
    parts = [report.values(name)[11] for name in ("RwS", "PaS", "NeS")]
    assert whole[11] == found[11] == pytest.approx(fmean(parts))
    assert report.score("Overall").mean == pytest.approx(
        fmean(report.score(name).mean for name in ("RwS", "PaS", "NeS"))
    )
    assert report.score("Overall").half_width == pytest.approx(1.96 * pstdev(whole.values()) / 12**0.5)


def test_a_metric_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ReportError, match=r"there is no metric 'XS'\. There are S, ES, EM"):
        random_report(0).score("XS")
