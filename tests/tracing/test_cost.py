"""The cost told before a run is what the run then computes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from lens_rome.errors import TraceError
from lens_rome.facts import Fact
from lens_rome.surface import as_surface
from lens_rome.tracing import SwapSubject, TraceCost, ZeroEmbeddings, trace_cost, trace_kinds
from lens_rome.tracing.cost import blocks_of_column, multiply_adds_per_token
from tests.helpers import N_LAYERS, Case, assert_untouched

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")

FACT = Fact("Eiffel Tower", "The {} is", "E")
CALLS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "three kinds": (("resid", "mlp", "attn"), {"samples": 3, "window": 2}),
    "wide windows": (("mlp",), {"window": 9, "samples": 2}),
    "residual before": (("resid_pre",), {"samples": 2}),
    "neurons": (("post",), {"samples": 2}),
    "a head": (("head",), {"samples": 2, "head": 1}),
    "an answer of several tokens": (("resid", "mlp"), {"answer": "French city", "samples": 2}),
    "some layers and positions": (("attn",), {"layers": [1, 3], "positions": ["subject_last", "last"], "window": 2}),
    "positions together": (("mlp",), {"positions": "subject", "together": True}),
    "noising": (("resid", "attn"), {"direction": "noise", "samples": 2}),
    "zeroing": (("mlp",), {"direction": "zero"}),
    "a severed path": (("resid",), {"severed": "mlp", "samples": 2}),
    "a later corruption": (("resid",), {"corrupt": [(3, 4)], "samples": 2}),
    "little memory": (("mlp",), {"memory": 1, "window": 3, "samples": 2}),
    "no chance": (("resid",), {"noise": ZeroEmbeddings()}),
}


@contextmanager
def counted(model: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Row tokens that go through blocks and through the unembedding, counted where they do."""
    surface, count = as_surface(model), {"blocks": 0, "ends": 0, "inside": 0}
    kind, layers = type(surface), surface.n_layers

    def counting(name: str, blocks: Any, ends: Any) -> None:
        original = getattr(kind, name)

        def wrapped(self: Any, first: Any, *args: Any, **kwargs: Any) -> Any:
            # A base run that calls the plain forward counts once.
            outermost, count["inside"] = not count["inside"], count["inside"] + 1
            try:
                result = original(self, first, *args, **kwargs)
            finally:
                count["inside"] -= 1
            if outermost:
                count["blocks"] += blocks(first, args, result)
                count["ends"] += ends(first, args, result)
            return result

        monkeypatch.setattr(kind, name, wrapped)

    counting("run", lambda tokens, _, __: tokens.numel() * layers, lambda tokens, _, __: tokens.numel())
    counting("base_run", lambda tokens, _, __: tokens.numel() * layers, lambda *_: 0)
    counting("block", lambda _, __, result: result.shape[0] * result.shape[1], lambda *_: 0)
    counting("last_block", lambda _, args, __: args[0].shape[0] * args[0].shape[1], lambda *_: 0)
    counting("logits", lambda *_: 0, lambda resid, _, __: resid.shape[0] * resid.shape[1])
    counting(
        "read",
        lambda tokens, args, _: tokens.numel() * (max(site.layer for site in args[0]) + 1) if args[0] else 0,
        lambda *_: 0,
    )
    counting("embeddings", lambda *_: 0, lambda *_: 0)
    yield count
    monkeypatch.undo()


def assert_counts(model: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds, options = CALLS[name]
    cost = trace_cost(model, FACT, kinds, **options)
    with counted(model, monkeypatch) as count:
        results = trace_kinds(model, FACT, kinds, **options)
    block, unembed = multiply_adds_per_token(as_surface(model))
    assert cost.token_layers == count["blocks"]
    assert cost.multiply_adds == count["blocks"] * block + count["ends"] * unembed
    traced = sum(int((~result.scores.isnan()).sum()) for result in results.values())
    together = len(results[kinds[0]].tokens) if options.get("together") else 0
    assert cost.cells == traced or together
    assert cost.samples == results[kinds[0]].sample_scores.shape[-1]
    assert cost.rows == cost.cells * cost.samples


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("three kinds", "a head", "a severed path") else pytest.param(name, marks=pytest.mark.slow)
        for name in CALLS
    ],
)
def test_what_is_told_is_what_is_computed(raw_model: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_counts(raw_model, name, monkeypatch)


@pytest.mark.parametrize("name", ["three kinds", "noising", "zeroing", "a severed path", "an answer of several tokens"])
def test_what_is_told_is_what_is_computed_in_full_length_runs(
    gpt2: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gpt2.hooks(fwd_hooks=[("blocks.1.hook_mlp_out", lambda activation, hook: activation)]):  # noqa: ARG005
        assert_counts(gpt2, name, monkeypatch)


def test_the_released_codes_severed_paths_cost_a_run_a_column(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"severed": "mlp", "original": True, "samples": 2}
    cost = trace_cost(gpt2, FACT, ("resid",), **options)
    with counted(gpt2, monkeypatch) as count:
        trace_kinds(gpt2, FACT, ("resid",), **options)
    assert cost.token_layers == count["blocks"]


def test_multiply_adds_of_a_block_are_the_size_of_its_matrices(raw_model: Any, raw_case: Case) -> None:
    """Each entry of a weight matrix is one multiply-add a token."""
    surface = as_surface(raw_model)
    blocks, unembed = multiply_adds_per_token(surface)
    mlp = {"gpt2": 2 * 32 * 128, "gptj": 2 * 32 * 128, "neox": 2 * 32 * 96, "llama": 3 * 32 * 80}
    attention = 4 * 32 * 32 if raw_case.architecture != "llama" else 2 * 32 * 32 + 2 * 32 * 16
    assert blocks == attention + mlp[raw_case.architecture]
    assert unembed == 32 * int(surface.cfg.d_vocab)


def test_the_plain_loop_runs_every_cell_in_full(gpt2: Any) -> None:
    cost = trace_cost(gpt2, FACT, ("resid", "mlp"), samples=3)
    length = 5
    assert cost.cells == 2 * N_LAYERS * length and cost.rows == 3 * cost.cells
    assert cost.loop_token_layers == (cost.cells + 2 * 2) * 4 * length * N_LAYERS
    assert cost.speedup == cost.loop_multiply_adds / cost.multiply_adds > 2


def test_windows_with_one_start_share_their_beginning() -> None:
    # One restores blocks 0 and 1, one 0 to 2: three shared blocks, then two and one more.
    assert blocks_of_column([(0, 2), (0, 3)], 4, first_is_free=False) == 3 + 2 + 1
    assert blocks_of_column([(0, 2), (1, 3)], 4, first_is_free=False) == (2 + 2) + (2 + 1)
    assert blocks_of_column([(0, 2), (0, 3)], 4, first_is_free=True) == 2 + 2 + 1


def test_nothing_runs_and_nothing_changes(any_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("the model ran")

    with assert_untouched(any_model):
        monkeypatch.setattr(type(any_model), "forward", fail)
        trace_cost(any_model, FACT)


def test_other_subjects_are_counted_as_samples(gpt2: Any) -> None:
    assert trace_cost(gpt2, FACT, noise=SwapSubject(("Space Needle", "Rome"))).samples == 2
    assert trace_cost(gpt2, FACT, noise=SwapSubject("Rome")).samples == 1


def test_a_cost_reads_as_a_sentence() -> None:
    cost = TraceCost(("resid", "mlp", "attn"), 12, 16, 10, 10**6, 10**7, 210 * 10**9, 1281 * 10**9)
    assert str(cost) == (
        "3 kinds × 12 layers × 16 positions = 576 cells × 10 samples; about 210 G multiply-adds, 6.1 times less than "
        "the plain loop; about 2.1 s at 100 G/s"
    )
    assert cost.seconds(21e9) == pytest.approx(10)


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(TraceError, match="multiply-adds a second, above 0; got 0"):
        TraceCost(("resid",), 1, 1, 1, 1, 1, 1, 1).seconds(0)


def test_no_kinds_are_refused(gpt2: Any) -> None:
    with pytest.raises(TraceError, match="no kinds to trace; give"):
        trace_cost(gpt2, FACT, ())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": [9]}, "layer 9 does not exist"),
        ({"positions": [99]}, "position 99 does not exist"),
        ({"samples": 0}, "samples must be a whole number from 1 up"),
        ({"direction": "up"}, "unknown direction 'up'"),
    ],
)
def test_options_are_checked_as_a_trace_checks_them(gpt2: Any, options: dict[str, Any], message: str) -> None:
    with torch.no_grad(), pytest.raises(TraceError, match=message):
        trace_cost(gpt2, FACT, **options)
