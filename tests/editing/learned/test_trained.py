"""What a trained editor promises: edits that depend on nothing but the request and the model, and files."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lens_rome.editing import Edit
from lens_rome.editing.learned import (
    MEND,
    KnowledgeEditor,
    SeenSubjectWarning,
    TrainedKnowledgeEditor,
    TrainedMEND,
)
from lens_rome.errors import EditError, EditMismatchError, FileFormatError
from lens_rome.evaluation import evaluate
from lens_rome.facts import Fact
from lens_rome.surface import as_surface
from tests.editing.learned.support import (
    OTHER_REQUEST,
    REQUEST,
    TRAINING,
    VALIDATION,
    fitted,
    pairs_of,
    quick_ke,
    quick_mend,
)
from tests.helpers import Case, assert_untouched
from tests.oracles.learned import nll_by_loop

Make = Callable[[Any], Any]
MAKERS = {"MEND": quick_mend, "KE": quick_ke}
REQUESTS = [REQUEST, OTHER_REQUEST]
THIRD = replace(REQUEST, subject="Danielle Darrieux")


@pytest.fixture(scope="module")
def trained_on(shared_model: Any) -> Callable[[str, Case], Any]:
    """`trained_on(name, case)`: a trained editor, made once."""
    made: dict[tuple[str, Case], Any] = {}

    def get(name: str, case: Case) -> Any:
        if (name, case) not in made:
            made[name, case] = fitted(MAKERS[name](steps=1, validate_every=1), shared_model(case))
        return made[name, case]

    return get


@pytest.fixture(params=list(MAKERS))
def trained(request: pytest.FixtureRequest, gpt2_case: Case, trained_on: Any) -> Any:
    return trained_on(request.param, gpt2_case)


def assert_same_edit(one: Edit, other: Edit, tolerance: float = 0.0) -> None:
    assert one.deltas.keys() == other.deltas.keys()
    for place, delta in one.deltas.items():
        torch.testing.assert_close(delta.dense(), other.deltas[place].dense(), rtol=0, atol=tolerance)


def test_an_edit_changes_both_matrices_of_the_last_blocks_and_leaves_the_model(trained: Any, gpt2: Any) -> None:
    vocabulary = (len(gpt2.tokenizer), gpt2.tokenizer.pad_token)
    with assert_untouched(gpt2), torch.inference_mode():
        edit = trained.edit(gpt2, REQUEST)
    assert (len(gpt2.tokenizer), gpt2.tokenizer.pad_token) == vocabulary
    assert set(edit.deltas) == {(layer, name) for layer in (2, 3) for name in ("W_in", "W_out")}
    prompt, target = pairs_of(gpt2)[0]
    before = float(nll_by_loop(gpt2, prompt, target).detach())
    with edit.applied(gpt2):
        after = float(nll_by_loop(gpt2, prompt, target).detach())
    (report,) = edit.provenance["diagnostics"]
    probs = [report["prob_before"], report["prob_after"]]
    assert probs == pytest.approx([math.exp(-len(target) * nll) for nll in (before, after)], rel=1e-5)
    assert probs[0] != pytest.approx(probs[1], rel=1e-3)
    assert edit.provenance["editor"] == trained.name and edit.provenance["prepend_bos"] is True


def test_hooks_of_an_edit_equal_the_edited_weights(trained: Any, gpt2: Any, gpt2_case: Case) -> None:
    edit, tokens = trained.edit(gpt2, REQUEST), torch.tensor([pairs_of(gpt2)[0][0]])
    with edit.applied(gpt2):
        expected = gpt2(tokens)
    with edit.hooked(gpt2):
        found = gpt2(tokens)
    torch.testing.assert_close(found, expected, rtol=0, atol=100 * gpt2_case.tolerance)


def test_a_batch_is_the_sum_of_its_requests_and_none_is_dropped(trained: Any, gpt2: Any) -> None:
    joint, singles = trained.edit(gpt2, REQUESTS), trained.edit_each(gpt2, REQUESTS)
    assert_same_edit(joint, singles[0] + singles[1], 1e-10)
    assert joint.rank == sum(edit.rank for edit in singles)
    for request, edit in zip(REQUESTS, singles, strict=True):
        assert_same_edit(edit, trained.edit(gpt2, request), 1e-10)
    assert [r["subject"] for r in joint.provenance["requests"]] == [r.subject for r in REQUESTS]


def test_more_requests_than_one_pass_holds_are_all_edited(
    trained: Any, gpt2: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lens_rome.editing.learned import trained as module

    whole = trained.edit(gpt2, [*REQUESTS, THIRD])
    monkeypatch.setattr(module, "_BATCH", 2)
    assert_same_edit(whole, trained.edit(gpt2, [*REQUESTS, THIRD]), 1e-10)


def test_an_edit_does_not_depend_on_earlier_edits_by_the_same_editor(trained: Any, gpt2: Any) -> None:
    first = trained.edit(gpt2, OTHER_REQUEST)
    trained.edit(gpt2, REQUEST)
    assert_same_edit(first, trained.edit(gpt2, OTHER_REQUEST))


def test_an_edit_of_an_edited_model_chains(trained: Any, gpt2: Any) -> None:
    first = trained.edit(gpt2, REQUEST)
    with first.applied(gpt2):
        second = trained.edit(gpt2, OTHER_REQUEST)
    total = first + second
    with total.applied(gpt2):
        pass
    assert float(second.norms()[3, "W_out"][0]) > 0


def test_what_is_saved_is_loaded(trained: Any, gpt2: Any, tmp_path: Path) -> None:
    path, state = trained.save(tmp_path / "editor.safetensors"), torch.get_rng_state()
    again = type(trained).load(path)
    assert torch.equal(state, torch.get_rng_state())
    assert again.editor == trained.editor and again.record == trained.record
    assert again.learned.probe.keys() == trained.learned.probe.keys()
    assert again.prepend_bos is trained.prepend_bos is True
    assert_same_edit(again.edit(gpt2, REQUEST), trained.edit(gpt2, REQUEST))
    assert repr(again) == repr(trained)


def test_a_file_of_the_other_editor_is_refused(trained_on: Any, gpt2_case: Case, tmp_path: Path) -> None:
    path = trained_on("MEND", gpt2_case).save(tmp_path / "editor.safetensors")
    with pytest.raises(FileFormatError, match="expected a 'trained KE'"):
        TrainedKnowledgeEditor.load(path)


def test_an_incomplete_file_is_refused(trained_on: Any, gpt2_case: Case, tmp_path: Path) -> None:
    trained = trained_on("MEND", gpt2_case)
    broken = TrainedMEND(trained.editor, replace(trained.learned, network=trained_on("KE", gpt2_case).learned.network))
    path = broken.save(tmp_path / "editor.safetensors")
    with pytest.raises(FileFormatError, match="not a complete file of a TrainedMEND"):
        TrainedMEND.load(path)


def test_another_model_is_refused(trained_on: Any, shared_model: Any) -> None:
    with pytest.raises(EditMismatchError, match=r"Train one with MEND\(\.\.\.\)\.fit"):
        trained_on("MEND", Case("gpt2")).edit(shared_model(Case("llama")), REQUEST)


def test_a_seen_subject_is_warned_of(trained_on: Any, shared_model: Any) -> None:
    case = Case("gpt2")
    for record in (TRAINING[0], VALIDATION[0]):
        with pytest.warns(SeenSubjectWarning, match=f"trained on facts about {record.request.subject!r}"):
            trained_on("MEND", case).edit(shared_model(case), record.request)


def test_the_record_names_all_subjects(trained: Any) -> None:
    subjects = {record.request.subject for record in (*TRAINING, *VALIDATION)}
    assert trained.record.subjects == subjects


def test_no_requests_are_refused(trained: Any, gpt2: Any) -> None:
    for make in (trained.edit, trained.edit_each):
        with pytest.raises(EditError, match="no requests to edit"):
            make(gpt2, [])


def test_an_evaluation_takes_it_as_any_editor(trained_on: Any, shared_model: Any) -> None:
    case = Case("gpt2")
    record = replace(TRAINING[0], request=Fact("Westminster", "{} is in the city of", "Rome").rewrite("Oslo"))
    report = evaluate(shared_model(case), [record], trained_on("MEND", case))
    assert report.efficacy.n == 1


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_every_architecture_can_be_learned_and_edited(raw_model: Any, raw_case: Case, make: Any) -> None:
    if raw_case.architecture == "gpt2" or (make is quick_ke and raw_case.architecture != "llama"):
        pytest.skip("covered: only the surface differs between architectures")
    trained = fitted(make(steps=1, validate_every=1), raw_model)
    edit = trained.edit(raw_model, REQUEST)
    with edit.applied(raw_model):
        pass
    assert edit.rank > 0


def test_layers_are_chosen_from_the_last_down_or_as_asked(gpt2: Any) -> None:
    surface = as_surface(gpt2)
    assert sorted({layer for layer, _ in MEND().places(surface)}) == [2, 3]
    assert MEND(layers=(1, 0)).places(surface)[0] == (0, "W_in")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": ()}, "layers must be different whole numbers"),
        ({"layers": (1, 1)}, "layers must be different whole numbers"),
        ({"steps": 0}, "steps must be a whole number from 1, got 0"),
        ({"text_tokens": 1}, "text_tokens must be a whole number from 2"),
        ({"lr": -1.0}, "lr must be a positive number"),
        ({"neighbor_weight": -1.0}, "neighbor_weight must be a positive number"),
        ({"step_size": float("nan")}, "step_size must be a positive number"),
    ],
)
@pytest.mark.parametrize("editor", [MEND, KnowledgeEditor])
def test_settings_out_of_range_are_named(editor: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(EditError, match=message):
        editor(**settings)


def test_a_rank_of_nothing_is_named() -> None:
    with pytest.raises(EditError, match="rank must be a whole number from 1"):
        MEND(rank=0)
