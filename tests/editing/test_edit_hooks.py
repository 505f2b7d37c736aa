"""An edit as hooks: the same function of the model as the edited weight, among hooks of all sorts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from lens_rome.editing import Edit, LowRankDelta
from lens_rome.errors import EditError, EditMismatchError
from lens_rome.facts import Fact
from lens_rome.surface import as_surface, owner_hooks
from lens_rome.tracing import trace
from tests.editing.support import (
    DISABLING,
    LAYER,
    NO_PROBE,
    OTHER_REQUEST,
    REQUEST,
    quick_edit,
    quick_rome,
    random_moment,
)
from tests.helpers import Case, assert_untouched

pytestmark = [pytest.mark.filterwarnings(NO_PROBE), pytest.mark.filterwarnings(DISABLING)]

TOKENS = torch.tensor([[5, 17, 300, 41, 99, 7], [8, 8, 120, 3, 55, 60]])
FACT = Fact("Steve Jobs", "{} was the founder of", "E")


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model(TOKENS)


def assert_hooks_equal_weights(model: Any, case: Case, edit: Edit) -> None:
    plain = logits(model)
    with edit.applied(model):
        expected = logits(model)
    with assert_untouched(model):
        with torch.no_grad():
            found = model.run_with_hooks(TOKENS, fwd_hooks=edit.hooks(model))
        with edit.hooked(model) as inside:
            assert inside is model
            hooked = logits(model)
    # Logits are about ten times as large as the probabilities that the tolerance is meant for.
    for each in (found, hooked):
        torch.testing.assert_close(each, expected, rtol=0, atol=10 * case.tolerance)
    assert (expected - plain).abs().max() > 1e3 * case.tolerance
    assert torch.equal(logits(model), plain)


def test_hooks_equal_weights(any_model: Any, any_case: Case) -> None:
    assert_hooks_equal_weights(any_model, any_case, quick_edit(any_model))


def test_hooks_of_an_edit_of_several_layers_and_requests_equal_weights(gpt2: Any, gpt2_case: Case) -> None:
    low = quick_rome(0).edit(gpt2, [FACT.rewrite("Rome"), OTHER_REQUEST], moments=random_moment(gpt2, 0))
    assert_hooks_equal_weights(gpt2, gpt2_case, low + quick_edit(gpt2, layer=2))


def change_the_key(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
    return activation.sin() + 0.3


def replace_the_output(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
    return activation.tanh() * 2


OWNERS: list[list[tuple[str, Callable[..., torch.Tensor]]]] = [
    [("mlp.hook_post", change_the_key)],
    [("hook_mlp_out", replace_the_output)],
    [("mlp.hook_post", change_the_key), ("hook_mlp_out", replace_the_output)],
]


def test_hooked_keeps_the_order_among_hooks_that_the_owner_attached_before(raw_model: Any, raw_case: Case) -> None:
    edit = quick_edit(raw_model)
    for owners in OWNERS:
        with raw_model.hooks(fwd_hooks=[(f"blocks.{LAYER}.{name}", function) for name, function in owners]):
            unedited = logits(raw_model)
            with edit.applied(raw_model):
                expected = logits(raw_model)
            with assert_untouched(raw_model), edit.hooked(raw_model):
                found = logits(raw_model)
        torch.testing.assert_close(found, expected, rtol=0, atol=10 * raw_case.tolerance)
        assert (expected - unedited).abs().max() > 1e3 * raw_case.tolerance


def test_hooks_compose_with_another_hook_that_comes_after_them(gpt2: Any, gpt2_case: Case) -> None:
    edit = quick_edit(gpt2)
    other = [(f"blocks.{LAYER}.hook_mlp_out", replace_the_output), ("blocks.2.hook_resid_post", change_the_key)]
    with torch.no_grad():
        found = gpt2.run_with_hooks(TOKENS, fwd_hooks=[*edit.hooks(gpt2), *other])
        with edit.applied(gpt2):
            expected = gpt2.run_with_hooks(TOKENS, fwd_hooks=other)
    torch.testing.assert_close(found, expected, rtol=0, atol=10 * gpt2_case.tolerance)


def test_hooked_takes_its_hooks_away_after_an_exception(gpt2: Any) -> None:
    edit = quick_edit(gpt2)
    with assert_untouched(gpt2), pytest.raises(RuntimeError), edit.hooked(gpt2):
        raise RuntimeError


@pytest.mark.filterwarnings("ignore::lens_rome.tracing.result.WeakTraceWarning")
def test_a_trace_under_the_hooks_equals_the_trace_of_the_edited_weights(raw_model: Any, raw_case: Case) -> None:
    edit = quick_edit(raw_model)
    settings = {"kind": "mlp", "samples": 2, "window": 2}
    with edit.applied(raw_model):
        expected = trace(raw_model, FACT, **settings)
    with raw_model.hooks(fwd_hooks=edit.hooks(raw_model)):
        # No full-length runs: the hooks do not look at positions.
        assert owner_hooks(raw_model) == []
        found = trace(raw_model, FACT, **settings)
    torch.testing.assert_close(
        torch.as_tensor(found.scores), torch.as_tensor(expected.scores), rtol=0, atol=raw_case.tolerance
    )
    assert found.clean_score == pytest.approx(expected.clean_score, abs=raw_case.tolerance)


def test_gradients_flow_through_the_hooks_as_through_the_weights(gpt2: Any) -> None:
    edit, parameter = quick_edit(gpt2), as_surface(gpt2).weight(0)

    def gradient() -> torch.Tensor:
        return torch.autograd.grad(gpt2(TOKENS)[0, -1, 7], parameter)[0]

    with edit.applied(gpt2):
        expected = gradient()
    with edit.hooked(gpt2):
        torch.testing.assert_close(gradient(), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("scale", [1, 1e-3, 1e-9, 1e6])
def test_the_scale_of_a_moment_does_not_matter_to_hooks_in_half_precision(
    shared_model: Any, gpt2_case: Case, scale: float
) -> None:
    model = shared_model(replace(gpt2_case, dtype=torch.float16))
    moment = random_moment(model)
    scaled = replace(moment, total=scale * moment.total)
    edit = quick_rome().edit(model, REQUEST, moments=scaled)
    plain = quick_edit(model)
    first, second = (each.deltas[LAYER, "W_out"].dense().double() for each in (plain, edit))
    assert (first - second).norm() <= 1e-3 * first.norm()
    with edit.applied(model):
        expected = logits(model)
    with edit.hooked(model):
        found = logits(model)
    # float16 has three digits; the logits are up to about ten.
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-2)


def test_only_half_of_a_pair_of_hooks_is_refused(gpt2: Any) -> None:
    adder, reader = quick_edit(gpt2).hooks(gpt2)
    assert reader[0] == f"blocks.{LAYER}.mlp.hook_post"
    with pytest.raises(EditError, match="attach both hooks"):
        gpt2.run_with_hooks(TOKENS, fwd_hooks=[adder])


def test_hooks_of_an_edit_for_other_weights_are_refused(gpt2: Any, shared_model: Any) -> None:
    with pytest.raises(EditMismatchError):
        quick_edit(gpt2).hooks(shared_model(Case("neox", "bridge")))


def test_an_edit_made_under_hooks_and_one_made_on_the_edited_weights_are_the_same(gpt2: Any) -> None:
    first, moment = quick_edit(gpt2, layer=0), random_moment(gpt2, 2)
    with first.applied(gpt2):
        on_weights = quick_rome(2).edit(gpt2, OTHER_REQUEST, moments=moment)
    with first.hooked(gpt2):
        under_hooks = quick_rome(2).edit(gpt2, OTHER_REQUEST, moments=moment)
    expected = on_weights.deltas[2, "W_out"].dense()
    found = under_hooks.deltas[2, "W_out"].dense()
    # Adam amplifies rounding.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8 * float(expected.norm()))
    with gpt2.hooks(fwd_hooks=first.hooks(gpt2) + under_hooks.hooks(gpt2)):
        both = logits(gpt2)
    with first.applied(gpt2), on_weights.applied(gpt2):
        torch.testing.assert_close(both, logits(gpt2), rtol=0, atol=1e-7)


def test_a_change_kept_in_factors_multiplies_like_the_dense_one(rng: torch.Generator) -> None:
    left, right = torch.randn(6, 2, generator=rng), torch.randn(2, 5, generator=rng)
    delta = LowRankDelta(left, right)
    torch.testing.assert_close(delta.dense(), left @ right)
    assert delta.norm() == pytest.approx(float((left @ right).norm()), rel=1e-5)
    assert delta.shape == (6, 5) and delta.rank == 2
    view = delta.factored()
    torch.testing.assert_close(view.AB, left @ right)
    torch.testing.assert_close(view.norm(), (left @ right).norm())
    assert view.rdim == 5 and view.mdim == 2
