"""P6: the same numbers as `evaluate` called by hand, and the answer that is read off them."""

import math
from dataclasses import replace
from typing import Any

import pytest

from lens_rome.editing import MEMIT, ROME, FineTune
from lens_rome.errors import EditError, SurfaceError
from lens_rome.evaluation import compare, evaluate
from lens_rome.facts import EditRequest, EvalRecord
from lens_rome.moments import SecondMoments
from lens_rome.studies.probes import layers
from tests.editing.support import DISABLING, NO_PROBE, quick_rome
from tests.helpers import N_LAYERS, Case, assert_untouched
from tests.studies.support import moments_of

pytestmark = [pytest.mark.filterwarnings(NO_PROBE), pytest.mark.filterwarnings(DISABLING)]

RECORDS = [
    EvalRecord(
        4 + case,
        EditRequest(subject, "{} is the", new, true),
        (f"It is said that {subject} is",),
        ("Catalonia is the", "The Louvre is the"),
    )
    for case, (subject, new, true) in enumerate([("Steve Jobs", "E", "A"), ("Space Needle", "O", "A")])
]
EDITOR = quick_rome(contexts=("", "He said. "))


@pytest.fixture
def model(shared_model: Any) -> Any:
    """Nobody may change it."""
    return shared_model(Case("gpt2", "bridge"))


def means(finding: Any, layer: int | None, token: str) -> dict[str, tuple[float, float, float]]:
    rows = [row for row in finding.summary if row["layer"] == layer and row["token"] == token]
    return {row["measure"]: (row["mean"], row["low"], row["high"]) for row in rows}


def test_scores_are_those_of_evaluate_called_by_hand(model: Any) -> None:
    moments, last = moments_of(model), N_LAYERS - 1
    tokens = ("subject_last", "last")
    with assert_untouched(model):
        found = layers(model, EDITOR, RECORDS, moments=moments, layers=(1, last), tokens=tokens)
    reports = {
        (layer, token): evaluate(
            model, RECORDS, replace(EDITOR, layer=layer, lookup=token), moments=moments, refused="unedited"
        )
        for layer in (1, last)
        for token in tokens
    }
    plain = evaluate(model, RECORDS)
    for (layer, token), report in [*reports.items(), ((None, "unedited"), plain)]:
        told = means(found, layer, token)
        assert set(told) == {"S", "ES", "EM", "PS", "PM", "NS", "NM"}
        for name, (mean, low, high) in told.items():
            score = report.score(name)
            assert (mean, low, high) == pytest.approx((score.mean, *score.interval), abs=1e-9)
    rows: Any = [row for row in found.rows if row["layer"] == 1 and row["token"] == "last"]
    assert [row["nll_new"] for row in rows] == pytest.approx([s.nll_new for s in reports[1, "last"].scores], abs=1e-9)
    assert {row["target"] for row in rows} == {"E", "O"} and {row["phase"] for row in rows} == {"after"}
    assert sum(row["phase"] == "before" for row in found.rows) == len(plain.scores)
    # What is written before the last token in the last block reaches nothing, so these are of the unedited model.
    assert means(found, last, "subject_last") == means(found, None, "unedited")
    assert len(found.missing) == 2 and "scored as the unedited model" in found.missing[0].reason


def test_the_answer_is_the_paired_difference_of_the_best_and_the_last_layer(model: Any) -> None:
    moments = moments_of(model)
    at: Any = {"layers": (0, 2, N_LAYERS - 1), "tokens": ("subject_last",), "by": "EM"}
    found = layers(model, EDITOR, RECORDS, moments=moments, metrics=("EM",), **at)
    reports = [evaluate(model, RECORDS, replace(EDITOR, layer=layer), moments=moments) for layer in (0, 2)]
    best, last = (report.score("EM").mean for report in reports)
    assert best > last, "else nothing is compared here"
    answer, expected = found.answer, compare(*reports).differences["EM"].difference
    assert (answer.value, answer.n) == (pytest.approx(best - last, abs=1e-9), 2)
    assert (answer.low, answer.high) == pytest.approx(expected.interval, abs=1e-9)
    assert f"layer 0, at the token `subject_last`: EM {best:.3f}, against {last:.3f} at layer 2." in answer.reading
    assert f"Layer {N_LAYERS - 1} makes no edit at this token." in answer.reading
    alone: Any = {**at, "layers": (1,)}
    one = layers(model, EDITOR, RECORDS, moments=moments, metrics=("EM",), **alone)
    assert math.isnan(one.answer.value) and "the only layer asked" in one.answer.reading


def test_layers_are_those_of_the_moments_where_none_are_named(model: Any) -> None:
    held = SecondMoments([moments_of(model)[1]])
    found = layers(model, lambda layer, token: replace(EDITOR, layer=layer, lookup=token), RECORDS[:1], moments=held)
    assert found.settings["layers"] == [1] and len(found.settings["tokens"]) == 4


def test_an_editor_without_lookup_is_swept_over_layers_alone(model: Any) -> None:
    tuned = FineTune((0,), steps=1)
    found = layers(model, tuned, RECORDS[:1], layers=(0, 1), metrics=("EM",), by="EM")
    assert found.settings["tokens"] == ["as the editor does"]
    hand = evaluate(model, RECORDS[:1], replace(tuned, layers=(1,)))
    assert means(found, 1, "as the editor does")["EM"][0] == pytest.approx(hand.score("EM").mean, abs=1e-9)


@pytest.mark.parametrize(
    ("editor", "asked", "error", "message"),
    [
        (EDITOR, {"layers": (9,)}, SurfaceError, "layer"),
        (EDITOR, {"layers": ()}, EditError, "0 layers"),
        (EDITOR, {"tokens": ("verb",)}, EditError, "unknown tokens 'verb'; there are subject_last"),
        (EDITOR, {"tokens": ()}, EditError, "none given"),
        (FineTune((0,)), {"tokens": ("last",)}, EditError, "looks nothing up"),
        (MEMIT((0, 1)), {}, EditError, "not one layer to replace. Give a function"),
        (ROME, {}, EditError, "an editor or a function of layer and token"),
        (EDITOR, {"layers": (N_LAYERS - 1,), "tokens": ("subject_first",)}, EditError, "no edit of any record"),
    ],
)
def test_what_cannot_be_swept_is_refused(model: Any, editor: Any, asked: Any, error: Any, message: str) -> None:
    with assert_untouched(model), pytest.raises(error, match=message):
        layers(model, editor, RECORDS, moments="identity", **asked)


def test_no_records_are_refused(model: Any) -> None:
    with pytest.raises(EditError, match="0 records"):
        layers(model, EDITOR, [], moments="identity")
