"""What `trace` leaves alone, and what it refuses."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import lens_rome.surface._bridge
from lens_rome.errors import FactError, SurfaceError, TraceError
from lens_rome.facts import Fact
from lens_rome.surface import as_surface, owner_hooks, position_free
from lens_rome.tracing import trace
from tests.helpers import FACTS, Case, assert_untouched

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")

FACT = FACTS["subject first"]


def test_a_trace_leaves_weights_flags_mode_and_hooks_as_they_were(any_model: Any) -> None:
    with assert_untouched(any_model):
        trace(any_model, FACT, "attn", noise=0.7, samples=2)
    assert torch.is_grad_enabled()


def test_gradient_flags_that_the_owner_set_stay(gpt2_case: Case, fresh_model: Callable[[Case], Any]) -> None:
    model = fresh_model(gpt2_case)
    for i, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(i % 2 == 0)
    with assert_untouched(model):
        trace(model, FACT, "mlp", noise=0.7, samples=2, answer="French")


@pytest.mark.parametrize(
    ("kind", "calls", "error"),
    [("resid", 1, RuntimeError), ("mlp", 5, KeyboardInterrupt), ("attn", 9, KeyboardInterrupt)],
)
def test_an_exception_in_the_middle_of_a_trace_leaves_the_model_as_it_was(
    raw_model: Any, kind: str, calls: int, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    surface_class = type(as_surface(raw_model))
    original, count = surface_class.block, [0]

    def failing(self: Any, *args: Any, **kwargs: Any) -> Any:
        count[0] += 1
        if count[0] == calls:
            raise error
        return original(self, *args, **kwargs)

    monkeypatch.setattr(surface_class, "block", failing)
    owners = position_free(lambda activation, hook: activation * 0.5)  # noqa: ARG005
    hooked = raw_model.hooks(fwd_hooks=[("blocks.2.hook_mlp_out", owners)])
    with hooked, assert_untouched(raw_model), pytest.raises(error):
        trace(raw_model, FACT, kind, noise=0.7, samples=2)
    assert torch.is_grad_enabled()


def test_an_exception_in_the_owners_hook_leaves_the_model_as_it_was(raw_model: Any) -> None:
    count = [0]

    def fail_at_last(activation: torch.Tensor, hook: object) -> None:  # noqa: ARG001
        count[0] += 1
        if count[0] == 3:
            raise KeyboardInterrupt

    with raw_model.hooks(fwd_hooks=[("blocks.2.hook_mlp_out", fail_at_last)]):
        with assert_untouched(raw_model), pytest.raises(KeyboardInterrupt):
            trace(raw_model, FACT, noise=0.7, samples=2)
        assert len(owner_hooks(raw_model)) == 1


@pytest.mark.parametrize("when", ["before the first block", "at a block"])
def test_an_exception_while_a_bridge_is_observed_leaves_it_as_it_was(
    shared_model: Callable[[Case], Any], monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    bridge = shared_model(Case("gpt2", "bridge"))

    def fail(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    if when == "at a block":
        monkeypatch.setattr(lens_rome.surface._bridge._BlockCall, "of", fail)
    else:
        monkeypatch.setattr(type(bridge), "forward", fail)
    owners = position_free(lambda activation, hook: activation)  # noqa: ARG005
    hooked = bridge.hooks(fwd_hooks=[("blocks.2.hook_mlp_out", owners)])
    with hooked, assert_untouched(bridge), pytest.raises(KeyboardInterrupt):
        as_surface(bridge).base_run(torch.arange(4)[None])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "residual"}, "unknown kind 'residual'; trace one of resid, mlp, attn"),
        ({"kind": ""}, "unknown kind ''"),
        ({"layers": [4]}, "layer 4 does not exist: the model has layers 0 to 3"),
        ({"layers": [-1]}, "layer -1 does not exist"),
        ({"layers": [True]}, "layer True does not exist"),
        ({"positions": [99]}, r"position 99 does not exist: the prompt has positions 0 to \d \(\|"),
        ({"positions": [-99]}, "position -99 does not exist"),
        ({"positions": ["subject last"]}, "the names are subject_first, subject_last, subject, last"),
        ({"positions": "middle"}, "position 'middle' does not exist"),
        ({"window": 0}, "window must be a whole number of layers from 1 up, got 0"),
        ({"samples": 0}, "samples must be a whole number from 1 up, got 0"),
        ({"samples": -1}, "samples must be a whole number from 1 up"),
        ({"noise": "much"}, "noise 'much' is not understood"),
        ({"noise": -1.0}, "noise must be a finite number from 0 up, got -1.0"),
        ({"seed": -1}, "seed"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_does_not_exist_is_refused_by_name(gpt2: Any, options: dict[str, Any], message: str) -> None:
    with assert_untouched(gpt2), pytest.raises(TraceError, match=message):
        trace(gpt2, FACT, **options)


def test_numpys_whole_numbers_are_numbers(gpt2: Any) -> None:
    plain = trace(gpt2, FACT, noise=0.7, samples=2, layers=[1, 2], positions=[3])
    numpy = trace(gpt2, FACT, noise=0.7, samples=2, layers=np.arange(1, 3), positions=np.int64(3))
    torch.testing.assert_close(numpy.scores, plain.scores, rtol=0, atol=0, equal_nan=True)


def test_a_model_in_training_mode_is_refused(gpt2_case: Case, fresh_model: Callable[[Case], Any]) -> None:
    model = fresh_model(gpt2_case).train()
    with assert_untouched(model), pytest.raises(SurfaceError, match=r"training mode; call model\.eval"):
        trace(model, FACT)


@pytest.mark.parametrize("answer", [None, "French"])
@pytest.mark.parametrize("owner", [False, True], ids=["fast path", "full length"])
def test_nan_weights_are_refused_with_the_parameters_name(
    gpt2_case: Case, fresh_model: Callable[[Case], Any], answer: str | None, owner: bool
) -> None:
    model = fresh_model(gpt2_case)
    with torch.no_grad():
        as_surface(model).weight(1)[0, 0] = torch.nan
    name = next(name for name, weight in model.named_parameters() if not weight.isfinite().all())
    hooks = [("blocks.0.hook_mlp_out", lambda activation, hook: activation)] if owner else []  # noqa: ARG005
    with (
        model.hooks(fwd_hooks=hooks),
        assert_untouched(model),
        pytest.raises(SurfaceError, match=f"values are in: {name}"),
    ):
        trace(model, FACT, samples=2, answer=answer)


def test_a_prompt_longer_than_the_context_is_refused(gpt2: Any) -> None:
    with pytest.raises(SurfaceError, match="the model's context holds 64"):
        trace(gpt2, Fact("Steve Jobs", "{} was" + " a" * 80, "x"))


@pytest.mark.parametrize("answer", ["", " "])
def test_an_empty_answer_is_refused(gpt2: Any, answer: str) -> None:
    with pytest.raises(FactError, match="the answer is empty"):
        trace(gpt2, FACT, answer=answer)


def test_a_hugging_face_model_is_refused_with_the_call_that_loads_one() -> None:
    with pytest.raises(SurfaceError, match=r"Load one with lens_rome\.load_model"):
        trace(torch.nn.Linear(2, 2), FACT)


def test_settings_record_what_was_used(raw_model: Any, raw_case: Case) -> None:
    result = trace(raw_model, FACT, "attn", noise=0.7, samples=2, seed=5, window=3)
    settings = result.settings
    assert (settings.kind, settings.window, settings.samples, settings.seed) == ("attn", 3, 2, 5)
    assert (settings.noise, settings.noise_level) == ("0.7", 0.7)
    assert settings.surface == raw_case.surface and settings.precision == "torch.float64"
    assert settings.prepend_bos == (raw_case.architecture != "neox") and not settings.full_length
    assert result.prompt == FACT.prompt and result.target == FACT.target and result.subject == FACT.subject
