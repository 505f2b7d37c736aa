"""A run of edits equals the same edits applied by hand, and the model is as before afterwards."""

import math
import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch

from lens_rome.editing import DisablingEditWarning, Edit
from lens_rome.errors import EditError, MomentError, NotFiniteError
from lens_rome.evaluation import continue_texts, mean_nll, ngram_entropy, perplexity
from lens_rome.facts import EditRequest, EvalRecord, sample_contexts
from lens_rome.moments import collect_moments
from lens_rome.studies import sequence
from lens_rome.studies.checks import check_settings
from lens_rome.studies.health import Probes
from lens_rome.surface import as_surface
from tests.editing.support import DISABLING, NO_PROBE
from tests.helpers import Case, assert_untouched
from tests.studies.support import MEASURED, MEMIT_EDITOR, OTHERS, PROMPTS, REQUESTS, ROME, TEXTS, moments_of

pytestmark = [pytest.mark.filterwarnings(NO_PROBE), pytest.mark.filterwarnings(DISABLING)]


@pytest.fixture
def bridge(shared_model: Any) -> Any:
    """One model, where the surface does not matter; nobody may change it."""
    return shared_model(Case("gpt2", "bridge"))


class Recorded:
    """An editor that keeps what it was asked, and the weights and moments it met."""

    def __init__(self, editor: Any, layer: int = 1, fail_at: int | None = None, error: type[BaseException] = EditError):
        self.editor, self.layer, self.fail_at, self.error = editor, layer, fail_at, error
        self.asked: list[list[EditRequest]] = []
        self.weights: list[torch.Tensor] = []
        self.moments: list[Any] = []
        self.edits: list[Edit] = []

    def edit(self, model: Any, requests: Any, *, moments: Any = None) -> Edit:
        if self.fail_at == len(self.asked):
            raise self.error("no solution here")
        self.asked.append(list(requests))
        self.weights.append(as_surface(model).weight(self.layer).detach().clone())
        self.moments.append(moments)
        self.edits.append(self.editor.edit(model, requests, moments=moments))
        return self.edits[-1]


def compared(model: Any, requests: list[EditRequest], bos: bool) -> list[bool]:
    """Whether each request's new object is likelier than its true one."""
    surface = as_surface(model)
    new = mean_nll(surface, [(each.prompt, each.target_new) for each in requests], bos)
    true = mean_nll(surface, [(each.prompt, each.target_true) for each in requests], bos)
    return [a < b for a, b in zip(new, true, strict=True)]


@pytest.mark.parametrize(
    ("editor", "batch", "protect"),
    [(ROME, 1, False), (MEMIT_EDITOR, 2, False), (MEMIT_EDITOR, 2, True)],
    ids=["ROME", "MEMIT", "MEMIT with memory"],
)
def test_the_figures_at_the_end_are_those_of_edits_applied_by_hand(
    gpt2: Any, editor: Any, batch: int, protect: bool
) -> None:
    surface, moments = as_surface(gpt2), moments_of(gpt2)
    with assert_untouched(gpt2):
        report = sequence(gpt2, REQUESTS, editor, moments=moments, batch=batch, protect=protect, **MEASURED)
    last, bos = report.checkpoints[-1], surface.prepends_bos()
    applied, known, right_away, before = [], moments, [], {}
    for start in range(0, len(REQUESTS), batch):
        step = REQUESTS[start : start + batch]
        edit = editor.edit(gpt2, step, moments=known)
        before = before or {layer: surface.weight(layer).detach().clone() for layer, _ in edit.deltas}
        applied.append(edit.apply_(gpt2))
        known = known.conditioned(edit) if protect else known
        right_away.append(compared(gpt2, step, bos))
    try:
        assert last.edits == len(REQUESTS)
        for layer, weight in before.items():
            change = float((surface.weight(layer).detach() - weight).norm())
            assert last.norms[f"W_out of layer {layer}"] == pytest.approx(change, rel=1e-9)
            assert last.relative_norms[f"W_out of layer {layer}"] == pytest.approx(change / float(weight.norm()))
        held = compared(gpt2, REQUESTS[:-batch], bos)
        assert (last.retention, last.asked) == (sum(held) / len(held), len(held))
        shares = [sum(found) / batch for each in report.checkpoints[1:] for found in [right_away.pop(0)]]
        assert [each.efficacy for each in report.checkpoints[1:]] == shares
        assert last.perplexity == pytest.approx(perplexity(gpt2, TEXTS), rel=1e-9)
        told = [ngram_entropy(text) for text in continue_texts(gpt2, PROMPTS, tokens=6)]
        assert last.entropy == pytest.approx(sum(told) / 2, rel=1e-9)
    finally:
        for each in reversed(applied):
            each.revert()


def test_each_step_meets_the_weights_that_the_one_before_left(bridge: Any) -> None:
    editor = Recorded(ROME)
    sequence(bridge, REQUESTS[:3], editor, moments=moments_of(bridge), **MEASURED)
    for step in (0, 1):
        left, right = editor.edits[step].deltas[1, "W_out"], editor.weights[step + 1]
        torch.testing.assert_close(editor.weights[step] + left.dense(), right, atol=1e-12, rtol=0)


def test_the_first_checkpoint_is_of_the_model_as_it_was_given(bridge: Any) -> None:
    first = sequence(bridge, REQUESTS[:1], ROME, moments="identity", **MEASURED).checkpoints[0]
    assert (first.edits, first.norm, first.relative_norm, first.norms) == (0, 0.0, 0.0, {})
    assert math.isnan(first.retention)
    assert math.isnan(first.efficacy)
    assert first.perplexity == pytest.approx(perplexity(bridge, TEXTS), rel=1e-12)


def test_protection_leaves_what_was_written_before_closer_to_what_it_was(bridge: Any) -> None:
    moved = {}
    for protect in (False, True):
        editor = Recorded(MEMIT_EDITOR)
        sequence(bridge, REQUESTS, editor, moments=moments_of(bridge), protect=protect, progress=False)
        first, later = editor.edits[0].keys[1], editor.edits[1:]
        moved[protect] = sum(float((first @ edit.deltas[1, "W_out"].dense()).norm()) for edit in later)
        kept = [0 if each[1].memory is None else len(each[1].memory) for each in editor.moments]
        assert kept == ([0, 1, 2, 3] if protect else [0, 0, 0, 0])
    assert moved[True] < 0.9 * moved[False]


def test_moments_are_still_taken_when_edits_have_changed_the_keys_of_their_probe(bridge: Any) -> None:
    class Stretched:
        """Changes layer 0 so much that the keys of layer 1 are others."""

        prepend_bos = None

        def edit(self, model: Any, requests: Any, *, moments: Any = None) -> Edit:
            edit = ROME.edit(model, requests, moments=moments)
            return replace(MEMIT_EDITOR, layers=(0,)).edit(model, requests, moments=moments).scaled(50.0) + edit

    texts = [" ".join([*TEXTS, request.prompt, request.target_new]) for request in REQUESTS] * 10
    moments = collect_moments(bridge, [0, 1], [f"{i} {text}" for i, text in enumerate(texts)], progress=False)
    alone = Stretched().edit(bridge, REQUESTS[0], moments=moments)
    with alone.applied(bridge), pytest.raises(MomentError, match="not from this model"):
        ROME.edit(bridge, REQUESTS[1], moments=moments)
    report = sequence(bridge, REQUESTS[:2], Stretched(), moments=moments, **MEASURED)
    assert (report.checkpoints[-1].edits, report.stopped) == (2, None)


def test_contexts_are_sampled_once_from_the_unedited_model(bridge: Any) -> None:
    lengths = ((4, 2),)
    editor = replace(ROME, contexts=None, context_lengths=lengths)
    report = sequence(bridge, REQUESTS[:2], editor, moments="identity", **MEASURED)
    fixed = replace(ROME, contexts=sample_contexts(as_surface(bridge), lengths, 0), context_lengths=lengths)
    same = sequence(bridge, REQUESTS[:2], fixed, moments="identity", **MEASURED)
    assert report.steps == same.steps


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_the_model_comes_back_when_a_run_is_interrupted(bridge: Any, error: type[BaseException]) -> None:
    with assert_untouched(bridge), pytest.raises(error):
        sequence(bridge, REQUESTS, Recorded(ROME, fail_at=2, error=error), moments="identity", **MEASURED)


def test_an_editor_that_diverges_ends_the_run_with_a_reason(bridge: Any) -> None:
    with assert_untouched(bridge):
        report = sequence(
            bridge, REQUESTS, Recorded(ROME, fail_at=2, error=NotFiniteError), moments="identity", **MEASURED
        )
    assert report.stopped == "no solution here"
    assert [each.edits for each in report.checkpoints] == [0, 1, 2]
    assert "Ended after 2 edits: no solution here" in str(report)


def test_a_failure_of_the_first_step_is_raised(bridge: Any) -> None:
    with assert_untouched(bridge), pytest.raises(MomentError, match="needs the second moment"):
        sequence(bridge, REQUESTS, ROME, **MEASURED)


def test_weights_that_overflow_end_the_run(fresh_model: Any) -> None:
    class Growing:
        """An editor whose second edit does not fit the precision."""

        prepend_bos, made = None, 0

        def edit(self, model: Any, requests: Any, *, moments: Any = None) -> Edit:
            self.made += 1
            return ROME.edit(model, requests, moments=moments).scaled(1e42 if self.made > 1 else 1.0)

    model = fresh_model(Case("gpt2", "bridge", dtype=torch.float32))
    with assert_untouched(model):
        report = sequence(model, REQUESTS, Growing(), moments="identity", **MEASURED)
    assert report.checkpoints[-1].edits == 1
    assert "not finite" in str(report.stopped)


def test_a_broken_model_is_measured_and_not_refused(fresh_model: Any) -> None:
    class Huge:
        prepend_bos = None

        def edit(self, model: Any, requests: Any, *, moments: Any = None) -> Edit:
            return ROME.edit(model, requests, moments=moments).scaled(4e38)

    model = fresh_model(Case("gpt2", "bridge", dtype=torch.float32))
    with assert_untouched(model):
        report = sequence(model, REQUESTS, Huge(), moments="identity", **MEASURED)
    last = report.checkpoints[-1]
    assert report.stopped is not None
    assert last.edits == 1
    assert not math.isfinite(last.perplexity)
    assert math.isnan(last.entropy)


def test_the_newest_of_several_requests_of_one_fact_is_the_one_that_is_asked_for() -> None:
    again = EditRequest("Steve Jobs", "{} was the founder of", "Russian", "Apple")
    run = [*REQUESTS, again, REQUESTS[1]]
    probes = Probes((), (), (), 1, 1, 10, 0, True)
    assert set(probes.earlier(run, 4, 1)) == set(REQUESTS[:3])
    assert set(probes.earlier(run, 5, 1)) == set(REQUESTS[1:4])
    assert set(probes.earlier(run, 6, 1)) == {REQUESTS[2], REQUESTS[3], again}


def test_the_sample_of_earlier_edits_is_seeded_and_stays_where_it_can() -> None:
    run = [EditRequest(f"Subject {i}", "{} is", "new", "old") for i in range(60)]
    probes = Probes((), (), (), 1, 1, 5, 3, True)
    early, late = probes.earlier(run, 40, 1), probes.earlier(run, 41, 1)
    assert len(early) == len(late) == 5
    assert early == probes.earlier(run, 40, 1) != replace(probes, seed=4).earlier(run, 40, 1)
    assert len(set(early) & set(late)) >= 4


def test_neighbours_that_the_run_itself_edits_are_not_asked(bridge: Any) -> None:
    surface, request = as_surface(bridge), OTHERS[0].request
    probes = Probes(tuple(OTHERS), (), (), 1, 1, 10, 0, True)
    asked = OTHERS[0].neighborhood_prompts[:1]  # the second is a prompt of `REQUESTS`
    true, new = mean_nll(surface, [(asked[0], request.target_true), (asked[0], request.target_new)])
    assert probes.neighborhood(surface, REQUESTS) == float(true < new)
    reverse = EvalRecord(8, EditRequest("X", "{} is", request.target_true, request.target_new), (), asked)
    assert replace(probes, others=(reverse,)).neighborhood(surface, REQUESTS) == float(new < true)
    edited = EvalRecord(9, request, (), (REQUESTS[2].prompt,))
    for others in ((), (edited,)):
        assert math.isnan(replace(probes, others=others).neighborhood(surface, REQUESTS))


@pytest.mark.parametrize(
    ("batch", "every", "expected"),
    [(1, 2, [0, 2, 4]), (2, 1, [0, 2, 4]), (3, 2, [0, 3, 4]), (1, None, [0, 1, 2, 3, 4])],
)
def test_there_is_a_checkpoint_every_so_many_edits_and_at_the_end(
    bridge: Any, batch: int, every: int | None, expected: list[int]
) -> None:
    report = sequence(bridge, REQUESTS, ROME, moments="identity", batch=batch, every=every, progress=False)
    assert [each.edits for each in report.checkpoints] == expected
    assert report.checkpoints[-1].largest_step == max(report.steps[-1 if batch > 1 or every != 2 else -2 :])


def test_records_stand_for_their_requests_and_equal_runs_are_equal(bridge: Any) -> None:
    records = [EvalRecord(i, request) for i, request in enumerate(REQUESTS[:2])]
    given: dict[str, Any] = {**MEASURED, "moments": "identity"}
    report, same = sequence(bridge, records, ROME, **given), sequence(bridge, REQUESTS[:2], ROME, **given)
    assert str(report) == str(same)
    assert report.settings == same.settings
    assert report.settings["editor"] == "ROME"
    assert report.label == "ROME"


def test_steps_that_the_editor_warns_of_are_counted_and_other_warnings_are_passed_on(bridge: Any) -> None:
    class Alarmed:
        prepend_bos = None

        def edit(self, model: Any, requests: Any, *, moments: Any = None) -> Edit:
            warnings.warn("this edit may disable the model", DisablingEditWarning, stacklevel=1)
            return ROME.edit(model, requests, moments=moments)

    with pytest.warns(UserWarning) as caught:
        report = sequence(bridge, REQUESTS[:2], Alarmed(), moments=moments_of(bridge), progress=False)
    assert ["does not say which model" in str(each.message) for each in caught] == [True]
    assert report.disabling == 2
    assert "warned of 2 of 2 steps" in str(report)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"records": []}, "no records or requests"),
        ({"batch": 0}, "batch must be a whole number from 1"),
        ({"every": 0}, "every must be"),
        ({"sample": 0}, "sample must be"),
        ({"protect": True, "moments": "identity"}, "Pass SecondMoments"),
    ],
)
def test_what_cannot_be_a_run_is_refused_at_once(bridge: Any, changes: dict[str, Any], message: str) -> None:
    editor = Recorded(ROME)
    given: dict[str, Any] = {"records": REQUESTS, "editor": editor, "moments": "identity", **changes}
    with pytest.raises(EditError, match=message):
        sequence(bridge, **given)
    assert editor.asked == []


def test_things_that_are_no_requests_are_refused() -> None:
    with pytest.raises(EditError, match="EvalRecords or EditRequests, got 'Rome'"):
        check_settings(["Rome"], None, False)
