"""Parameters by TransformerLens's names: what is handed out is live, and what is not live is refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lens_rome.errors import SurfaceError
from lens_rome.surface import AbstractSurface, as_surface
from lens_rome.surface.parameters import ATTENTION_PARAMETERS
from tests.helpers import VOCAB, Case

D_MLP = {"gpt2": 128, "gptj": 128, "neox": 96, "llama": 80}
TOKENS = torch.arange(5, 11)[None]
LAYER = 1


def expected_shapes(case: Case) -> dict[tuple[int, str], tuple[int, ...]]:
    """Every parameter of MLPs, embeddings and unembedding that must be live."""
    d_mlp, gated = D_MLP[case.architecture], case.architecture == "llama"
    shapes: dict[tuple[int, str], tuple[int, ...]] = {
        (LAYER, "W_in"): (32, d_mlp),
        (LAYER, "W_out"): (d_mlp, 32),
        (-1, "W_E"): (VOCAB, 32),
        (-1, "W_U"): (32, VOCAB),
    }
    if case.surface == "hooked" or case.architecture == "gptj":  # others have none; some bridges add one of zeros
        shapes[-1, "b_U"] = (VOCAB,)
    if gated:
        shapes[LAYER, "W_gate"] = (32, d_mlp)
    if not gated or case.surface == "hooked":
        shapes |= {(LAYER, "b_in"): (d_mlp,), (LAYER, "b_out"): (32,)}
    if case.architecture == "gpt2":
        shapes[-1, "W_pos"] = (64, 32)
    return shapes


@torch.no_grad()
def effect_of_writing(surface: AbstractSurface, layer: int, name: str) -> float:
    """Largest change of the logits when noise is written into a parameter; the parameter is put back."""
    parameter, before = surface.parameter(layer, name), surface.run(TOKENS)
    saved = parameter.clone()
    parameter.add_(torch.randn_like(parameter))
    effect = float((surface.run(TOKENS) - before).abs().max())
    parameter.copy_(saved)
    assert torch.equal(surface.run(TOKENS), before)
    return effect


def test_writing_to_a_parameter_changes_the_model(raw_case: Case, fresh_model: Callable[[Case], Any]) -> None:
    surface = as_surface(fresh_model(raw_case))
    for (layer, name), shape in expected_shapes(raw_case).items():
        assert tuple(surface.parameter(layer, name).shape) == shape, name
        assert effect_of_writing(surface, layer, name) > 1e-3, name


def test_writing_to_a_parameter_of_attention_changes_the_model_or_it_is_refused(
    raw_case: Case, fresh_model: Callable[[Case], Any]
) -> None:
    surface, live = as_surface(fresh_model(raw_case)), []
    for name in ATTENTION_PARAMETERS:
        try:
            surface.parameter(LAYER, name)
        except SurfaceError as error:
            assert "has no live" in str(error)
            continue
        live.append(name)
        effect = effect_of_writing(surface, LAYER, name)
        # A bias of the keys adds the same to all scores of a query, which the softmax does not see.
        assert name == "b_K" or effect > 1e-3, name
    assert "W_O" in live
    if raw_case.surface == "hooked" and raw_case.architecture != "llama":
        assert live == list(ATTENTION_PARAMETERS)


def test_a_leaf_lies_in_the_same_memory_and_takes_gradients(raw_case: Case, fresh_model: Callable[[Case], Any]) -> None:
    model = fresh_model(raw_case)
    surface = as_surface(model)
    leaves = {id(parameter) for parameter in model.parameters()}
    for layer, name in expected_shapes(raw_case):
        leaf, parameter = surface.leaf(layer, name), surface.parameter(layer, name)
        assert id(leaf) in leaves and leaf.is_leaf and leaf.numel() == parameter.numel()
        (gradient,) = torch.autograd.grad(surface.run(TOKENS)[0, -1, 7], leaf)
        assert gradient.shape == leaf.shape and bool(gradient.any()), name
        with torch.no_grad():
            leaf[0] += 1
            turned = leaf if leaf.shape == parameter.shape else leaf.T
            assert torch.equal(surface.parameter(layer, name), turned)


def test_the_weight_of_the_keys_is_the_parameter_w_out(any_model: Any) -> None:
    surface = as_surface(any_model)
    assert surface.parameter(2, "W_out").data_ptr() == surface.weight(2).data_ptr()


def test_a_parameter_that_the_model_does_not_have_is_refused(shared_model: Callable[[Case], Any]) -> None:
    surface = as_surface(shared_model(Case("llama", "bridge")))
    for layer, name in ((0, "b_out"), (-1, "W_pos")):
        with pytest.raises(SurfaceError, match=f"has no live {name}.*has no such parameter"):
            surface.parameter(layer, name)


def test_a_parameter_that_is_computed_is_refused(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    surface = as_surface(gpt2)
    copy = torch.nn.Module()
    copy.W_in = surface.parameter(1, "W_in").detach().clone()
    monkeypatch.setitem(gpt2.blocks[1]._modules, "mlp", copy)
    with pytest.raises(SurfaceError, match=r"no live W_in of layer 1: .* writing to it would change nothing"):
        surface.parameter(1, "W_in")


@pytest.mark.parametrize(("layer", "name"), [(0, "W_new"), (0, "W_E"), (-1, "W_out")])
def test_an_unknown_name_is_refused_with_the_known_ones(gpt2: Any, layer: int, name: str) -> None:
    with pytest.raises(SurfaceError, match=rf"no parameter '{name}' at layer {layer}.*W_in.*layer -1.*W_E, W_pos"):
        as_surface(gpt2).parameter(layer, name)


@pytest.mark.parametrize("layer", [4, -2])
def test_a_layer_that_does_not_exist_is_refused(gpt2: Any, layer: int) -> None:
    with pytest.raises(SurfaceError, match=f"layer {layer} does not exist: the model has layers 0 to 3"):
        as_surface(gpt2).leaf(layer, "W_in")
