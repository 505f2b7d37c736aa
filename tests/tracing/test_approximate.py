"""Estimates are the first derivative of the exact trace, and say that they are estimates."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lens_rome.errors import TraceError
from lens_rome.facts import Fact
from lens_rome.surface import owner_hooks
from lens_rome.tracing import TraceResult, ZeroEmbeddings, approximate_kinds, approximate_trace, trace
from tests.helpers import N_LAYERS, Case, assert_untouched
from tests.oracles.variants import NAMES, measure, read_states, writing

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")

FACT = Fact("Eiffel Tower", "The {} is", "E")
LEVEL, SAMPLES, HEAD = 0.7, 2, 1
KINDS = ("resid", "resid_pre", "mlp", "attn", "head", "post")


def estimate(model: Any, kind: str, **options: Any) -> TraceResult:
    head = {"head": HEAD} if kind == "head" else {}
    return approximate_trace(model, FACT, kind, **{"noise": LEVEL, "samples": SAMPLES, **head, **options})


def exact(model: Any, kind: str, **options: Any) -> TraceResult:
    head = {"head": HEAD} if kind == "head" else {}
    return trace(model, FACT, kind, **{"noise": LEVEL, "samples": SAMPLES, **head, **options})


def slope_by_differences(model: Any, result: TraceResult, cell: tuple[int, int], step: float) -> torch.Tensor:
    """Change of the metric for a step of `step` from one run's state towards the other's, per unit, each sample."""
    settings, (layer, pos) = result.settings, cell
    first, last = result.subject_span
    noise = LEVEL * torch.from_numpy(np.random.RandomState(1).randn(SAMPLES, last - first, 32))

    def embed(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
        activation = activation.clone()
        activation[:, first:last] = (activation[:, first:last].double() + noise).to(activation.dtype)
        return activation

    rows = torch.tensor([result.tokens] * SAMPLES)
    corrupt, name = [("hook_embed", embed)], f"blocks.{layer}.{NAMES[settings.kind]}"
    clean, corrupted = read_states(model, rows, [name], []), read_states(model, rows, [name], corrupt)
    base, donor = (corrupted, clean) if settings.direction == "denoise" else (clean, corrupted)
    hooks = corrupt if settings.direction == "denoise" else []

    def score(share: float) -> torch.Tensor:
        moved = base[name] + share * (donor[name] - base[name])
        write = writing(name, moved, [pos], settings.head, model.cfg.n_heads)
        with torch.no_grad():
            logits = model.run_with_hooks(rows, fwd_hooks=[*hooks, write])
        return measure(settings.metric, logits, logits[0], result.answer_tokens, 0, len(result.tokens) - 1)

    return (score(step) - score(-step)) / (2 * step)


def effects(result: TraceResult) -> torch.Tensor:
    """Estimated change, `[layer, pos, sample]`."""
    base = result.corrupted_samples if result.settings.direction == "denoise" else result.clean_score
    return result.sample_scores - base


@pytest.mark.parametrize(
    ("kind", "direction"),
    [
        *((kind, "denoise") for kind in KINDS),
        ("mlp", "noise"),
        *(pytest.param(kind, "noise", marks=pytest.mark.slow) for kind in KINDS if kind != "mlp"),
    ],
)
def test_an_estimate_is_the_derivative_of_the_patched_metric(
    raw_model: Any, raw_case: Case, kind: str, direction: str
) -> None:
    result = estimate(raw_model, kind, direction=direction, metric="logprob", window=1)
    found, last = effects(result), len(result.tokens) - 1
    # Half precision inside a model limits how small a step can be, and so how exact a difference is.
    step, tolerance = (1e-4, 1e-6) if raw_case.tolerance < 1e-8 else (1e-2, 2e-3)
    cells = [(0, result.subject_span[0]), (1, result.subject_span[1] - 1), (2, last), (N_LAYERS - 1, last)]
    sizes = []
    for cell in cells:
        expected = slope_by_differences(raw_model, result, cell, step)
        torch.testing.assert_close(found[cell], expected, rtol=tolerance, atol=tolerance)
        sizes.append(expected.abs().max())
    # Teeth: what is compared is far from 0.
    assert max(sizes) > 20 * tolerance


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "metric", ["prob", "logit_diff", *(pytest.param(name, marks=pytest.mark.slow) for name in ("kl", "prob_per_token"))]
)
def test_the_error_of_an_estimate_is_of_second_order_in_the_noise(gpt2: Any, kind: str, metric: str) -> None:
    """A tenth of the noise makes a hundredth of the error, whatever the metric measures."""
    options = {"metric": metric, "window": 1, "answer": "French city" if "token" in metric else "French"}
    if metric == "logit_diff":
        options["against"] = "E"

    def error(level: float) -> float:
        found, measured = (make(gpt2, kind, noise=level, **options) for make in (estimate, exact))
        torch.testing.assert_close(found.corrupted_samples, measured.corrupted_samples, rtol=0, atol=1e-12)
        assert abs(found.clean_score - measured.clean_score) < 1e-12
        return float((found.sample_scores - measured.sample_scores).abs().max())

    assert error(1e-2) / error(1e-3) == pytest.approx(100, rel=0.2)


def test_where_the_metric_is_linear_in_the_state_an_estimate_is_exact(shared_model: Callable[[Case], Any]) -> None:
    """With the last norm's scale held fixed by its owner, a logit is linear in what the last layer adds."""
    model = shared_model(Case("gpt2", "hooked"))
    hold = [("ln_final.hook_scale", lambda activation, hook: torch.full_like(activation, 2.0))]  # noqa: ARG005
    with model.hooks(fwd_hooks=hold):
        for kind in ("resid", "mlp"):
            options = {"metric": "logit", "layers": N_LAYERS - 1, "positions": "last", "window": 1}
            found, measured = estimate(model, kind, **options), exact(model, kind, **options)
            torch.testing.assert_close(found.sample_scores, measured.sample_scores, rtol=0, atol=1e-12, equal_nan=True)
            assert effects(measured)[-1, -1].abs().min() > 1e-3
            assert found.settings.full_length and "hook_scale" in found.notes[0]


@pytest.mark.parametrize("kind", ["mlp", "attn", "head", "post"])
def test_a_window_adds_what_its_layers_give_alone(gpt2: Any, kind: str) -> None:
    single, wide = effects(estimate(gpt2, kind, window=1)), effects(estimate(gpt2, kind, window=3))
    for layer in range(N_LAYERS):
        expected = single[max(0, layer - 1) : layer + 2].sum(0)
        torch.testing.assert_close(wide[layer], expected, rtol=0, atol=1e-12)
    assert (wide - single).abs().max() > 1e-4


def test_positions_together_add_what_they_give_alone(gpt2: Any) -> None:
    alone = effects(estimate(gpt2, "mlp", positions=[2, 4]))
    joint = effects(estimate(gpt2, "mlp", positions=[2, 4], together=True))
    torch.testing.assert_close(joint[:, 2], alone[:, [2, 4]].sum(1), rtol=0, atol=1e-12)
    torch.testing.assert_close(joint[:, 4], joint[:, 2], rtol=0, atol=0)
    assert joint[:, [0, 1, 3]].isnan().all()


def test_kinds_together_equal_each_alone(raw_model: Any, raw_case: Case) -> None:
    kinds = ("resid", "mlp", "attn", "post")
    found = approximate_kinds(raw_model, FACT, kinds, noise=LEVEL, samples=SAMPLES)
    assert tuple(found) == kinds
    for kind in kinds:
        alone = estimate(raw_model, kind)
        torch.testing.assert_close(found[kind].sample_scores, alone.sample_scores, rtol=0, atol=raw_case.tolerance * 10)
        assert found[kind].settings == alone.settings


def test_a_result_says_that_it_is_approximate_and_is_else_labelled_like_a_trace(gpt2: Any) -> None:
    found, measured = estimate(gpt2, "mlp", layers=[1, 2]), exact(gpt2, "mlp", layers=[1, 2])
    assert found.settings.approximate and not measured.settings.approximate
    assert replace(found.settings, approximate=False) == measured.settings
    assert "approximate" in repr(found)
    assert {**found.describe(), "settings": 0, "clean_score": 0} == {
        **measured.describe(),
        "settings": 0,
        "clean_score": 0,
    }
    assert torch.equal(found.scores.isnan(), measured.scores.isnan())


def test_before_the_corruption_and_where_nothing_is_read_nothing_changes(gpt2: Any) -> None:
    found = effects(estimate(gpt2, "resid"))
    torch.testing.assert_close(found[:, 0], torch.zeros(N_LAYERS, SAMPLES, dtype=torch.float64), rtol=0, atol=1e-12)
    assert (found[-1, :-1] == 0).all()


def test_zeroing_and_corruptions_without_chance_are_estimated_from_one_sample(gpt2: Any) -> None:
    zeroed = estimate(gpt2, "mlp", direction="zero")
    assert zeroed.sample_scores.shape[-1] == 1 and zeroed.corrupted_score == zeroed.clean_score
    assert not zeroed.scores.isnan().any() and effects(zeroed).abs().max() > 1e-4
    assert estimate(gpt2, "mlp", noise=ZeroEmbeddings()).sample_scores.shape[-1] == 1


def test_little_memory_runs_samples_in_parts_and_changes_nothing(gpt2: Any) -> None:
    whole, parts = estimate(gpt2, "attn", samples=5), estimate(gpt2, "attn", samples=5, memory=1)
    torch.testing.assert_close(parts.sample_scores, whole.sample_scores, rtol=0, atol=1e-12)


def test_no_layers_asked_for_means_no_cells(gpt2: Any) -> None:
    assert estimate(gpt2, "mlp", layers=[], direction="noise").scores.isnan().all()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_caller_without_gradients_gets_the_same_estimate(gpt2: Any, mode: Any) -> None:
    plain = estimate(gpt2, "mlp")
    with mode():
        found = estimate(gpt2, "mlp")
        assert not torch.is_grad_enabled()
    assert torch.equal(found.sample_scores, plain.sample_scores) and torch.is_grad_enabled()


def test_an_estimate_leaves_the_model_and_its_gradients_as_they_were(any_model: Any) -> None:
    with assert_untouched(any_model):
        found = approximate_kinds(any_model, FACT, noise=LEVEL, samples=SAMPLES)
    assert all(parameter.grad is None for parameter in any_model.parameters())
    assert not any(result.sample_scores.requires_grad for result in found.values())


def test_gradient_flags_that_the_owner_set_stay(gpt2_case: Case, fresh_model: Callable[[Case], Any]) -> None:
    model = fresh_model(gpt2_case)
    for i, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(i % 2 == 0)
    with assert_untouched(model):
        estimate(model, "mlp")


@pytest.mark.parametrize("call", [1, 3, 4])
def test_an_exception_leaves_the_model_as_it_was(raw_model: Any, call: int) -> None:
    count = [0]

    def fail(activation: torch.Tensor, hook: object) -> None:  # noqa: ARG001
        count[0] += 1
        if count[0] == call:
            raise KeyboardInterrupt

    with raw_model.hooks(fwd_hooks=[("blocks.2.hook_mlp_out", fail)]):
        with assert_untouched(raw_model), pytest.raises(KeyboardInterrupt):
            estimate(raw_model, "attn")
        assert len(owner_hooks(raw_model)) == 1 and torch.is_grad_enabled()


def test_hooks_of_the_owner_take_part(gpt2: Any) -> None:
    """The estimate is the first order of the exact trace also where they cut a path or scale a state."""

    def halve(activation: torch.Tensor, hook: object) -> torch.Tensor:  # noqa: ARG001
        return activation * 0.5

    def cut(activation: torch.Tensor, hook: object) -> torch.Tensor:  # noqa: ARG001
        return torch.ones_like(activation)

    plain = estimate(gpt2, "resid", noise=1e-3)
    for hooks in ([("blocks.1.hook_attn_out", cut)], [("blocks.2.hook_resid_pre", halve)]):
        with gpt2.hooks(fwd_hooks=hooks):
            found, measured = estimate(gpt2, "resid", noise=1e-3), exact(gpt2, "resid", noise=1e-3)
        assert (effects(found) - effects(plain)).abs().max() > 1e-6
        largest = effects(measured).abs().max()
        assert (found.sample_scores - measured.sample_scores).abs().max() < 0.05 * largest


def test_a_hook_of_the_owner_that_writes_in_place_does_not_reach_back_into_the_states(gpt2: Any) -> None:
    def halve(activation: torch.Tensor, hook: object) -> torch.Tensor:  # noqa: ARG001
        return activation * 0.5

    def halve_in_place(activation: torch.Tensor, hook: object) -> torch.Tensor:  # noqa: ARG001
        return activation.mul_(0.5)

    found = []
    for function in (halve, halve_in_place):
        with gpt2.hooks(fwd_hooks=[("blocks.2.hook_resid_pre", function)]):
            found.append(estimate(gpt2, "resid").sample_scores)
    torch.testing.assert_close(*found, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("resid_mid", {}, "no estimate for resid_mid: on a bridge its hook sees only the branch"),
        ("resid", {"severed": "mlp"}, "no estimate with a severed path, which needs runs of its own. Use `trace`"),
        ("resid", {"original": True}, "follows the released code, which measures every cell"),
        ("mlp", {"metric": "kl", "direction": "noise"}, "no slope at the clean run, where the direction 'noise'"),
        ("resid", {"window": 2}, "no estimate for 'resid' in a window of 2: neighbouring residuals carry the same"),
        ("head", {"head": None}, "kind 'head' needs head="),
        ("residual", {}, "unknown kind 'residual'"),
    ],
)
def test_what_has_no_estimate_is_refused_with_the_reason(
    gpt2: Any, kind: str, options: dict[str, Any], message: str
) -> None:
    with assert_untouched(gpt2), pytest.raises(TraceError, match=message):
        estimate(gpt2, kind, **options)


def test_no_kinds_are_refused(gpt2: Any) -> None:
    with pytest.raises(TraceError, match="no kinds to trace; give"):
        approximate_kinds(gpt2, FACT, ())
