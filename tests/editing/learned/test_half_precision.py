"""Learned editors of models in bfloat16 and float16: what is read is wide, what is written is rounded once."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from lens_rome.editing.learned import gradients
from lens_rome.editing.learned.changes import changed_run
from lens_rome.editing.learned.gradients import GradientFactors, gradient_factors
from lens_rome.editing.learned.rows import TargetRows
from lens_rome.errors import EditError
from lens_rome.surface import as_surface
from tests.editing.learned.support import (
    OTHER_REQUEST,
    PLACES,
    REQUEST,
    fitted,
    pairs_of,
    quick_ke,
    quick_mend,
    random_changes,
)
from tests.helpers import Case, assert_untouched

HALVES = [torch.bfloat16, torch.float16]
STEP = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}
"""Largest relative error of one rounding."""
EDITORS = [quick_mend, quick_ke]


def factors_of(model: Any) -> GradientFactors:
    return gradient_factors(as_surface(model), PLACES, TargetRows.of(pairs_of(model)))


@pytest.fixture(scope="module")
def trained_on() -> Callable[[Any, Any], Any]:
    """`trained_on(model, make)`: the editor that `make()` is trained to on a model, which comes back; trained once."""
    made: dict[tuple[int, Any], Any] = {}

    def trained(model: Any, make: Any) -> Any:
        if (id(model), make) not in made:
            with assert_untouched(model):
                made[id(model), make] = fitted(make(), model)
        return made[id(model), make]

    return trained


@pytest.fixture
def single(shared_model: Any, gpt2_case: Case) -> Any:
    """The same model in float32."""
    return shared_model(replace(gpt2_case, dtype=torch.float32))


@pytest.fixture(params=HALVES, ids=str)
def half(request: pytest.FixtureRequest, shared_model: Any, gpt2_case: Case) -> Any:
    """A model in half precision; nobody may change it."""
    return shared_model(replace(gpt2_case, dtype=request.param))


def test_factors_are_read_in_float32_and_are_those_of_float32_up_to_rounding(half: Any, single: Any) -> None:
    with assert_untouched(half):
        found = factors_of(half)
    expected, step = factors_of(single), STEP[as_surface(half).dtype]
    assert found.embedded.dtype == torch.float32
    torch.testing.assert_close(found.embedded, expected.embedded, rtol=2 * step, atol=step)
    for place, factors in found.at.items():
        for part, exact in ((factors.x, expected.at[place].x), (factors.delta, expected.at[place].delta)):
            assert part.dtype == torch.float32
            assert float((part - exact).norm()) < 10 * step * float(exact.norm())
        assert torch.equal(factors.kept, expected.at[place].kept)


def test_gradients_that_float16_would_make_zeros_are_kept(
    shared_model: Any, single: Any, gpt2_case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = shared_model(replace(gpt2_case, dtype=torch.float16))
    nll = TargetRows.nll
    # A target that the model is nearly sure of has such gradients.
    monkeypatch.setattr(TargetRows, "nll", lambda self, logits: 1e-5 * nll(self, logits))
    found, expected = factors_of(half), factors_of(single)
    for place, factors in found.at.items():
        exact = expected.at[place].delta
        assert 0 < float(exact.abs().max()) < 1e-5
        assert float((factors.delta - exact).norm()) < 0.02 * float(exact.norm())


def test_a_gradient_that_overflows_is_one_clear_error(
    shared_model: Any, gpt2_case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = shared_model(replace(gpt2_case, dtype=torch.float16))
    monkeypatch.setattr(gradients, "LOSS_SCALES", {torch.float16: 2.0**40})
    message = r"gradient at the output of W_in of layer 2 is not finite in float16\. Load the model in a wider"
    with assert_untouched(half), pytest.raises(EditError, match=message):
        factors_of(half)


def test_a_change_by_hooks_is_rounded_once(half: Any) -> None:
    surface = as_surface(half)
    changes = {(3, "W_out"): random_changes(surface, 2, size=0.5)[3, "W_out"]}
    wide = {
        place: replace(change, left=change.left.float(), right=change.right.float())
        for place, change in changes.items()
    }
    seen: list[torch.Tensor] = []
    name = f"blocks.3.{'mlp.out.hook_out' if surface.name == 'bridge' else 'hook_mlp_out'}"

    def see(activation: torch.Tensor, hook: Any) -> None:  # noqa: ARG001
        seen.append(activation.detach().clone())

    tokens = torch.tensor([[3, 4, 5]])
    with torch.no_grad():
        surface.run(tokens, [(name, see), ("blocks.3.mlp.hook_post", see)])
        key, plain = sorted(seen, key=lambda each: -each.shape[-1])
        with half.hooks(fwd_hooks=[(name, see)]):
            changed_run(surface, tokens, wide, [0])
    exact = plain.double() + key.double() @ wide[3, "W_out"].left[0].double().T @ wide[3, "W_out"].right[0].double()
    assert seen[-1].dtype == surface.dtype
    lost = (seen[-1].double() - exact).abs()
    assert (lost <= STEP[surface.dtype] * exact.abs() + 1e-5).all()


@pytest.mark.parametrize("make", EDITORS)
def test_training_is_that_of_float32_up_to_rounding(half: Any, single: Any, trained_on: Any, make: Any) -> None:
    trained, exact = trained_on(half, make), trained_on(single, make)
    losses, expected = ([each["loss"] for each in one.record.history] for one in (trained, exact))
    assert losses == pytest.approx(expected, rel=0.01) and min(losses) < losses[0]
    assert {parameter.dtype for parameter in trained.learned.network.parameters()} == {torch.float32}


def test_the_gradients_of_a_training_in_float16_have_the_size_of_those_in_float32(
    shared_model: Any, single: Any, gpt2_case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, norms = torch.nn.utils.clip_grad_norm_, []
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *args: norms.append(clip(*args)) or norms[-1])
    for model in (shared_model(replace(gpt2_case, dtype=torch.float16)), single):
        fitted(quick_mend(steps=1, validate_every=1), model)
    assert float(norms[0]) == pytest.approx(float(norms[1]), rel=0.05)


@pytest.mark.parametrize("make", EDITORS)
def test_an_edit_is_made_wide_and_its_rounding_is_told(half: Any, trained_on: Any, make: Any) -> None:
    trained = trained_on(half, make)
    with assert_untouched(half):
        edit = trained.edit(half, [REQUEST, OTHER_REQUEST])
        each = trained.edit_each(half, [REQUEST, OTHER_REQUEST])
        losses = edit.rounding(half)
        with edit.applied(half):
            weights = {place: as_surface(half).parameter(*place).detach().clone() for place in PLACES}
    for place in PLACES:
        base, delta = as_surface(half).parameter(*place).detach(), edit.deltas[place]
        assert delta.dense().dtype == torch.float64
        torch.testing.assert_close(delta.dense(), each[0].deltas[place].dense() + each[1].deltas[place].dense())
        assert torch.equal(weights[place], (base.double() + delta.dense()).to(base.dtype))
        assert edit.bases[place].rounding == losses[place] > 1e-4
    assert all(found["prob_after"] > found["prob_before"] for found in edit.provenance["diagnostics"])


def test_an_editor_trained_in_float32_edits_the_same_model_in_bfloat16(
    shared_model: Any, single: Any, gpt2_case: Case, trained_on: Any
) -> None:
    half, trained = shared_model(replace(gpt2_case, dtype=torch.bfloat16)), trained_on(single, quick_mend)
    exact, edit = (trained.edit(model, OTHER_REQUEST) for model in (single, half))
    for place in PLACES:
        change = edit.deltas[place].dense()
        assert float((change - exact.deltas[place].dense()).norm()) < 0.1 * float(change.norm())
