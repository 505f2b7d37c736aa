"""Means with intervals, the overall score and its bootstrap, parts of reports, best and worst records."""

import math
from collections.abc import Mapping

import numpy as np
import pytest

from lens_rome.evaluation import EvalReport, ReportError
from lens_rome.evaluation.published import published
from lens_rome.evaluation.summary import harmonic_mean, harmonic_resamples, harmonic_score
from tests.evaluation.reports import random_report, row

PARTS = [{1: 1.0, 2: 0.0, 3: 1.0}, {1: 0.5, 2: 1.0}, {1: 0.75, 2: 0.5, 3: 0.25}]


def test_the_overall_score_of_all_published_rows_is_the_harmonic_mean_of_their_means() -> None:
    rows = [row for model in ("gpt2-xl", "gpt-j-6b", "gpt2-medium", "gpt2-large") for row in published(model)]
    assert len(rows) == 20
    for each in rows:
        means = [each.scores[name].mean for name in ("ES", "PS", "NS")]
        assert 100 * harmonic_mean(means) == pytest.approx(100 * each.scores["S"].mean, abs=0.1), each.label


def test_published_half_widths_are_those_of_the_formula() -> None:
    # ES is nought or one a record, so its spread follows from its mean.
    for model, records in (("gpt2-xl", 7500), ("gpt-j-6b", 2000)):
        for each in published(model):
            mean, told = each.scores["ES"].mean, each.scores["ES"].half_width
            if mean > 0.99:
                continue  # a printed 100.0 hides what is left
            assert 196 * (mean * (1 - mean) / records) ** 0.5 == pytest.approx(100 * told, abs=0.06), each.label


def test_a_harmonic_mean_is_zero_with_a_zero_and_missing_with_a_missing_part() -> None:
    assert harmonic_mean([0.0, 1.0, 0.5]) == 0 and math.isnan(harmonic_mean([0.0, math.nan]))
    assert harmonic_mean([0.5, 0.5]) == 0.5


def test_resamples_are_those_of_a_plain_loop_over_drawn_records() -> None:
    expected = []
    for drawn in np.random.default_rng(7).integers(3, size=(50, 3)):
        means = [_mean([part[case + 1] for case in drawn if case + 1 in part]) for part in PARTS]
        expected.append(harmonic_mean(means))
    found = harmonic_resamples(PARTS, samples=50, seed=7)
    assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)
    assert any(map(math.isnan, expected)) and min(value for value in expected if value == value) == 0


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def test_resamples_do_not_depend_on_how_many_are_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = harmonic_resamples(PARTS, samples=20, seed=1)
    monkeypatch.setattr("lens_rome.evaluation.summary._AT_ONCE", 9)
    assert harmonic_resamples(PARTS, samples=20, seed=1) == pytest.approx(whole, nan_ok=True)


def test_the_bootstrap_interval_is_seeded_and_holds_the_middle_of_the_resamples() -> None:
    report = random_report(0, n=40)
    score = report.score("S", seed=5)
    assert score == report.score("S", seed=5) != report.score("S", seed=6)
    assert score.seed == 5 and score.n == 40 and score.bounds is not None
    assert score.mean == report.overall and score.bounds[0] < score.mean < score.bounds[1]
    parts = [report.values(name) for name in ("ES", "PS", "NS")]
    drawn = harmonic_resamples(parts, seed=5)
    inside = np.mean((drawn >= score.bounds[0]) & (drawn <= score.bounds[1]))
    assert inside == pytest.approx(0.95, abs=0.01)


def test_one_record_has_a_mean_and_no_interval() -> None:
    one: list[Mapping[int, float]] = [{1: 1.0}, {1: 0.5}, {1: 0.5}]
    score = harmonic_score(one)
    assert score.mean == pytest.approx(0.6) and math.isnan(score.half_width) and score.bounds is None


def test_the_summary_has_all_that_there_is_data_for_and_the_versions_before() -> None:
    summary = random_report(0).summary()
    assert {"S", "S before", "ES", "ES before", "GE", "RS before", "RwS", "Overall+E", "perplexity"} <= set(summary)
    assert not {"RwS before", "NeS before", "Overall before", "Ess before"} & set(summary)
    plain = random_report(0, before=False, texts=False).summary()
    assert set(plain) == {
        *("S", "ES", "EM", "PS", "PM", "NS", "NM", "Efficacy", "Paraphrase", "Specificity"),
        *("rewrite_acc", "paraphrase_acc", "neighborhood_acc"),
    }
    assert list(random_report(0).summary(["NS", "ES"])) == ["NS", "NS before", "ES", "ES before"]


def test_scores_of_an_editing_problem_are_told_for_that_problem_alone() -> None:
    report = random_report(0)
    erased = EvalReport(report.scores, "", settings={"problem": "fact erasure"})
    assert "RwS_FE" not in report.summary() and {"RwS_FE", "Overall_FE"} <= set(erased.summary())
    assert report.score("RwS_FE").n == 12


def test_a_report_breaks_down_into_its_relations() -> None:
    report = random_report(0)
    parts = report.breakdown()
    assert list(parts) == ["P0", "P1"] and parts["P1"].label == "P1" and parts["P1"].settings == report.settings
    assert parts["P0"].case_ids == (10, 12, 14, 16, 18, 20) and len(parts["P0"].texts) == 6
    joined = {case: value for part in parts.values() for case, value in part.values("NM").items()}
    assert joined == report.values("NM")
    with pytest.raises(ReportError, match="broken down by 'relation', got 'subject'"):
        report.breakdown("subject")
    with pytest.raises(ReportError, match="do not know their relations"):
        EvalReport((row(1, "rewrite", 0.5, 0.4),)).breakdown()


def test_best_and_worst_records_are_those_with_the_largest_and_smallest_value() -> None:
    report = random_report(0)
    values = report.values("NM")
    best, worst = report.best("NM", 3), report.worst("NM", 20)
    assert [each.value for each in best] == sorted(values.values(), reverse=True)[:3]
    assert [each.value for each in worst] == sorted(values.values())
    assert {each.case_id for each in worst} == set(report.case_ids)
    assert all(score.case_id == best[0].case_id for score in best[0].scores) and len(best[0].scores) == 6
    assert best[0].texts is not None and best[0].texts.case_id == best[0].case_id


def test_equal_records_rank_by_their_id_and_a_low_perplexity_is_good() -> None:
    report = EvalReport(tuple(row(case, "rewrite", 0.5, 0.4) for case in (3, 1, 2)))
    assert [each.case_id for each in report.best("ES")] == [each.case_id for each in report.worst("ES")] == [1, 2, 3]
    texts = random_report(0)
    assert texts.best("perplexity", 1)[0].value == min(texts.values("perplexity").values())


def test_records_cannot_be_ranked_by_what_no_record_has() -> None:
    with pytest.raises(ReportError, match="by a metric that a record has"):
        random_report(0).best("S")
    with pytest.raises(ReportError, match=r"asked for 0 records by EM\. Ask for one at least"):
        random_report(0).worst(k=0)


def test_a_record_data_frame_has_each_metric_of_each_record() -> None:
    report = random_report(0)
    frame = report.to_record_dataframe()
    assert list(frame.case_id) == list(report.case_ids) and set(frame.relation) == {"P0", "P1"}
    assert list(frame["PM"]) == list(report.values("PM").values())
    columns = set(frame.columns)
    assert "ES before" in columns and not {"RwS_FE", "S"} & columns


def test_settings_are_kept_as_json_reads_them_and_others_are_refused() -> None:
    assert EvalReport((), settings={"layers": (1, 2)}).settings == {"layers": [1, 2]}
    for wrong in ({"dtype": object()}, {"clamp": math.inf}):
        with pytest.raises(ReportError, match="Give texts, finite numbers, lists and mappings"):
            EvalReport((), settings=wrong)
