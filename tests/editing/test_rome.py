"""ROME and R-ROME by what defines them: which key is mapped where, and what nothing else may change."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError

from lens_rome.editing import ROME, RROME, DisablingEditWarning, ValueSettings, compute_value
from lens_rome.editing.requests import as_requests
from lens_rome.errors import EditError, FactError, MomentError, SurfaceError
from lens_rome.facts import Fact
from lens_rome.moments import MomentOrigin, SecondMoment
from lens_rome.surface import Site, as_surface
from tests.editing.support import (
    CONTEXTS,
    DISABLING,
    LAYER,
    NO_PROBE,
    OTHER_REQUEST,
    REQUEST,
    SHORT,
    dense,
    keys_of,
    quick_edit,
    quick_rome,
    quick_rrome,
    random_moment,
)
from tests.helpers import Case, assert_untouched
from tests.oracles.editing import rome_by_inverse, row_of

pytestmark = [pytest.mark.filterwarnings(NO_PROBE), pytest.mark.filterwarnings(DISABLING)]

EDITORS = {"ROME": quick_rome(), "bare": quick_rome(bare=True), "R-ROME": quick_rrome()}


def keys_and_value(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys of `REQUEST` after each context, bare prompt first, by full runs; and v*."""
    keys = []
    for before in CONTEXTS:
        bos = as_surface(model).prepends_bos()
        row = row_of(model.tokenizer, before, REQUEST.template, REQUEST.subject, "", "subject_last", bos)
        _, cache = model.run_with_cache(torch.tensor([row.prompt]))
        keys.append(cache[f"blocks.{LAYER}.mlp.hook_post"][0, row.lookup].detach())
    return torch.stack(keys).double(), compute_value(model, REQUEST, LAYER, CONTEXTS, SHORT).target.double()


def test_the_update_equals_the_formula_with_an_explicit_inverse(any_model: Any, any_case: Case) -> None:
    moment, surface = random_moment(any_model), as_surface(any_model)
    keys, target = keys_and_value(any_model)
    weight, bias = surface.weight(LAYER).detach().double(), surface.bias(LAYER).double()
    for kind in EDITORS if not any_case.processed else ("ROME",):
        edit = EDITORS[kind].edit(any_model, REQUEST, moments=moment)
        expected = rome_by_inverse(weight, bias, moment.mean, keys, target, kind)
        # The present value is read from a forward there and computed here; both round in the model's own precision.
        scale = 1e3 * any_case.tolerance * float(expected.norm())
        torch.testing.assert_close(dense(edit), expected, rtol=0, atol=scale)


@torch.no_grad()
@pytest.mark.parametrize("kind", EDITORS)
def test_the_edited_layer_maps_the_right_key_to_the_new_value(gpt2: Any, gpt2_case: Case, kind: str) -> None:
    edit = EDITORS[kind].edit(gpt2, REQUEST, moments=random_moment(gpt2))
    with torch.enable_grad():
        keys, target = keys_and_value(gpt2)
    key = keys.mean(0) if kind == "R-ROME" else keys[0]
    with edit.applied(gpt2):
        surface = as_surface(gpt2)
        found = key @ surface.weight(LAYER).double() + surface.bias(LAYER).double()
    torch.testing.assert_close(found, target, rtol=0, atol=1e3 * gpt2_case.tolerance * float(target.norm()))


def test_rome_gives_the_subject_of_the_bare_prompt_its_new_value_in_the_model(raw_model: Any, raw_case: Case) -> None:
    edit = quick_edit(raw_model)
    _, target = keys_and_value(raw_model)
    with edit.applied(raw_model):
        now = keys_of(raw_model, ("",)).values[0].double()
    torch.testing.assert_close(now, target, rtol=0, atol=1e3 * raw_case.tolerance * float(target.norm()))


def test_an_edit_changes_one_weight_of_one_layer_by_rank_one(any_model: Any) -> None:
    edit = quick_edit(any_model)
    assert set(edit.deltas) == {(LAYER, "W_out")} and edit.rank == 1
    assert int(torch.linalg.matrix_rank(dense(edit))) == 1
    before = {name: weight.clone() for name, weight in any_model.state_dict().items()}
    with edit.applied(any_model):
        changed = [name for name, weight in any_model.state_dict().items() if not torch.equal(weight, before[name])]
        places = {any_model.state_dict()[name].data_ptr() for name in changed}
        assert len(places) == 1 and places == {as_surface(any_model).weight(LAYER).data_ptr()}


def test_making_an_edit_leaves_the_model_alone(raw_model: Any) -> None:
    with assert_untouched(raw_model):
        quick_edit(raw_model)
        quick_rrome().edit_each(raw_model, [OTHER_REQUEST], moments=random_moment(raw_model))
    assert all(parameter.grad is None for parameter in raw_model.parameters())


def test_the_scale_of_the_moment_does_not_matter(gpt2: Any) -> None:
    moment = random_moment(gpt2)
    larger = SecondMoment(LAYER, 1e4 * moment.total, moment.count, moment.origin)
    edit, same = (quick_rome().edit(gpt2, REQUEST, moments=each) for each in (moment, larger))
    torch.testing.assert_close(dense(edit), dense(same), rtol=1e-9, atol=1e-12)


def test_the_moment_does_matter(gpt2: Any) -> None:
    edit, other = quick_edit(gpt2), quick_rome().edit(gpt2, REQUEST, moments="identity")
    assert (dense(edit) - dense(other)).norm() > 0.1 * dense(edit).norm()


def test_the_bare_variant_equals_rome_with_no_other_context(gpt2: Any) -> None:
    moment, only = random_moment(gpt2), {"contexts": ("",)}
    bare, plain, averaged = (
        editor.edit(gpt2, REQUEST, moments=moment)
        for editor in (quick_rome(bare=True, **only), quick_rome(**only), quick_rrome(**only))
    )
    torch.testing.assert_close(dense(bare), dense(plain), rtol=0, atol=0)
    torch.testing.assert_close(dense(averaged), dense(plain), rtol=1e-9, atol=1e-12)


def test_several_requests_are_one_edit_made_in_sequence(gpt2: Any, gpt2_case: Case) -> None:
    moment = random_moment(gpt2)
    joint = quick_rome().edit(gpt2, [REQUEST, OTHER_REQUEST], moments=moment)
    first = quick_rome().edit(gpt2, REQUEST, moments=moment)
    with first.applied(gpt2):
        second = quick_rome().edit(gpt2, OTHER_REQUEST, moments=moment)
        with second.applied(gpt2):
            expected = as_surface(gpt2).weight(LAYER).detach().clone()
    alone = quick_rome().edit(gpt2, OTHER_REQUEST, moments=moment)
    with joint.applied(gpt2):
        found = as_surface(gpt2).weight(LAYER).detach().clone()
    torch.testing.assert_close(found, expected, rtol=0, atol=10 * gpt2_case.tolerance)
    assert joint.rank == 2 and len(joint.provenance["requests"]) == len(joint.provenance["losses"]) == 2
    # The second edit must have been made on the model with the first in it.
    assert (dense(second) - dense(alone)).norm() > 1e-6 * dense(alone).norm()


def test_edit_each_makes_edits_that_know_nothing_of_each_other(gpt2: Any) -> None:
    moment = random_moment(gpt2)
    edits = quick_rome().edit_each(gpt2, [REQUEST, OTHER_REQUEST], moments=moment)
    for request, edit in zip([REQUEST, OTHER_REQUEST], edits, strict=True):
        alone = dense(quick_rome().edit(gpt2, request, moments=moment))
        torch.testing.assert_close(dense(edit), alone, rtol=0, atol=1e-9 * float(alone.norm()))
    with pytest.raises(EditError, match="no requests"):
        quick_rome().edit_each(gpt2, [], moments=moment)


def test_an_edit_records_how_it_was_made(gpt2: Any) -> None:
    provenance = quick_edit(gpt2).provenance
    assert provenance["editor"] == "ROME" and provenance["contexts"] == list(CONTEXTS)
    assert provenance["requests"][0]["subject"] == "Steve Jobs" and provenance["prepend_bos"] is True
    assert provenance["settings"]["layer"] == LAYER and provenance["settings"]["value"]["steps"] == 4
    assert len(provenance["losses"][0]) == 4 and provenance["moment"]["corpus"] == "made up"


def test_contexts_are_sampled_once_with_the_seed_and_stored(gpt2: Any) -> None:
    settings = {"contexts": None, "context_lengths": ((3, 2), (4, 1)), "value": SHORT}
    edits = [ROME(LAYER, seed=seed, **settings).edit(gpt2, REQUEST, moments="identity") for seed in (0, 0, 1)]
    contexts = [edit.provenance["contexts"] for edit in edits]
    assert len(contexts[0]) == 4 and contexts[0] == contexts[1] != contexts[2]
    assert torch.equal(dense(edits[0]), dense(edits[1]))


def test_bad_input_ends_in_one_clear_error(gpt2: Any) -> None:
    with pytest.raises(EditError, match="no requests"):
        ROME(LAYER).edit(gpt2, [], moments="identity")
    with pytest.raises(MomentError, match=r"collect_moments\(model, 1, texts\)"):
        ROME(LAYER).edit(gpt2, REQUEST)
    with pytest.raises(EditError, match="begin with ''"):
        ROME(LAYER, contexts=("He said that. ",))
    with pytest.raises(EditError, match="begin with ''"):
        ROME(LAYER, contexts=())
    gpt2.train()
    try:
        with pytest.raises(SurfaceError, match=r"model\.eval\(\)"):
            ROME(LAYER).edit(gpt2, REQUEST, moments="identity")
    finally:
        gpt2.eval()


def test_a_model_with_nan_in_the_edited_weight_is_refused(fresh_model: Any, gpt2_case: Case) -> None:
    model = fresh_model(gpt2_case)
    with torch.no_grad():
        as_surface(model).weight(LAYER)[0, 0] = torch.nan
    with pytest.raises(SurfaceError, match=f"W_out of layer {LAYER} holds NaN"):
        quick_edit(model)


def test_a_model_with_nan_in_another_weight_is_refused_by_name(fresh_model: Any, gpt2_case: Case) -> None:
    model = fresh_model(gpt2_case)
    with torch.no_grad():
        as_surface(model).weight(3)[0, 0] = torch.nan
    with pytest.raises(SurfaceError, match=r"NaN or infinite values are in: .*\.3\."):
        quick_edit(model)


def moment_that_disables(keys: torch.Tensor, cosine: float) -> SecondMoment:
    """A moment under whose inverse the averaged key and the bare one have (almost) this cosine."""
    average, bare = keys.mean(0).double(), keys[0].double()
    apart = average / average.norm() - bare / bare.norm()
    near = float(torch.cosine_similarity(average, bare, dim=0))
    strength = (near - cosine) / (1 - near) ** 2
    inverse = torch.eye(len(bare), dtype=torch.float64) + strength * torch.outer(apart, apart)
    moment = torch.linalg.inv(inverse)
    return SecondMoment(LAYER, (moment + moment.T) / 2, 1, MomentOrigin("made up", None))


@pytest.mark.parametrize("cosine", [0.001, -0.2])
def test_an_edit_whose_two_keys_are_almost_orthogonal_warns(gpt2: Any, cosine: float) -> None:
    keys = keys_of(gpt2, CONTEXTS).keys
    moment = moment_that_disables(keys, cosine)
    with pytest.warns(DisablingEditWarning, match="RROME uses one key throughout") as caught:
        edit = quick_rome().edit(gpt2, REQUEST, moments=moment)
    assert {Path(warning.filename) for warning in caught} == {Path(__file__)}
    assert (edit.provenance["diagnostics"][0]["key_angle_degrees"] > 90) == (cosine < 0)


def test_an_ordinary_edit_and_one_with_a_single_key_do_not_warn(gpt2: Any) -> None:
    moment = moment_that_disables(keys_of(gpt2, CONTEXTS).keys, 0.001)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DisablingEditWarning)
        quick_edit(gpt2)
        quick_rrome().edit(gpt2, REQUEST, moments=moment)


def test_an_editor_with_one_key_is_not_told_to_use_itself(gpt2: Any) -> None:
    settings = {"value": ValueSettings(steps=4, clamp=400.0, lr=40.0, weight_decay=0.0)}
    for editor in (quick_rrome(**settings), quick_rome(bare=True, **settings)):
        with pytest.warns(DisablingEditWarning, match=r"Try another layer, a smaller ValueSettings\(clamp") as caught:
            editor.edit_each(gpt2, [REQUEST], moments=random_moment(gpt2))
        assert not any("RROME" in str(warning.message) for warning in caught)


def test_a_fact_in_a_requests_place_is_refused_with_what_to_do(gpt2: Any) -> None:
    fact = Fact("Steve Jobs", "{} was the founder of", "Apple")
    for requests in (fact, [REQUEST, fact]):
        with pytest.raises(EditError, match=r"is a fact, no request; use fact\.rewrite\(\.\.\.\)"):
            as_requests(requests)
        with pytest.raises((EditError, TypeCheckError), match=r"use fact\.rewrite|'requests'"):
            quick_rome().edit(gpt2, requests, moments="identity")
    with pytest.raises(EditError, match="requests are EditRequests, got 'Steve Jobs'"):
        as_requests("Steve Jobs")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer": -1}, "layer must be a whole number from 0, got -1"),
        ({"layer": True}, "layer must be a whole number from 0, got True"),
        ({"lookup": "verb"}, "unknown lookup 'verb'; choose one of subject_last"),
        ({"context_lengths": ((0, 5),)}, r"2 tokens .* and 1 text at least, such as .* got \(\(0, 5\),\)"),
        ({"context_lengths": ((5, 10), (5, 0))}, r"got \(\(5, 10\), \(5, 0\)\)"),
        ({"contexts": ("", "He said")}, r"'He said' would run into the prompt; end it with a space: 'He said '"),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [ROME, RROME])
def test_settings_are_checked_when_an_editor_is_made(kind: type, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(EditError, match=message):
        kind(**{"layer": LAYER, **settings})


@pytest.mark.parametrize("name", ["steps", "lr", "clamp", "weight_decay", "kl_factor", "stop_loss"])
@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf")])
def test_settings_of_the_search_are_checked_when_they_are_made(name: str, wrong: float) -> None:
    with pytest.raises((EditError, TypeCheckError), match=r"lr and clamp > 0|'steps'"):
        ValueSettings(**{name: wrong})


def test_context_prefixes_longer_than_the_models_context_are_refused(gpt2: Any) -> None:
    with pytest.raises(FactError, match=r"prefixes of 65 tokens do not fit .* of 64. Choose shorter ones"):
        ROME(LAYER, context_lengths=((65, 1),)).edit(gpt2, REQUEST, moments="identity")


def test_an_edit_can_be_made_in_inference_mode(gpt2: Any) -> None:
    expected = quick_edit(gpt2)
    with torch.inference_mode():
        edit = quick_edit(gpt2)
        value = compute_value(gpt2, REQUEST, LAYER, CONTEXTS, SHORT)
        with edit.applied(gpt2):
            assert gpt2(torch.tensor([[5, 17]])).isfinite().all()
    assert torch.equal(dense(edit), dense(expected)) and not dense(edit).is_inference()
    assert torch.equal(value.delta, compute_value(gpt2, REQUEST, LAYER, CONTEXTS, SHORT).delta)


def test_a_model_that_was_loaded_in_inference_mode_is_refused(fresh_model: Any, gpt2_case: Case) -> None:
    model = fresh_model(gpt2_case)
    with torch.inference_mode():
        for module in model.modules():
            for name, parameter in module._parameters.items():
                module._parameters[name] = None if parameter is None else torch.nn.Parameter(parameter.clone())
    with pytest.raises(EditError, match=r"loaded under torch\.inference_mode\(\).* Load it outside"):
        quick_edit(model)


def test_a_hook_that_changes_the_edited_layers_output_is_refused(gpt2: Any) -> None:
    name = as_surface(gpt2).hook_name(Site(LAYER, "value"))
    with gpt2.hooks(fwd_hooks=[(name, lambda activation, hook: 1.1 * activation)]):  # noqa: ARG005
        with pytest.raises(SurfaceError, match="or a hook on it changes the output; it cannot be edited"):
            quick_edit(gpt2)
        assert quick_edit(gpt2, layer=LAYER + 1).rank == 1
