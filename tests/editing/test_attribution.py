"""Attribution to neurons: against the loop, against what an integral must add up to, and under others' hooks."""

from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError

from lens_rome.editing.attribution import RULES, AttributionSettings, Question, attribute, attributed
from lens_rome.errors import EditError, FactError, SurfaceError
from lens_rome.facts import Fact
from lens_rome.surface import as_surface
from tests.editing.support import DISABLING, NO_PROBE, REQUEST, quick_edit
from tests.helpers import N_LAYERS, Case, assert_untouched
from tests.oracles.editing import Row, row_of
from tests.oracles.neurons import attribution_by_loop, prob_with

pytestmark = [pytest.mark.filterwarnings(NO_PROBE), pytest.mark.filterwarnings(DISABLING)]

FACT = Fact("Steve Jobs", "{} was the", "French piano")
FEW = AttributionSettings(3, rows=6)
"""Batches of two layers."""


def row(model: Any, target: str = FACT.target, before: str = "") -> Row:
    bos = as_surface(model).prepends_bos()
    return row_of(model.tokenizer, before, FACT.template, FACT.subject, target, "last", bos)


def by_loop(model: Any, prompt: Row, alphas: list[float], **settings: Any) -> torch.Tensor:
    """The mean over the target's tokens, each after the ones before it."""
    parts = [
        attribution_by_loop(model, [*prompt.prompt, *prompt.target[:i]], [token], alphas, **settings)
        for i, token in enumerate(prompt.target)
    ]
    return torch.stack(parts).mean(0)


def assert_same(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    assert found.shape == expected.shape and expected.abs().max() > 1e-5  # an attribution that is not all zero
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


def test_an_attribution_equals_the_loop(raw_model: Any, raw_case: Case) -> None:
    before = "He said that. "
    expected = by_loop(raw_model, row(raw_model, before=before), [1 / 6, 3 / 6, 5 / 6])
    assert len(row(raw_model).target) > 1
    found = attribute(raw_model, FACT, FACT.target, settings=FEW, before=before)
    assert_same(found, expected, raw_case.tolerance)


def test_the_released_attribution_equals_the_loop(raw_model: Any, raw_case: Case) -> None:
    if raw_case.architecture == "llama":
        with pytest.raises(SurfaceError, match="MLPs of this model are gated"):
            attribute(raw_model, FACT, FACT.target, settings=AttributionSettings.released(3))
        return
    answers = raw_model.tokenizer(FACT.target, add_special_tokens=False)["input_ids"]
    expected = attribution_by_loop(raw_model, row(raw_model).prompt, answers, [0.0, 0.5, 1.0], "hook_pre")
    found = attribute(raw_model, FACT, FACT.target, settings=AttributionSettings.released(3))
    assert_same(found, expected, raw_case.tolerance)
    with_space = attribute(raw_model, FACT, FACT.target, settings=AttributionSettings(3, "inclusive", "pre"))
    assert not torch.allclose(found, with_space)


@pytest.mark.parametrize("rows", [1, 8, 1000])
def test_the_size_of_a_batch_does_not_matter(gpt2: Any, rows: int) -> None:
    expected = attribute(gpt2, FACT, FACT.target, settings=FEW)
    found = attribute(gpt2, FACT, FACT.target, settings=AttributionSettings(3, rows=rows))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def differences(model: Any, answer: int) -> torch.Tensor:
    """p with the layer's activation as it is less p with it at zero, by layer."""
    prompt = row(model).prompt
    return torch.tensor(
        [prob_with(model, prompt, answer, k, 1.0) - prob_with(model, prompt, answer, k, 0.0) for k in range(N_LAYERS)],
        dtype=torch.float64,
    )


def largest_error(model: Any, answer: int, rule: str, steps: int) -> float:
    found = attributed(as_surface(model), [Question(row(model).prompt, (answer,))], AttributionSettings(steps, rule))
    return float((found.sum(1) - differences(model, answer)).abs().max())


@pytest.mark.parametrize("rule", RULES)
def test_a_layers_attributions_add_up_to_what_the_layer_does_to_the_probability(gpt2: Any, rule: str) -> None:
    answer = int(gpt2(torch.tensor([row(gpt2).prompt]))[0, -1].argmax())
    coarse, fine = (largest_error(gpt2, answer, rule, steps) for steps in (40, 160))
    assert differences(gpt2, answer).abs().max() > 1e-2
    # The midpoint rule's error falls with the square of the number of points, the others' with the number.
    expected = 16 if rule == "midpoint" else 4
    assert fine < 0.05 and 0.7 * expected < coarse / fine < 1.4 * expected


def test_attribution_inside_an_edits_hooks_equals_attribution_with_its_weights(raw_model: Any, raw_case: Case) -> None:
    edit = quick_edit(raw_model)
    plain = attribute(raw_model, FACT, FACT.target, settings=FEW)
    with edit.applied(raw_model):
        expected = attribute(raw_model, FACT, FACT.target, settings=FEW)
    with raw_model.hooks(fwd_hooks=edit.hooks(raw_model)):
        found = attribute(raw_model, FACT, FACT.target, settings=FEW)
    assert (expected - plain).abs().max() > 100 * raw_case.tolerance
    torch.testing.assert_close(found, expected, rtol=0, atol=10 * raw_case.tolerance)


def test_hooks_of_the_owner_take_part_after_the_scaling(gpt2: Any) -> None:
    def damp(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
        return activation * torch.linspace(1.0, 0.5, activation.shape[1], dtype=activation.dtype)[:, None]

    owners = [("blocks.1.mlp.hook_post", damp), ("blocks.2.hook_resid_pre", damp)]
    expected = by_loop(gpt2, row(gpt2), [1 / 6, 3 / 6, 5 / 6], later_hooks=owners)
    with gpt2.hooks(fwd_hooks=owners):
        found = attribute(gpt2, FACT, FACT.target, settings=FEW)
    assert_same(found, expected, 1e-12)
    assert not torch.allclose(found, attribute(gpt2, FACT, FACT.target, settings=FEW))


def test_an_attribution_leaves_the_model_alone(raw_model: Any) -> None:
    with assert_untouched(raw_model):
        attribute(raw_model, FACT, FACT.target, settings=FEW)
    assert all(parameter.grad is None for parameter in raw_model.parameters())


def test_a_failed_attribution_leaves_the_model_alone(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(torch.autograd, "grad", fail)
    with assert_untouched(gpt2), pytest.raises(KeyboardInterrupt):
        attribute(gpt2, FACT, FACT.target, settings=FEW)


def test_an_attribution_can_be_made_in_inference_mode(gpt2: Any) -> None:
    expected = attribute(gpt2, FACT, FACT.target, settings=FEW)
    with torch.inference_mode():
        found = attribute(gpt2, FACT, FACT.target, settings=FEW)
    assert torch.equal(found, expected) and not found.requires_grad


def test_a_model_of_half_precision_is_attributed_in_float32(fresh_model: Any, gpt2_case: Case) -> None:
    model = fresh_model(Case("gpt2", gpt2_case.surface, dtype=torch.bfloat16))
    found = attribute(model, FACT, FACT.target, settings=FEW)
    assert found.dtype == torch.float32 and found.isfinite().all() and found.abs().max() > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "whole numbers from 1, got 0 and 160"),
        ({"rows": 0}, "whole numbers from 1, got 20 and 0"),
        ({"steps": True}, "whole numbers from 1, got True"),
        ({"rule": "simpson"}, "unknown rule 'simpson'; choose one of midpoint, right"),
        ({"activation": "gate"}, "unknown activation 'gate'; choose one of post, pre"),
    ],
    ids=str,
)
def test_settings_are_checked_when_they_are_made(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((EditError, TypeCheckError), match=message):
        AttributionSettings(**settings)


@pytest.mark.parametrize("leading_space", [True, False])
def test_an_empty_answer_is_refused(gpt2: Any, leading_space: bool) -> None:
    with pytest.raises(FactError, match="the answer is empty; give the text"):
        attribute(gpt2, REQUEST, " ", settings=AttributionSettings(leading_space=leading_space))


def test_weights_that_are_not_finite_are_refused(fresh_model: Any, gpt2_case: Case) -> None:
    model = fresh_model(gpt2_case)
    with torch.no_grad():
        as_surface(model).weight(1)[0, 0] = float("nan")
    with pytest.raises(SurfaceError, match=r"output is not finite.* Reload the weights"):
        attribute(model, FACT, FACT.target, settings=FEW)
