"""What fine-tuning guarantees: bounds, which weights change, an untouched model, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lens_rome.editing import Edit, Objective
from lens_rome.editing.finetune import FineTune, window_layers
from lens_rome.editing.tuned_weights import TunedWeight
from lens_rome.errors import EditError, FactError, SurfaceError
from lens_rome.facts import EditRequest
from lens_rome.surface import as_surface
from tests.conftest import LoadModel
from tests.editing.support import LAYER, OTHER_REQUEST, REQUEST
from tests.helpers import Case, assert_untouched

QUICK = FineTune((LAYER,), steps=5, stop_loss=0.0)


def diagnosis(edit: Edit) -> dict[str, float]:
    (found,) = edit.provenance["diagnostics"]
    return found


def assert_same_change(first: Edit, second: Edit, atol: float = 0.0) -> None:
    assert first.deltas.keys() == second.deltas.keys()
    for place, delta in first.deltas.items():
        torch.testing.assert_close(delta.dense(), second.deltas[place].dense(), rtol=0, atol=atol)


@pytest.mark.parametrize("bound", [1e-4, 7e-4, 1])
@pytest.mark.parametrize("loss", ["all", "last"])
def test_no_number_moves_further_than_the_bound_after_any_step(
    gpt2: Any, bound: float, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    furthest: list[float] = []
    settle = TunedWeight.settle

    def watch(self: TunedWeight, given: float | None) -> None:
        settle(self, given)
        weight = as_surface(gpt2).parameter(*self.place).detach()
        furthest.append(float((weight - self._saved).abs().max()))

    monkeypatch.setattr(TunedWeight, "settle", watch)
    editor = replace(QUICK, norm_bound=bound, loss=loss)
    edit = editor.edit(gpt2, [REQUEST, OTHER_REQUEST])
    assert len(furthest) == 2 * 5
    # W0 + ε is rounded once.
    assert max(furthest) <= bound + 1e-15
    assert max(float(delta.dense().abs().max()) for delta in edit.deltas.values()) <= bound
    # Adam's first step is lr in every number: the smaller bound is reached.
    assert (max(furthest) >= bound - 1e-15) == (bound < 1)
    assert editor.name == "FT+L" and QUICK.name == "FT"


def test_the_bound_of_a_half_precision_model_is_that_of_the_float32_copy(model_folder: Any) -> None:
    from lens_rome.surface import load_model

    model = load_model(model_folder("gpt2"), "bridge", dtype=torch.bfloat16)
    with assert_untouched(model):
        edit = replace(QUICK, norm_bound=1e-3).edit(model, REQUEST)
    change = edit.deltas[LAYER, "W_out"].dense()
    assert change.dtype == torch.float32 and 0 < float(change.abs().max()) <= 1e-3 * (1 + 1e-6)
    # Steps of 5e-4 vanish beside weights of 0.2 in bfloat16; the float32 copy keeps them.
    assert float((change != 0).float().mean()) > 0.9


def test_only_the_listed_parameters_change(raw_model: Any, raw_case: Case) -> None:
    edit = replace(QUICK, layers=(1, 2), parameters=("W_in", "W_out")).edit(raw_model, REQUEST)
    assert set(edit.deltas) == {(layer, name) for layer in (1, 2) for name in ("W_in", "W_out")}
    surface = as_surface(raw_model)
    for place, delta in edit.deltas.items():
        assert delta.shape == tuple(surface.parameter(*place).shape) and delta.norm() > 0
    biased = QUICK.edit(raw_model, REQUEST) if raw_case.architecture != "llama" else None
    assert biased is None or set(biased.deltas) == {(1, "W_out"), (1, "b_out")}


def test_the_target_becomes_likelier_and_an_erased_one_less_likely(raw_model: Any) -> None:
    weights = replace(QUICK, parameters=("W_out",))
    written, erased = weights.edit(raw_model, REQUEST), None
    assert diagnosis(written)["prob_after"] > 1.2 * diagnosis(written)["prob_before"] > 0
    with written.applied(raw_model):
        erased = replace(weights, objective=Objective(erase=True)).edit(raw_model, REQUEST)
    assert diagnosis(erased)["prob_before"] == pytest.approx(diagnosis(written)["prob_after"], rel=1e-6)
    assert diagnosis(erased)["prob_after"] < 0.75 * diagnosis(erased)["prob_before"]


def test_an_erased_target_of_small_probability_is_left_but_all_passes_are_made(gpt2: Any) -> None:
    edit = replace(QUICK, objective=Objective(erase=True), stop_loss=0.9).edit(gpt2, REQUEST)
    assert len(edit.provenance["losses"][0]) == 5 and edit.deltas[LAYER, "W_out"].norm() == 0


def test_embeddings_change_in_the_rows_of_the_subjects_tokens_alone(raw_model: Any) -> None:
    edit = replace(FineTune.embeddings(steps=4), prepend_bos=False).edit(raw_model, [REQUEST, OTHER_REQUEST])
    ((place, delta),) = edit.deltas.items()
    assert place == (-1, "W_E") and delta.kind == "rows"
    wanted = set()
    for request in (REQUEST, OTHER_REQUEST):
        start = request.template.index("{}")
        encoded = raw_model.tokenizer(request.prompt, add_special_tokens=False, return_offsets_mapping=True)
        inside = [start < after and first < start + len(request.subject) for first, after in encoded["offset_mapping"]]
        wanted |= {token for token, hit in zip(encoded["input_ids"], inside, strict=True) if hit}
    assert delta.rows.tolist() == sorted(wanted)
    assert bool((delta.change.abs().sum(1) > 0).all()) and float(delta.change.abs().max()) <= 0.01
    for found in edit.provenance["diagnostics"]:
        assert found["prob_after"] > found["prob_before"]


@pytest.mark.filterwarnings("ignore::lens_rome.editing.SameFactWarning")
def test_a_request_twice_is_a_request_once_where_the_mean_is_minimised(gpt2: Any) -> None:
    # The mean of two equal gradients is rounded apart from one.
    assert_same_change(QUICK.edit(gpt2, [REQUEST, REQUEST]), QUICK.edit(gpt2, REQUEST), atol=1e-11)


def test_a_joint_edit_of_one_request_is_its_single_edit_and_independent_edits_do_not_mix(gpt2: Any) -> None:
    first, second = QUICK.edit_each(gpt2, [REQUEST, OTHER_REQUEST])
    assert_same_change(first, QUICK.edit(gpt2, [REQUEST]))
    assert_same_change(second, QUICK.edit(gpt2, OTHER_REQUEST))
    with pytest.raises(EditError, match="no requests to edit"):
        QUICK.edit_each(gpt2, [])


def test_the_noise_of_a_fit_comes_from_its_seed_alone(gpt2: Any) -> None:
    noised = replace(QUICK, objective=Objective(noise=0.3, noise_seed=3), repeats=2)
    first = noised.edit(gpt2, REQUEST)
    torch.manual_seed(123)
    assert_same_change(first, noised.edit(gpt2, REQUEST))
    other = replace(noised, objective=Objective(noise=0.3, noise_seed=4)).edit(gpt2, REQUEST)
    assert float((other.deltas[LAYER, "W_out"].dense() - first.deltas[LAYER, "W_out"].dense()).norm()) > 0


def test_an_edit_of_a_fit_is_applied_saved_and_loaded(gpt2: Any, tmp_path: Path) -> None:
    edit = QUICK.edit(gpt2, REQUEST)
    json.dumps(edit.provenance)
    loaded = Edit.load(edit.save(tmp_path / "edit.safetensors"))
    assert_same_change(loaded, edit)
    with assert_untouched(gpt2), loaded.applied(gpt2):
        again = QUICK.edit(gpt2, REQUEST)
    assert diagnosis(again)["prob_before"] == pytest.approx(diagnosis(edit)["prob_after"], rel=1e-9)


def test_a_fit_leaves_the_model_and_its_gradients_alone(raw_model: Any) -> None:
    parameters = list(raw_model.parameters())
    weight = as_surface(raw_model).leaf(LAYER, "W_out")
    parameters[0].requires_grad_(False)
    weight.requires_grad_(False)
    try:
        with assert_untouched(raw_model):
            replace(QUICK, parameters=("W_out",)).edit(raw_model, REQUEST)
        assert all(parameter.grad is None for parameter in parameters)
    finally:
        parameters[0].requires_grad_(True)
        weight.requires_grad_(True)


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_a_fit_that_is_broken_off_leaves_the_model_alone(gpt2: Any, kind: type[BaseException]) -> None:
    calls = []

    def fail_late(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
        calls.append(1)
        if len(calls) > 4:
            raise kind("broken off")
        return activation

    before = as_surface(gpt2).weight(LAYER).clone()
    failing = gpt2.hooks(fwd_hooks=[("blocks.2.hook_resid_post", fail_late)])
    with assert_untouched(gpt2), pytest.raises(kind, match="broken off"), failing:
        QUICK.edit(gpt2, REQUEST)
    assert torch.equal(before, as_surface(gpt2).weight(LAYER))


def test_a_fit_works_without_gradients_and_in_inference_mode(gpt2: Any) -> None:
    plain = QUICK.edit(gpt2, REQUEST)
    with torch.no_grad():
        assert_same_change(QUICK.edit(gpt2, REQUEST), plain)
    with torch.inference_mode():
        assert_same_change(QUICK.edit(gpt2, REQUEST), plain)


def test_windows_are_those_of_hase_et_al_and_end_at_the_edges() -> None:
    assert window_layers(5, 1, 28) == (5,)
    assert window_layers(5, 5, 28) == (3, 4, 5, 6, 7)
    assert window_layers(5, 10, 28) == tuple(range(10))
    assert window_layers(14, 10, 28) == tuple(range(9, 19))
    assert (window_layers(0, 5, 28), window_layers(27, 5, 28)) == ((0, 1, 2), (25, 26, 27))
    editor = FineTune.window(5, 5, 28, norm_bound=2e-5)
    assert (editor.layers, editor.norm_bound, editor.reduction, editor.patience) == ((3, 4, 5, 6, 7), 2e-5, "sum", 5)


REFUSED: dict[str, dict[str, Any]] = {
    r"layers must be a tuple such as \(5,\), got \(\)": {"layers": ()},
    r"layers must rise: give \(1, 2\)": {"layers": (2, 1)},
    r"layers must not repeat": {"layers": (1, 1)},
    r"layers count from 0": {"layers": (-2,)},
    r"embeddings are fitted alone.*FineTune\.embeddings": {"layers": (-1,)},
    r"fitted alone": {"parameters": ("W_E",)},
    r"parameters must not repeat": {"parameters": ("W_out", "W_out")},
    r"steps must be a whole number ≥ 1, got 0": {"steps": 0},
    r"batch must be a whole number": {"batch": 0},
    r"patience must be a whole number": {"patience": 0},
    r"repeats must be a whole number": {"repeats": 0},
    r"lr must be a number > 0": {"lr": -1e-3},
    r"stop_loss must be a number ≥ 0": {"stop_loss": -1.0},
    r"weight_decay must be a number ≥ 0": {"weight_decay": float("nan")},
    r"norm_bound must be a number > 0, or None": {"norm_bound": -1e-4},
    r"unknown loss 'first'; choose one of all, last": {"loss": "first"},
    r"unknown reduction 'max'; choose one of mean, sum": {"reduction": "max"},
}


@pytest.mark.parametrize(("message", "settings"), REFUSED.items(), ids=REFUSED.keys())
def test_settings_that_cannot_be_used_are_refused(message: str, settings: dict[str, Any]) -> None:
    with pytest.raises(EditError, match=message):
        FineTune(**{"layers": (1,), **settings})


def test_requests_and_places_that_cannot_be_used_are_refused(gpt2: Any) -> None:
    with assert_untouched(gpt2):
        with pytest.raises(EditError, match="no requests to edit"):
            QUICK.edit(gpt2, [])
        with pytest.raises(SurfaceError, match="layer 9 does not exist"):
            replace(QUICK, layers=(9,)).edit(gpt2, REQUEST)
        with pytest.raises(SurfaceError, match=r"no parameter 'W_up'.*FineTune\(parameters=...\)"):
            replace(QUICK, parameters=("W_up",)).edit(gpt2, REQUEST)
        empty = EditRequest("Steve Jobs", "{} was the founder of", "it")
        object.__setattr__(empty, "target_new", " ")
        with pytest.raises(FactError, match="the answer is empty"):
            QUICK.edit_each(gpt2, [REQUEST, empty])
        with pytest.raises(EditError, match=r"weights diverged\. Lower lr"):
            replace(QUICK, lr=1.7e308).edit(gpt2, REQUEST)
        for layer, width in ((4, 5), (-1, 1)):
            with pytest.raises(EditError, match="does not exist: the model has layers 0 to 3"):
                window_layers(layer, width, 4)
        with pytest.raises(EditError, match="width of 1 layer at least, got 0"):
            FineTune.window(1, 0, 4)


def test_a_model_without_biases_says_which_parameters_to_give(fresh_model: LoadModel) -> None:
    model = fresh_model(Case("llama", "bridge"))
    with pytest.raises(SurfaceError, match=r"no live b_out of layer 1.*FineTune\(parameters=...\)"):
        QUICK.edit(model, REQUEST)
