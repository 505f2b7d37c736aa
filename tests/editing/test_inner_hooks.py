"""Low-rank changes of W_in and W_gate, and changes of biases, as hooks: the same function as the edited weights."""

from typing import Any

import pytest
import torch

from lens_rome.editing import Delta, DenseDelta, Edit, LowRankDelta
from lens_rome.editing.delta import Place
from lens_rome.errors import EditError, SurfaceError
from lens_rome.facts import Fact
from lens_rome.surface import as_surface, owner_hooks
from lens_rome.tracing import trace
from tests.editing.test_edit_hooks import assert_hooks_equal_weights, change_the_key, logits, replace_the_output
from tests.helpers import Case, assert_untouched

FACT = Fact("Steve Jobs", "{} was the founder of", "E")
TOKENS = torch.tensor([[5, 17, 300, 41, 99, 7], [8, 8, 120, 3, 55, 60]])


def normal(*shape: int, seed: int) -> torch.Tensor:
    return 0.2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def change(model: Any, place: Place) -> Delta:
    shape = as_surface(model).parameter(*place).shape
    if len(shape) == 1:
        return DenseDelta(normal(*shape, seed=place[0]))
    return LowRankDelta(normal(shape[0], 2, seed=place[0]), normal(2, shape[1], seed=place[0] + 1))


def edit_of(model: Any, *places: Place) -> Edit:
    return Edit.made_for(as_surface(model), {place: change(model, place) for place in places}, {})


def hooked_places(model: Any, layer: int) -> list[Place]:
    """All parameters of a block that have a hook form and are live in this model."""
    found = []
    for name in ("W_in", "W_gate", "W_out", "b_in", "b_gate", "b_out"):
        try:
            as_surface(model).parameter(layer, name)
        except SurfaceError:
            continue
        found.append((layer, name))
    return found


def test_hooks_of_each_parameter_equal_its_edited_weight(any_model: Any, any_case: Case) -> None:
    for place in hooked_places(any_model, 1):
        assert_hooks_equal_weights(any_model, any_case, edit_of(any_model, place))


def test_hooks_of_all_parameters_of_several_layers_equal_the_weights(raw_model: Any, raw_case: Case) -> None:
    places = [*hooked_places(raw_model, 0), *hooked_places(raw_model, 1), *hooked_places(raw_model, 3)]
    assert len(places) >= 9
    assert_hooks_equal_weights(raw_model, raw_case, edit_of(raw_model, *places))


def test_sums_and_multiples_as_hooks_equal_the_weights(gpt2: Any, gpt2_case: Case) -> None:
    edit = edit_of(gpt2, (1, "W_in"), (1, "W_out")) + edit_of(gpt2, (1, "W_in"), (2, "b_in")).scaled(-0.5)
    assert_hooks_equal_weights(gpt2, gpt2_case, edit)


def owners(case: Case) -> list[tuple[str, Any]]:
    """Hooks that somebody else attached at both sides of the changed matrices."""
    before = "ln2.hook_normalized" if case.surface == "hooked" else "mlp.in.hook_in"
    return [
        (f"blocks.1.{before}", change_the_key),
        ("blocks.1.mlp.hook_pre", replace_the_output),
        ("blocks.1.mlp.hook_post", change_the_key),
        ("blocks.1.hook_mlp_out", replace_the_output),
    ]


def test_hooked_keeps_the_order_among_hooks_that_the_owner_attached(raw_model: Any, raw_case: Case) -> None:
    edit = edit_of(raw_model, *hooked_places(raw_model, 1))
    with raw_model.hooks(fwd_hooks=owners(raw_case)):
        unedited = logits(raw_model)
        with edit.applied(raw_model):
            expected = logits(raw_model)
        with assert_untouched(raw_model), edit.hooked(raw_model):
            found = logits(raw_model)
    torch.testing.assert_close(found, expected, rtol=0, atol=10 * raw_case.tolerance)
    assert (expected - unedited).abs().max() > 1e3 * raw_case.tolerance


@pytest.mark.filterwarnings("ignore::lens_rome.tracing.result.WeakTraceWarning")
@pytest.mark.parametrize("kind", ["resid", "mlp"])
def test_a_trace_under_the_hooks_equals_the_trace_of_the_edited_weights(
    raw_model: Any, raw_case: Case, kind: str
) -> None:
    edit = edit_of(raw_model, (1, "W_in"), (2, "W_out"), (3, "W_in"))
    settings = {"kind": kind, "samples": 2} | ({"window": 2} if kind == "mlp" else {})
    with edit.applied(raw_model):
        expected = trace(raw_model, FACT, **settings)
    with edit.hooked(raw_model):
        assert owner_hooks(raw_model) == []
        found = trace(raw_model, FACT, **settings)
    torch.testing.assert_close(
        torch.as_tensor(found.scores), torch.as_tensor(expected.scores), rtol=0, atol=raw_case.tolerance
    )


def test_gradients_flow_through_the_hooks_as_through_the_weights(gpt2: Any) -> None:
    edit, parameter = edit_of(gpt2, (1, "W_in")), as_surface(gpt2).leaf(0, "W_in")

    def gradient() -> torch.Tensor:
        return torch.autograd.grad(gpt2(TOKENS)[0, -1, 7], parameter)[0]

    with edit.applied(gpt2):
        expected = gradient()
    with edit.hooked(gpt2):
        torch.testing.assert_close(gradient(), expected, rtol=0, atol=1e-11)


def test_only_half_of_a_pair_of_hooks_is_refused(gpt2: Any) -> None:
    adder, _ = edit_of(gpt2, (1, "W_in")).hooks(gpt2)
    with pytest.raises(EditError, match="at the output of W_in ran without the one at its input; attach both"):
        gpt2.run_with_hooks(TOKENS, fwd_hooks=[adder])


def test_a_block_without_a_norm_before_the_mlp_is_refused(shared_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = shared_model(Case("gpt2", "hooked"))
    edit = edit_of(model, (1, "W_in"))
    monkeypatch.setattr(model.cfg, "original_architecture", "Olmo2ForCausalLM")
    with pytest.raises(SurfaceError, match=r"input of W_in cannot be read.*Load the model as a TransformerBridge"):
        edit.hooks(model)
