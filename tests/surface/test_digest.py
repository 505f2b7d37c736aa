"""The digest of a model changes with anything that changes what it computes."""

from typing import Any

import pytest
import torch

from lens_rome.surface import as_surface, position_free
from lens_rome.surface.digest import model_digest
from tests.helpers import Case


def halve(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
    return activation * 0.5


def test_the_digest_is_the_same_for_the_same_model(raw_case: Case, raw_model: Any, fresh_model: Any) -> None:
    assert model_digest(as_surface(raw_model)) == model_digest(as_surface(fresh_model(raw_case)))


def test_another_model_has_another_digest(shared_model: Any, gpt2_case: Case) -> None:
    found = {
        model_digest(as_surface(shared_model(Case(name, gpt2_case.surface)))) for name in ("gpt2", "neox", "llama")
    }
    assert len(found) == 3


@pytest.mark.parametrize("index", [0, 5, -1])
def test_any_parameter_counts(gpt2_case: Case, fresh_model: Any, index: int) -> None:
    model = fresh_model(gpt2_case)
    before = model_digest(as_surface(model))
    parameter = sorted(model.named_parameters())[index][1]
    with torch.no_grad():
        parameter[(0,) * parameter.ndim] += 1e-3
    assert model_digest(as_surface(model)) != before


def test_hooks_count_also_those_that_do_not_look_at_positions(gpt2: Any) -> None:
    factor = 0.0

    def strong(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
        return activation * factor

    found = {model_digest(as_surface(gpt2))}
    for hook in (halve, position_free(lambda activation, hook: activation * 0.1)):  # noqa: ARG005
        with gpt2.hooks(fwd_hooks=[("blocks.1.hook_mlp_out", hook)]):
            found.add(model_digest(as_surface(gpt2)))
    with gpt2.hooks(fwd_hooks=[("blocks.1.hook_mlp_out", strong)]):
        found.add(model_digest(as_surface(gpt2)))
        factor = 3.0  # the same function at the same place, which does something else
        found.add(model_digest(as_surface(gpt2)))
    assert len(found) == 5
