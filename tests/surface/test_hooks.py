"""Attaching hooks: the owner's stay and take part, ours come off after any exit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lens_rome.errors import SurfaceError
from lens_rome.surface import (
    Reader,
    as_surface,
    attached,
    frozen_parameters,
    is_position_free,
    owner_hooks,
    position_free,
)
from tests.helpers import Case, assert_untouched

TOKENS = torch.arange(5, 11)[None]
NAME = "blocks.1.hook_mlp_out"


def halve(activation: torch.Tensor, hook: object) -> torch.Tensor:  # noqa: ARG001
    return activation * 0.5


def add_one(activation: torch.Tensor, hook: object) -> torch.Tensor:  # noqa: ARG001
    return activation + 1


def test_a_freshly_loaded_model_has_no_owners_hooks(any_model: Any) -> None:
    assert owner_hooks(any_model) == []


def test_owners_hooks_are_found_and_position_free_ones_do_not_count(gpt2: Any) -> None:
    def harmless(activation: torch.Tensor, hook: object) -> torch.Tensor:  # noqa: ARG001
        return activation

    with gpt2.hooks(fwd_hooks=[(NAME, position_free(harmless))]):
        assert is_position_free(harmless) and owner_hooks(gpt2) == []
    with gpt2.hooks(fwd_hooks=[(NAME, halve)]):
        assert not is_position_free(halve) and len(owner_hooks(gpt2)) == 1
    assert owner_hooks(gpt2) == []


@pytest.mark.parametrize("kind", ["register_forward_hook", "register_forward_pre_hook"])
def test_plain_torch_hooks_of_the_owner_are_found(gpt2: Any, kind: str) -> None:
    handle = getattr(gpt2.blocks[2], kind)(lambda *_: None)
    try:
        assert owner_hooks(gpt2) == ["blocks.2"]
    finally:
        handle.remove()


@torch.no_grad()
def test_the_owners_hooks_run_before_ours_and_after_them_when_asked(gpt2: Any) -> None:
    reader = Reader([NAME])
    with gpt2.hooks(fwd_hooks=[(NAME, halve)]):
        with attached(gpt2, [(NAME, add_one), *reader.hooks]):
            gpt2(TOKENS)
        owner_first = reader[NAME]
        with attached(gpt2, [(NAME, add_one)], first=True), attached(gpt2, reader.hooks):
            gpt2(TOKENS)
    _, cache = gpt2.run_with_cache(TOKENS)
    torch.testing.assert_close(owner_first, cache[NAME] * 0.5 + 1)
    torch.testing.assert_close(reader[NAME], (cache[NAME] + 1) * 0.5)


def test_a_package_whose_name_only_begins_like_a_librarys_is_the_owners(gpt2: Any) -> None:
    def watch(*_: Any) -> None: ...

    watch.__module__ = "transformers_of_mine.hooks"
    handle = gpt2.blocks[2].register_forward_hook(watch)
    try:
        assert owner_hooks(gpt2) == ["blocks.2"]
    finally:
        handle.remove()


@torch.no_grad()
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_our_hooks_come_off_and_the_owners_stay_after_an_exception(gpt2: Any, error: type[BaseException]) -> None:
    def fail(activation: torch.Tensor, hook: object) -> None:  # noqa: ARG001
        raise error

    surface = as_surface(gpt2)
    with gpt2.hooks(fwd_hooks=[(NAME, halve)]):
        expected = gpt2(TOKENS)
        with assert_untouched(gpt2), pytest.raises(error):
            surface.run(TOKENS, [("blocks.0.hook_attn_out", add_one), (NAME, fail)])
        with assert_untouched(gpt2), pytest.raises(error):
            surface.base_run(TOKENS, [("blocks.0.hook_attn_out", add_one), (NAME, fail)])
        assert torch.equal(gpt2(TOKENS), expected)
        assert not torch.allclose(expected, surface.run(TOKENS, [(NAME, halve)]))
    assert owner_hooks(gpt2) == []


@torch.no_grad()
def test_the_same_function_attached_by_the_owner_is_not_taken_off_with_ours(gpt2: Any) -> None:
    surface = as_surface(gpt2)
    with gpt2.hooks(fwd_hooks=[(NAME, halve)]):
        expected = gpt2(TOKENS)
        surface.run(TOKENS, [(NAME, halve)])
        assert torch.equal(gpt2(TOKENS), expected)


def test_an_unknown_hook_point_is_refused_and_nothing_stays_attached(gpt2: Any) -> None:
    with assert_untouched(gpt2), pytest.raises(SurfaceError, match=r"See model\.hook_dict for the names it has"):
        as_surface(gpt2).run(TOKENS, [(NAME, halve), ("blocks.9.hook_mlp_out", halve)])


def test_a_hook_point_that_did_not_fire_is_an_error() -> None:
    with pytest.raises(SurfaceError, match="'hook_embed' did not fire in the run"):
        Reader(["hook_embed"])["hook_embed"]


def test_recording_how_a_bridge_calls_its_blocks_fires_nobodys_hooks(shared_model: Callable[[Case], Any]) -> None:
    """A resumed run needs one small run to see the block's arguments; the owner must not notice it."""
    bridge = shared_model(Case("gpt2", "bridge"))
    surface = as_surface(bridge)
    seen: list[torch.Size] = []
    watch = position_free(lambda activation, hook: seen.append(activation.shape))  # noqa: ARG005
    base = surface.base_run(TOKENS)
    with bridge.hooks(fwd_hooks=[("blocks.3.hook_resid_post", watch)]), assert_untouched(bridge):
        surface.resume(base, 3, base.resid[3][:, 2:], 2)
    assert seen == [(1, 4, 32)]


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_gradient_flags_come_back_after_any_exit(
    gpt2_case: Case, fresh_model: Callable[[Case], Any], error: type[BaseException] | None
) -> None:
    model = fresh_model(gpt2_case)
    first = next(model.parameters())
    first.requires_grad_(False)

    def use() -> None:
        with torch.no_grad(), frozen_parameters(model):
            assert torch.is_grad_enabled()
            assert not any(parameter.requires_grad for parameter in model.parameters())
            if error:
                raise error

    with assert_untouched(model):
        if error:
            with pytest.raises(error):
                use()
        else:
            use()
    assert not first.requires_grad and any(parameter.requires_grad for parameter in model.parameters())
