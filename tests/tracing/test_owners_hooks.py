"""A trace of a model whose owner has attached hooks: full-length runs, and states put in after those hooks."""

from typing import Any

import pytest
import torch

from lens_rome.errors import TraceError
from lens_rome.surface import position_free
from tests.helpers import Case
from tests.tracing.test_variants import EVERYWHERE, run_variant

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")


@pytest.mark.parametrize("name", ["noising", "zeroing", "a head", "MLP severed", "residual before"])
def test_a_variant_equals_its_definition_in_full_length_runs(gpt2: Any, gpt2_case: Case, name: str) -> None:
    kind, options = EVERYWHERE[name]
    plain = run_variant(gpt2, kind, options)
    with gpt2.hooks(fwd_hooks=[("blocks.1.hook_mlp_out", lambda activation, hook: activation)]):  # noqa: ARG005
        slow = run_variant(gpt2, kind, options)
    assert slow.settings.full_length
    torch.testing.assert_close(
        slow.sample_scores, plain.sample_scores, rtol=0, atol=gpt2_case.tolerance, equal_nan=True
    )


def test_the_middle_residual_equals_its_definition_in_full_length_runs(gpt2: Any, gpt2_case: Case) -> None:
    plain = run_variant(gpt2, "resid_mid", {"window": 2})
    with gpt2.hooks(fwd_hooks=[("blocks.1.hook_mlp_out", lambda activation, hook: activation)]):  # noqa: ARG005
        slow = run_variant(gpt2, "resid_mid", {"window": 2})
    torch.testing.assert_close(slow.sample_scores, plain.sample_scores, rtol=0, atol=gpt2_case.tolerance)


@pytest.mark.parametrize("kind", ["resid", "resid_pre", "mlp"])
def test_an_owners_hook_that_writes_in_place_equals_one_that_does_not(gpt2: Any, gpt2_case: Case, kind: str) -> None:
    """Neighbouring sites are one tensor: a state that was read must not change when the owner writes into the next."""

    def in_place(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
        activation[:, -1] *= 0.5
        return activation

    def fresh(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
        activation = activation.clone()
        activation[:, -1] *= 0.5
        return activation

    found = []
    for hook in (in_place, fresh):
        with gpt2.hooks(fwd_hooks=[("blocks.2.hook_resid_pre", hook)]):
            found.append(run_variant(gpt2, kind, {"window": 2}).sample_scores)
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=gpt2_case.tolerance)


@pytest.mark.parametrize(("kind", "place"), [("resid_pre", "hook_resid_pre"), ("resid_mid", "hook_resid_pre")])
def test_states_are_put_in_after_the_owners_hooks(gpt2: Any, gpt2_case: Case, kind: str, place: str) -> None:
    """A hook of the owner at the very place must not act on the state a second time."""

    def shift(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
        return activation * 0.7 + 0.05

    found = []
    for hook in (position_free(lambda activation, hook: shift(activation, hook)), shift):
        with gpt2.hooks(fwd_hooks=[(f"blocks.2.{place}", hook)]):
            found.append(run_variant(gpt2, kind, {"window": 2}))
    assert [result.settings.full_length for result in found] == [False, True]
    torch.testing.assert_close(found[0].sample_scores, found[1].sample_scores, rtol=0, atol=gpt2_case.tolerance)


def test_the_middle_residual_is_refused_where_the_owner_hooks_it(gpt2: Any) -> None:
    with (
        gpt2.hooks(fwd_hooks=[("blocks.2.hook_resid_mid", lambda activation, hook: activation)]),  # noqa: ARG005
        pytest.raises(TraceError, match=r"resid_mid cannot be traced while hooks are attached to blocks\.2"),
    ):
        run_variant(gpt2, "resid_mid", {})
