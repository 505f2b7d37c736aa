"""While a block runs its GELU is one kernel; else, and where that could change a value, it is the model's own."""

from typing import Any

import pytest
import torch
from transformers.activations import NewGELUActivation

from lens_rome.surface import as_surface
from lens_rome.surface._activation import FUSED_MODULE, exchanged, gelu_tanh, is_plain_gelu

TOKENS = torch.tensor([[5, 6, 7, 8], [9, 8, 7, 6]])


def activation(model: Any) -> Any:
    mlp = model.blocks[1].mlp
    return mlp.act_fn if hasattr(mlp, "act_fn") else mlp.original_component.act


def resumed(model: Any) -> torch.Tensor:
    surface = as_surface(model)
    base = surface.fresh_run(TOKENS)
    return surface.logits(surface.resume(base, 0, base.resid[0], 0))


def test_one_kernel_is_the_published_formula() -> None:
    hidden = torch.linspace(-9, 9, 4001, dtype=torch.float64)
    torch.testing.assert_close(gelu_tanh(hidden), NewGELUActivation()(hidden), rtol=1e-13, atol=1e-15)
    assert torch.equal(gelu_tanh(hidden), FUSED_MODULE(hidden))


def test_blocks_run_with_it_and_the_models_own_is_back_afterwards(gpt2: Any) -> None:
    own, seen = activation(gpt2), []
    name = "blocks.1.mlp.hook_post"
    with gpt2.hooks(fwd_hooks=[(name, lambda value, hook: seen.append(activation(gpt2)))]):  # noqa: ARG005
        found = resumed(gpt2)
        as_surface(gpt2).run(TOKENS)
    assert activation(gpt2) is own and seen[0] in (gelu_tanh, FUSED_MODULE) and seen[-1] is own
    torch.testing.assert_close(found, as_surface(gpt2).run(TOKENS), rtol=0, atol=1e-12)

    def fails(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with gpt2.hooks(fwd_hooks=[(name, fails)]), pytest.raises(KeyboardInterrupt):
        resumed(gpt2)
    assert activation(gpt2) is own


def test_one_that_somebody_watches_or_changed_is_left_alone() -> None:
    plain, watched, changed = NewGELUActivation(), NewGELUActivation(), NewGELUActivation()
    watched.register_forward_hook(lambda *_: None)
    changed.forward = torch.nn.functional.relu  # type: ignore[method-assign]
    assert is_plain_gelu(plain) and not any(map(is_plain_gelu, (watched, changed, torch.nn.GELU(), None)))


def test_in_half_precision_nothing_is_exchanged() -> None:
    owner = torch.nn.Module()
    owner.act = NewGELUActivation()
    own = owner.act
    for dtype, other in ((torch.bfloat16, False), (torch.float16, False), (torch.float32, True)):
        with exchanged(owner, "act", FUSED_MODULE, dtype):
            assert (owner.act is FUSED_MODULE) == other
        assert owner.act is own
