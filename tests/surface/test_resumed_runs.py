"""A resumed run equals the full run wherever what changed lies at or after its start; so do its gradients."""

from typing import Any

import torch

from lens_rome.surface import BaseRun, Site, as_surface
from tests.helpers import N_LAYERS, VOCAB, Case

LENGTH = 6
ROWS = 2


def random_tokens(rng: torch.Generator, rows: int = ROWS, length: int = LENGTH) -> torch.Tensor:
    return torch.randint(0, VOCAB, (rows, length), generator=rng)


def full_run(model: Any, base: BaseRun, layer: int, delta: torch.Tensor, start: int) -> torch.Tensor:
    """Logits of whole sequences in which `delta` is added to what enters `layer` at `start` and after."""

    def change(resid: torch.Tensor, hook: object) -> torch.Tensor:  # noqa: ARG001
        return torch.cat([resid[:, :start], resid[:, start:] + delta], 1)

    rows = base.tokens.repeat(len(delta) // base.batch, 1)
    name = f"blocks.{layer}.hook_resid_pre"
    return model.run_with_hooks(rows, fwd_hooks=[(name, change)])[:, start:]


def test_a_base_run_gives_the_logits_of_a_plain_run(any_model: Any, any_case: Case, rng: torch.Generator) -> None:
    surface = as_surface(any_model)
    tokens = random_tokens(rng, 3)
    with torch.no_grad():
        base = surface.base_run(tokens)
        torch.testing.assert_close(
            surface.logits(base.resid[-1]), any_model(tokens), rtol=0, atol=10 * any_case.tolerance
        )
    assert len(base.resid) == N_LAYERS + 1 and len(base.keys) == len(base.values) == N_LAYERS


@torch.no_grad()
def test_a_resumed_run_equals_the_full_run_for_every_layer_start_and_row(
    any_model: Any, any_case: Case, rng: torch.Generator
) -> None:
    surface = as_surface(any_model)
    base = surface.base_run(random_tokens(rng))
    for layer in range(N_LAYERS):
        for start in range(LENGTH):
            # Two rows continue each row of the base run, every one changed in its own way.
            shape = (2 * ROWS, LENGTH - start, surface.d_model)
            delta = torch.randn(shape, generator=rng, dtype=surface.dtype)
            entering = base.resid[layer][:, start:].repeat(2, 1, 1) + delta
            resumed = surface.logits(surface.resume(base, layer, entering, start))
            expected = full_run(any_model, base, layer, delta, start)
            # Logits are about ten times as large as probabilities.
            torch.testing.assert_close(resumed, expected, rtol=0, atol=10 * any_case.tolerance)


@torch.no_grad()
def test_rows_moved_to_one_start_resume_as_each_does_from_its_own(
    any_model: Any, any_case: Case, rng: torch.Generator
) -> None:
    surface = as_surface(any_model)
    starts, after = torch.tensor([2, 4, 0, 2]), 2
    base = surface.base_run(random_tokens(rng, 4), keep=[Site(1, "key")])
    moved = base.aligned(starts, after)
    assert moved.n_positions == 6 and moved.padding is not None and moved.padding.tolist() == [2, 0, 4, 2]
    for layer in range(N_LAYERS):
        # Two rows continue each row of the base run, every one changed in its own way.
        delta = torch.randn((8, after, surface.d_model), generator=rng, dtype=surface.dtype)
        entering = moved.resid[layer][:, 4:].repeat(2, 1, 1) + delta
        found = surface.logits(surface.resume(moved, layer, entering, 4))
        read_late = surface.last_block(moved, moved.resid[-2][:, 4:], 4, 5)
        torch.testing.assert_close(read_late, moved.resid[-1][:, 5:], rtol=0, atol=10 * any_case.tolerance)
        for i in range(8):
            start = int(starts[i % 4])
            alone = base.select(torch.tensor([i % 4]))
            own = alone.resid[layer][:, start : start + after] + delta[i]
            later = alone.resid[layer][:, start + after :]
            expected = surface.logits(surface.resume(alone, layer, torch.cat([own, later], 1), start))[:, :after]
            torch.testing.assert_close(found[i : i + 1], expected, rtol=0, atol=10 * any_case.tolerance)
    for i, start in enumerate(starts.tolist()):
        torch.testing.assert_close(moved[Site(1, "key")][i, 4:], base[Site(1, "key")][i, start : start + after])
    few = moved.select(torch.tensor([2, 0]))
    assert few.padding is not None and few.padding.tolist() == [4, 2]
    expected = surface.block(moved, 1, moved.resid[1][:, 4:], 4)[[2, 0]]
    found = surface.block(few, 1, few.resid[1][:, 4:], 4)
    torch.testing.assert_close(found, expected, rtol=0, atol=10 * any_case.tolerance)


@torch.no_grad()
def test_rows_with_one_start_have_no_padding_and_missing_positions_repeat_the_last(
    gpt2: Any, rng: torch.Generator
) -> None:
    base = as_surface(gpt2).base_run(random_tokens(rng))
    moved = base.aligned(torch.tensor([3, 3]), 5)
    assert moved.padding is None and moved.n_positions == 8
    torch.testing.assert_close(moved.resid[2][:, :LENGTH], base.resid[2])
    torch.testing.assert_close(moved.resid[2][:, 6:], base.resid[2][:, [5, 5]])


def test_gradients_through_a_resumed_run_equal_those_through_the_full_run(
    raw_model: Any, raw_case: Case, rng: torch.Generator
) -> None:
    surface = as_surface(raw_model)
    layer, start = 1, 3
    with torch.no_grad():
        base = surface.base_run(random_tokens(rng))
    shape = (ROWS, LENGTH - start, surface.d_model)
    delta = torch.randn(shape, generator=rng, dtype=surface.dtype).requires_grad_()
    weights = torch.randn((ROWS, LENGTH - start, VOCAB), generator=rng, dtype=surface.dtype)
    resumed = surface.logits(surface.resume(base, layer, base.resid[layer][:, start:] + delta, start))
    found = torch.autograd.grad((resumed * weights).sum(), delta)[0]
    expected = torch.autograd.grad((full_run(raw_model, base, layer, delta, start) * weights).sum(), delta)[0]
    assert found.norm() > 1
    torch.testing.assert_close(found / expected.norm(), expected / expected.norm(), rtol=0, atol=raw_case.tolerance)


@torch.no_grad()
def test_a_base_run_keeps_the_sites_it_is_asked_for(any_model: Any, any_case: Case, rng: torch.Generator) -> None:
    surface = as_surface(any_model)
    tokens = random_tokens(rng)
    sites = [Site(layer, kind) for layer in (0, 3) for kind in ("attn_out", "mlp_out", "key", "value", "resid_post")]
    base = surface.base_run(tokens, keep=sites)
    _, cache = any_model.run_with_cache(tokens)
    for site in sites:
        expected = cache[surface.hook_name(site)]
        torch.testing.assert_close(base[site], expected, rtol=0, atol=10 * any_case.tolerance)


@torch.no_grad()
def test_hooks_of_a_base_run_take_part_in_it(gpt2: Any, gpt2_case: Case, rng: torch.Generator) -> None:
    surface = as_surface(gpt2)
    tokens = random_tokens(rng)
    hook = ("blocks.1.hook_mlp_out", lambda activation, hook: activation * 0.5)  # noqa: ARG005
    base = surface.base_run(tokens, [hook], [Site(1, "mlp_out")])
    expected = gpt2.run_with_hooks(tokens, fwd_hooks=[hook])
    torch.testing.assert_close(surface.logits(base.resid[-1]), expected, rtol=0, atol=10 * gpt2_case.tolerance)
    # The reader sees the activation after the hooks that were given.
    plain = surface.read(tokens, [Site(1, "mlp_out")])[Site(1, "mlp_out")]
    torch.testing.assert_close(base[Site(1, "mlp_out")], plain * 0.5, rtol=0, atol=gpt2_case.tolerance)


@torch.no_grad()
def test_reading_a_low_layer_does_not_run_the_layers_above(gpt2: Any, rng: torch.Generator) -> None:
    surface = as_surface(gpt2)
    ran: list[str] = []
    hooks = [(f"blocks.{i}.hook_resid_post", lambda activation, hook: ran.append(hook.name)) for i in range(N_LAYERS)]  # noqa: ARG005
    found = surface.read(random_tokens(rng), [Site(1, "key")], hooks)
    assert len(ran) == 2 and found[Site(1, "key")].shape == (ROWS, LENGTH, surface.d_mlp)
