"""v* by the fast path equals v* by full forwards, on every architecture and surface."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import pytest
import torch

from lens_rome.editing import ROME, Value, ValueSettings, compute_key, compute_value
from lens_rome.editing.search import Search, find_values
from lens_rome.errors import EditError, SurfaceError
from lens_rome.facts import EditRequest
from lens_rome.surface import Site, as_surface, position_free
from tests.editing.support import CONTEXTS, LAYER, REQUEST, SHORT
from tests.helpers import FACTS, N_LAYERS, Case, assert_untouched
from tests.oracles.editing import Outcome, row_of, value_by_loop

STEPS = ValueSettings(steps=4)


def oracle(
    model: Any,
    request: EditRequest,
    layer: int,
    contexts: Sequence[str],
    settings: ValueSettings,
    *,
    lookup: str = "subject_last",
    prepend_bos: bool | None = None,
    kl_template: str = "{} is a",
    owner_hooks: Sequence[tuple[str, Callable]] = (),
) -> Outcome:
    bos = as_surface(model).prepends_bos(prepend_bos)
    rows = [
        row_of(model.tokenizer, before, request.template, request.subject, request.target_new, lookup, bos)
        for before in contexts
    ]
    kl_row = row_of(model.tokenizer, "", kl_template, request.subject, "", lookup, bos)
    return value_by_loop(model, layer, rows, kl_row, owner_hooks=owner_hooks, **asdict(settings))


def assert_same(found: Value, expected: Outcome, case: Case) -> None:
    # Adam divides each gradient by its own size, so rounding of small ones grows: three digits are left for that.
    loose = 1e3 * case.tolerance
    for name, values in {"total": expected.totals, "nll": expected.nlls, "kl": expected.kls}.items():
        assert [losses[name] for losses in found.losses] == pytest.approx(values, rel=0, abs=loose), name
    assert [losses["weight_decay"] for losses in found.losses] == pytest.approx(expected.decays, rel=0, abs=loose)
    size = float(expected.delta.norm())
    torch.testing.assert_close(found.delta, expected.delta, rtol=0, atol=loose * max(size, 1))
    torch.testing.assert_close(found.initial, expected.initial, rtol=0, atol=10 * case.tolerance)
    torch.testing.assert_close(found.target, expected.initial + expected.delta, rtol=0, atol=loose * max(size, 1))
    assert found.prob_before == pytest.approx(expected.prob_before, rel=loose)


def test_losses_and_delta_equal_the_oracle_on_every_model(any_model: Any, any_case: Case) -> None:
    found = compute_value(any_model, REQUEST, LAYER, CONTEXTS, STEPS)
    assert_same(found, oracle(any_model, REQUEST, LAYER, CONTEXTS, STEPS), any_case)
    assert len(found.losses) == 4 and float(found.delta.norm()) > 0


@pytest.mark.parametrize("layer", [0, N_LAYERS - 1])
@pytest.mark.parametrize("prepend_bos", [True, False])
def test_the_first_and_the_last_layer_equal_the_oracle_with_and_without_bos(
    gpt2: Any, gpt2_case: Case, layer: int, prepend_bos: bool
) -> None:
    # In the last layer only the prompt's own last token matters for what follows it.
    settings = {"lookup": "subject_last" if layer == 0 else "last", "prepend_bos": prepend_bos}
    found = compute_value(gpt2, REQUEST, layer, CONTEXTS, STEPS, **settings)
    assert_same(found, oracle(gpt2, REQUEST, layer, CONTEXTS, STEPS, **settings), gpt2_case)


@pytest.mark.parametrize("fact", FACTS.values(), ids=FACTS.keys())
@pytest.mark.parametrize("lookup", ["subject_last", "subject_first", "subject_first_after_last", "last"])
def test_every_lookup_and_place_of_the_subject_equals_the_oracle(
    gpt2: Any, gpt2_case: Case, fact: Any, lookup: str
) -> None:
    request, steps = fact.rewrite("Rome"), ValueSettings(steps=3)
    found = compute_value(gpt2, request, 2, CONTEXTS, steps, lookup=lookup)
    assert_same(found, oracle(gpt2, request, 2, CONTEXTS, steps, lookup=lookup), gpt2_case)


def test_the_whole_search_of_twenty_steps_equals_the_oracle(gpt2: Any, gpt2_case: Case) -> None:
    found = compute_value(gpt2, REQUEST, LAYER)
    assert len(found.losses) == 20
    assert_same(found, oracle(gpt2, REQUEST, LAYER, ("",), ValueSettings()), gpt2_case)


def test_text_after_the_subject_of_the_divergence_prompt_has_no_influence(gpt2: Any, gpt2_case: Case) -> None:
    settings = ValueSettings(steps=4, kl_factor=5.0)
    found = compute_value(gpt2, REQUEST, LAYER, CONTEXTS, settings)
    assert_same(found, oracle(gpt2, REQUEST, LAYER, CONTEXTS, settings, kl_template="{} or so"), gpt2_case)
    assert found.losses[-1]["kl"] > 1e-3


def test_the_divergence_is_zero_at_first_and_never_negative(gpt2: Any) -> None:
    losses = compute_value(gpt2, REQUEST, LAYER, CONTEXTS, STEPS).losses
    assert losses[0]["kl"] == 0 and losses[0]["weight_decay"] == 0
    assert all(step["kl"] > 0 for step in losses[1:])
    assert all(step["total"] == pytest.approx(step["nll"] + step["kl"] + step["weight_decay"]) for step in losses)


def test_delta_is_projected_onto_a_ball_whose_radius_is_a_multiple_of_the_initial_value(gpt2: Any) -> None:
    found = compute_value(gpt2, REQUEST, LAYER, CONTEXTS, ValueSettings(steps=6, clamp=0.3))
    assert float(found.delta.norm()) == pytest.approx(0.3 * float(found.initial.norm()), rel=1e-12)


def test_weight_decay_is_the_norm_of_delta_over_the_squared_norm_of_the_initial_value(gpt2: Any) -> None:
    found = compute_value(gpt2, REQUEST, LAYER, CONTEXTS, ValueSettings(steps=4, weight_decay=0.7))
    expected = 0.7 * float(found.delta.norm()) / float(found.initial.norm()) ** 2
    assert found.losses[-1]["weight_decay"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 20])
def test_there_is_one_update_fewer_than_steps(gpt2: Any, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    updates = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: updates.append(1) or step(self))
    found = compute_value(gpt2, REQUEST, LAYER, settings=ValueSettings(steps=steps, stop_loss=0.0))
    assert len(found.losses) == steps and len(updates) == steps - 1
    assert (float(found.delta.norm()) == 0) == (steps == 1)


MANY = [
    REQUEST,
    EditRequest("Danielle Darrieux", "The mother tongue of {} is", "Spanish"),
    EditRequest("Steve Jobs", "In all these years, {} was the founder of", "it"),
    EditRequest("The Space Needle", "{} is in the city of", "Rome"),
]


@pytest.mark.parametrize("kind", ["value", "resid_post"])
@pytest.mark.parametrize("stop", [0.0, 7.4495])
def test_many_requests_in_one_batch_find_what_each_finds_alone(gpt2: Any, kind: str, stop: float) -> None:
    search = Search(Site(LAYER, kind), CONTEXTS, ValueSettings(steps=6, stop_loss=stop, clamp=0.8))
    together = find_values(as_surface(gpt2), MANY, search)
    assert (len({len(value.losses) for value in together}) > 1) == (stop > 0)
    for request, found in zip(MANY, together, strict=True):
        (alone,) = find_values(as_surface(gpt2), [request], search)
        torch.testing.assert_close(found.delta, alone.delta, rtol=0, atol=1e-9 * float(1 + alone.delta.norm()))
        torch.testing.assert_close(found.initial, alone.initial, rtol=0, atol=1e-12)
        assert len(found.losses) == len(alone.losses)
        assert [step["total"] for step in found.losses] == pytest.approx([step["total"] for step in alone.losses])
        assert found.prob_before == pytest.approx(alone.prob_before)


def test_batches_bounded_by_memory_find_the_same(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    search = Search(Site(LAYER, "value"), CONTEXTS, STEPS)
    whole = find_values(as_surface(gpt2), MANY, search)
    monkeypatch.setattr("lens_rome.editing.search._MEMORY", 1)
    for found, expected in zip(find_values(as_surface(gpt2), MANY, search), whole, strict=True):
        torch.testing.assert_close(found.delta, expected.delta, rtol=0, atol=1e-9 * float(1 + expected.delta.norm()))


def test_the_search_stops_before_the_update_once_the_loss_is_small(gpt2: Any) -> None:
    found = compute_value(gpt2, REQUEST, LAYER, settings=ValueSettings(stop_loss=1e3))
    assert len(found.losses) == 1 and float(found.delta.norm()) == 0


def test_owner_hooks_force_full_length_runs_that_find_the_same_value(raw_model: Any, raw_case: Case) -> None:
    def nothing(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
        return activation

    resumed = compute_value(raw_model, REQUEST, LAYER, CONTEXTS, STEPS)
    with raw_model.hooks(fwd_hooks=[("blocks.2.hook_resid_post", nothing)]):
        full_length = compute_value(raw_model, REQUEST, LAYER, CONTEXTS, STEPS)
    loose = 1e3 * raw_case.tolerance * float(resumed.delta.norm())
    torch.testing.assert_close(full_length.delta, resumed.delta, rtol=0, atol=loose)


def test_an_owner_hook_marked_as_indifferent_to_positions_takes_part_in_resumed_runs(gpt2: Any) -> None:
    def double(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
        return 2 * activation

    def search(hook: Callable[..., torch.Tensor]) -> tuple[Value, list[int]]:
        lengths: list[int] = []

        def watch(activation: torch.Tensor, hook: Any) -> None:  # noqa: ARG001
            lengths.append(activation.shape[1])

        with gpt2.hooks(
            fwd_hooks=[("blocks.2.hook_attn_out", hook), ("blocks.3.hook_resid_pre", position_free(watch))]
        ):
            return compute_value(gpt2, REQUEST, LAYER, CONTEXTS, STEPS), lengths

    full, full_lengths = search(lambda activation, hook: double(activation, hook))
    resumed, lengths = search(position_free(double))
    torch.testing.assert_close(resumed.delta, full.delta, rtol=0, atol=1e-9 * float(full.delta.norm()))
    assert min(lengths) < min(full_lengths)


def test_owner_hooks_that_look_at_positions_take_part_in_the_search(gpt2: Any, gpt2_case: Case) -> None:
    def dim_the_start(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
        scale = torch.ones(activation.shape[1], dtype=activation.dtype)
        scale[:3] = 0.5
        return activation * scale[None, :, None]

    hooks = [("blocks.0.hook_resid_post", dim_the_start), ("blocks.2.hook_resid_post", dim_the_start)]
    plain = compute_value(gpt2, REQUEST, LAYER, CONTEXTS, STEPS)
    with gpt2.hooks(fwd_hooks=hooks):
        found = compute_value(gpt2, REQUEST, LAYER, CONTEXTS, STEPS)
    assert_same(found, oracle(gpt2, REQUEST, LAYER, CONTEXTS, STEPS, owner_hooks=hooks), gpt2_case)
    assert abs(found.losses[0]["nll"] - plain.losses[0]["nll"]) > 1e-4


def test_the_search_leaves_the_model_and_its_gradients_alone(raw_model: Any) -> None:
    parameters = list(raw_model.parameters())
    parameters[0].requires_grad_(False)
    try:
        with assert_untouched(raw_model):
            compute_value(raw_model, REQUEST, LAYER, CONTEXTS, STEPS)
        assert not parameters[0].requires_grad and parameters[1].requires_grad
        assert all(parameter.grad is None for parameter in parameters)
    finally:
        parameters[0].requires_grad_(True)


def test_a_failing_search_leaves_the_model_alone(gpt2: Any) -> None:
    calls = []

    def fail_late(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
        calls.append(1)
        if len(calls) > 2:
            raise RuntimeError("the owner's hook fails")
        return activation

    failing = gpt2.hooks(fwd_hooks=[("blocks.2.hook_resid_post", fail_late)])
    with assert_untouched(gpt2), pytest.raises(RuntimeError, match="owner's hook"), failing:
        compute_value(gpt2, REQUEST, LAYER, CONTEXTS, STEPS)


def test_a_surface_can_be_given_in_place_of_the_model(gpt2: Any) -> None:
    (found,) = find_values(as_surface(gpt2), [REQUEST], Search(Site(LAYER, "value"), CONTEXTS, STEPS))
    assert torch.equal(found.delta, compute_value(gpt2, REQUEST, LAYER, CONTEXTS, STEPS).delta)


def test_the_last_layer_cannot_change_a_prompt_that_goes_on_after_the_subject(gpt2: Any) -> None:
    last = gpt2.cfg.n_layers - 1
    with pytest.raises(EditError, match=r"layer 3 is the last: what it writes .* Edit a lower layer"):
        compute_value(gpt2, REQUEST, last, settings=SHORT)
    with pytest.raises(EditError, match="layer 3 is the last"):
        ROME(last, value=SHORT, contexts=CONTEXTS).edit(gpt2, REQUEST, moments="identity")
    assert compute_value(gpt2, REQUEST, last, settings=SHORT, lookup="last").delta.norm() > 0


@pytest.mark.parametrize("contexts", [(), ("He said. ",), ""])
def test_contexts_that_do_not_begin_with_the_bare_prompt_are_refused(gpt2: Any, contexts: Any) -> None:
    for compute in (compute_key, compute_value):
        with pytest.raises(EditError, match="contexts must begin with ''"):
            compute(gpt2, REQUEST, 1, contexts)


def test_the_parts_of_rome_refuse_a_layer_that_does_not_exist(gpt2: Any) -> None:
    for compute in (compute_key, compute_value):
        with pytest.raises(SurfaceError, match="layer 9 does not exist: the model has layers 0 to 3"):
            compute(gpt2, REQUEST, 9)
