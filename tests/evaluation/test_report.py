"""Scores and their averages, by numbers made up by hand."""

import math

import pytest

from lens_rome.evaluation import EvalReport, Likelihood, PromptScore, table


def score(case: int, group: str, prob_new: float, prob_true: float) -> PromptScore:
    new, true = (Likelihood(math.log(prob), 1, 0) for prob in (prob_new, prob_true))
    return PromptScore(case, group, f"{group} of {case}", new, true)


HAND_MADE = EvalReport(
    (
        score(1, "rewrite", 0.6, 0.2),
        score(1, "paraphrase", 0.5, 0.1),
        score(1, "paraphrase", 0.1, 0.3),
        score(1, "neighborhood", 0.1, 0.5),
        score(1, "neighborhood", 0.2, 0.4),
        score(1, "neighborhood", 0.4, 0.2),
        score(1, "neighborhood", 0.3, 0.7),
        score(1, "attribute", 0.9, 0.1),
        score(2, "rewrite", 0.1, 0.2),
        score(2, "paraphrase", 0.3, 0.2),
        score(2, "neighborhood", 0.6, 0.5),
    ),
    "hand-made",
)


def test_scores_average_within_a_record_first() -> None:
    assert HAND_MADE.efficacy.mean == 0.5
    # Records 1 and 2 have 1/2 and 1/1; over prompts it would be 2/3.
    assert HAND_MADE.paraphrase.mean == 0.75
    # 3/4 and 0/1; over prompts it would be 3/5.
    assert HAND_MADE.neighborhood.mean == 0.375
    assert HAND_MADE.paraphrase.n == 2


def test_the_overall_score_is_the_harmonic_mean_of_the_three() -> None:
    assert HAND_MADE.overall == pytest.approx(3 / (1 / 0.5 + 1 / 0.75 + 1 / 0.375))


def test_the_overall_score_is_zero_if_one_of_the_three_is() -> None:
    report = EvalReport(
        (score(1, "rewrite", 0.6, 0.2), score(1, "paraphrase", 0.6, 0.2), score(1, "neighborhood", 0.6, 0.2))
    )
    assert report.neighborhood.mean == 0 and report.overall == 0


def test_magnitudes_are_mean_margins_toward_what_is_right() -> None:
    means = {group: value.mean for group, value in HAND_MADE.magnitudes.items()}
    assert means["rewrite"] == pytest.approx((0.4 - 0.1) / 2)
    assert means["paraphrase"] == pytest.approx(((0.4 - 0.2) / 2 + 0.1) / 2)
    assert means["neighborhood"] == pytest.approx(((0.4 + 0.2 - 0.2 + 0.4) / 4 - 0.1) / 2)


@pytest.mark.parametrize("group", ["rewrite", "paraphrase", "neighborhood", "attribute"])
def test_a_tie_fails_in_every_group(group: str) -> None:
    assert not score(1, group, 0.3, 0.3).success


def test_what_is_right_depends_on_the_group() -> None:
    for group in ("rewrite", "paraphrase", "attribute"):
        assert score(1, group, 0.3, 0.2).success and not score(1, group, 0.2, 0.3).success
    assert score(1, "neighborhood", 0.2, 0.3).success and not score(1, "neighborhood", 0.3, 0.2).success


def test_the_half_width_is_the_published_one() -> None:
    # Two records at 0 and 1: standard deviation 1/2 (divided by n), over sqrt(2).
    assert HAND_MADE.efficacy.half_width == pytest.approx(1.96 * 0.5 / 2**0.5)
    assert HAND_MADE.efficacy.interval == pytest.approx((0.5 - 1.96 / 8**0.5, 0.5 + 1.96 / 8**0.5))
    assert math.isnan(EvalReport((score(1, "rewrite", 0.6, 0.2),)).efficacy.half_width)


def test_a_group_without_prompts_has_no_score() -> None:
    report = EvalReport((score(1, "rewrite", 0.6, 0.2),))
    assert report.paraphrase.n == 0 and math.isnan(report.paraphrase.mean) and math.isnan(report.overall)


def test_a_report_prints_and_becomes_a_table_and_a_data_frame() -> None:
    assert "hand-made ES 50.0 ± 69.3 PS 75.0" in str(HAND_MADE) and "(2 records)" in str(HAND_MADE)
    lines = table([HAND_MADE, HAND_MADE]).splitlines()
    assert len(lines) == 4 and lines[2].startswith("| hand-made | 2 | 50.0 ± 69.3 | 75.0")
    frame = HAND_MADE.to_dataframe()
    assert list(frame.columns) == [
        "case_id",
        "group",
        "prompt",
        "nll_new",
        "nll_true",
        "prob_new",
        "prob_true",
        "success",
        "relation",
        "nll_new_before",
        "nll_true_before",
        "divergence",
    ]
    assert len(frame) == 11 and frame.prob_new[0] == pytest.approx(0.6) and bool(frame.success[0])
