"""What tests of evaluations in folders share."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lens_rome.evaluation import EvalReport, PromptScore
from tests.runs.support import lines


def assert_same(found: EvalReport, expected: EvalReport, tolerance: float) -> None:
    """Equal rows in equal order; numbers to `tolerance` (relative), seconds left out."""
    assert [row.case_id for row in found.scores] == [row.case_id for row in expected.scores]
    for one, other in zip(found.scores, expected.scores, strict=True):
        assert numbers(one) == pytest.approx(numbers(other), rel=tolerance, abs=tolerance, nan_ok=True)
        assert (one.group, one.prompt, one.relation) == (other.group, other.prompt, other.relation)
    for one, other in zip(found.texts, expected.texts, strict=True):
        assert (one.case_id, one.texts, one.before_texts) == (other.case_id, other.texts, other.before_texts)
        for name in ("essence", "ngram_entropy", "reference_score", "perplexity", "before_ngram_entropy"):
            mine, theirs = getattr(one, name), getattr(other, name)
            assert (mine is None) == (theirs is None)
            assert mine is None or mine == pytest.approx(theirs, rel=tolerance, abs=tolerance)
    for one, other in zip(found.cases, expected.cases, strict=True):
        assert (one.seconds is None) == (other.seconds is None)
        assert one.losses == pytest.approx(other.losses, rel=tolerance)
        assert (one.change is None) == (other.change is None)
        assert one.change is None or one.change == pytest.approx(other.change, rel=tolerance)
        plain = [replace(case, seconds=None, losses=(), change=None) for case in (one, other)]
        assert plain[0] == plain[1]


def numbers(row: PromptScore) -> list[float]:
    """Log-likelihoods and counts of a row."""
    told = (row.new, row.true, row.before_new, row.before_true)
    return [
        value for each in told for value in ((math.nan,) if each is None else (each.logprob, each.tokens, each.top))
    ]


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """All whole lines of all parts of a run."""
    return [json.loads(line) for line in lines(folder)]
