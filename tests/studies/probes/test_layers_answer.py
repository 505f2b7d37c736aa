"""P6: the answer that is read off made-up reports, in which some layers make no edit."""

import math
from math import exp, sqrt
from statistics import fmean, pstdev
from typing import Any

import pytest

from lens_rome.evaluation import EvalReport, PromptScore
from lens_rome.evaluation.likelihood import Likelihood
from lens_rome.evaluation.rows import RecordCase
from lens_rome.studies.probes.finding import Answer
from lens_rome.studies.probes.layers_answer import answer_of

LOW = 9.0
"""Of the old object, everywhere: nats."""


def report(values: list[float], refused: tuple[int, ...] = ()) -> EvalReport:
    """One record a value, which is its probability of the new object."""
    scores = [
        PromptScore(case, "rewrite", f"prompt {case}", said(-math.log(value)), said(LOW))
        for case, value in enumerate(values)
    ]
    cases = [RecordCase(case, "s", "{}", "new", refused="no" * (case in refused)) for case in range(len(values))]
    return EvalReport(tuple(scores), cases=tuple(cases))


def said(nll: float) -> Likelihood:
    return Likelihood(-nll, tokens=1, top=0)


def told(reports: dict[tuple[int, str], EvalReport]) -> Answer:
    return answer_of(reports, "EM", 0)


EARLY, LATE, PLAIN = [0.9, 0.8, 0.7], [0.6, 0.7, 0.2], [0.1, 0.1, 0.3]
ALL = (0, 1, 2)


def test_the_last_layer_is_the_last_at_which_every_record_was_edited() -> None:
    sweep = {
        (0, "subject_last"): report(EARLY),
        (1, "subject_last"): report(LATE),
        (2, "subject_last"): report([0.6, 0.6, 0.6], refused=(1,)),
        (3, "subject_last"): report(PLAIN, refused=ALL),
    }
    answer = told(sweep)
    gaps = [early - late for early, late in zip(EARLY, LATE, strict=True)]
    half = 1.96 * pstdev(gaps) / sqrt(3)
    assert answer.value == pytest.approx(fmean(gaps)) and answer.n == 3
    assert (answer.low, answer.high) == pytest.approx((fmean(gaps) - half, fmean(gaps) + half))
    expected = f"Edits do best at layer 0, at the token `subject_last`: EM {0.8 - exp(-LOW):.3f}, against"
    assert answer.reading.startswith(f"{expected} {0.5 - exp(-LOW):.3f} at layer 1.")
    assert "Layer 3 makes no edit at this token." in answer.reading
    assert "Layer 2 makes no edit of 1 of 3 records at this token." in answer.reading


def test_layers_without_edits_are_neither_best_nor_last() -> None:
    sweep = {
        (0, "subject_last"): report(PLAIN),
        (1, "subject_last"): report(EARLY, refused=ALL),
        (2, "subject_last"): report(EARLY, refused=ALL),
    }
    answer = told(sweep)
    assert math.isnan(answer.value)
    assert "best at layer 0" in answer.reading and "the only layer with edits" in answer.reading
    assert "Layers 1 and 2 make no edit at this token." in answer.reading
    partly = told({(0, "last"): report(EARLY, refused=(0,)), (1, "last"): report(LATE, refused=(2,))})
    assert math.isnan(partly.value) and math.isnan(partly.low)
    assert "there is no layer at this token at which every record was edited" in partly.reading


def test_layers_that_do_equally_well_are_all_named() -> None:
    sweep: Any = {(layer, "subject_last"): report(EARLY if layer < 3 else LATE) for layer in range(4)}
    sweep |= {(layer, "last"): report(PLAIN) for layer in range(4)}
    answer = told(sweep)
    assert "Edits do best at layers 0, 1 and 2 alike, at the token `subject_last`: EM" in answer.reading
    assert f"At the next best token, `last`, layer 0 has {fmean(PLAIN) - exp(-LOW):.3f}." in answer.reading
    assert answer.value == pytest.approx(fmean(EARLY) - fmean(LATE))
    close = told({(0, "last"): report(EARLY), (1, "last"): report([each + 1e-6 for each in EARLY])})
    assert "best at layer 1," in close.reading and "it is the last with edits of all" in close.reading
    assert close.value == 0.0 and math.isnan(close.low)
    flat = told({(0, "last"): report(EARLY), (1, "last"): report(EARLY)})
    assert (
        "best at layers 0 and 1 alike" in flat.reading and "; of these 1 is the last with edits of all" in flat.reading
    )
    assert flat.value == 0.0 and math.isnan(flat.low)
