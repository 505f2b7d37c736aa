"""Differences of reports are taken record by record."""

from dataclasses import replace
from statistics import fmean, pstdev

import numpy as np
import pytest

from lens_rome.evaluation import EvalReport, ReportError, compare
from lens_rome.evaluation.summary import harmonic_mean, harmonic_resamples
from tests.evaluation.reports import random_report, row

FIRST = random_report(0, "ROME")
_MORE = random_report(1, "FT", n=15)
SECOND = replace(
    _MORE,
    scores=tuple(row for row in _MORE.scores if row.case_id > 12),
    texts=tuple(row for row in _MORE.texts if row.case_id > 12),
)
"""Has three records that the first has not, and lacks three of its."""
SHARED = tuple(range(13, 22))


@pytest.mark.parametrize("name", ["EM", "PS", "NM", "GE", "Overall", "perplexity"])
def test_a_difference_is_the_mean_of_the_records_differences(name: str) -> None:
    found = compare(FIRST, SECOND).differences[name]
    one, two = FIRST.values(name), SECOND.values(name)
    differences = [one[case] - two[case] for case in SHARED]
    assert len(differences) == found.difference.n == found.first.n == found.second.n == 9
    assert found.difference.mean == pytest.approx(fmean(differences))
    assert found.difference.half_width == pytest.approx(1.96 * pstdev(differences) / 3)
    assert found.difference.mean == pytest.approx(found.first.mean - found.second.mean)


def test_the_difference_of_overall_scores_is_of_the_same_draws_of_records() -> None:
    found = compare(FIRST, SECOND, seed=4).differences["S"]
    parts = [
        [{case: report.values(name)[case] for case in SHARED} for name in ("ES", "PS", "NS")]
        for report in (FIRST, SECOND)
    ]
    means = [harmonic_mean([fmean(part.values()) for part in each]) for each in parts]
    assert found.difference.mean == pytest.approx(means[0] - means[1])
    drawn = harmonic_resamples(parts[0], seed=4) - harmonic_resamples(parts[1], seed=4)
    assert found.difference.bounds == pytest.approx(tuple(np.nanpercentile(drawn, [2.5, 97.5])))
    assert found.difference.seed == 4


def test_a_report_does_not_differ_from_itself() -> None:
    found = FIRST.compare(FIRST)
    assert found.shared == 12 and not found.other_settings
    assert all(each.difference.interval == (0, 0) for each in found.differences.values())


def test_pairing_makes_the_interval_narrower_where_hard_records_are_hard_for_both() -> None:
    def made(shift: float) -> EvalReport:
        return EvalReport(tuple(row(case, "rewrite", 0.1 * case + shift, 0.05) for case in range(1, 9)), str(shift))

    found = compare(made(0.1), made(0.0)).differences["EM"]
    assert found.difference.mean == pytest.approx(0.1) and found.difference.half_width == pytest.approx(0, abs=1e-12)
    assert found.first.half_width > 0.1


def test_metrics_that_one_report_lacks_are_left_out() -> None:
    found = compare(FIRST, random_report(1, "plain", before=False, texts=False))
    assert {"S", "ES", "NM"} <= set(found.differences) and not {"RwS", "ES before", "GE"} & set(found.differences)


def test_a_comparison_prints_as_a_table_and_tells_other_settings() -> None:
    other = replace(SECOND, settings={**SECOND.settings, "seed": 4, "dtype": "float16"})
    found = compare(FIRST, other)
    assert found.other_settings == {"seed": (3, 4), "dtype": (None, "float16")}
    lines = str(found).splitlines()
    assert lines[0] == "| | ROME | FT | difference | 95% | records |" and lines[2].startswith("| S | ")
    assert lines[-1] == "Settings that differ: seed, dtype."
    frame = found.to_dataframe()
    assert list(frame.columns) == ["metric", "first", "second", "difference", "low", "high", "n"]
    assert (frame.low <= frame.difference).all() and list(frame.metric) == list(found.differences)


def test_reports_of_other_records_are_not_compared() -> None:
    with pytest.raises(ReportError, match="no record is in both ROME and model"):
        compare(FIRST, EvalReport((row(1, "rewrite", 0.5, 0.4),)))
    stranger = EvalReport((row(10, "rewrite", 0.5, 0.4),), "zsRE")
    with pytest.raises(ReportError, match="case 10 is 'rewrite 0 of 10' in ROME and 'rewrite of 10' in zsRE"):
        compare(FIRST, stranger)
