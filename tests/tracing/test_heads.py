"""All heads at once equal each head alone, and the definition."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lens_rome.errors import TraceError
from lens_rome.facts import Fact
from lens_rome.surface import as_surface
from lens_rome.tracing import HeadTrace, WeakTraceWarning, trace, trace_heads
from tests.helpers import N_LAYERS, Case, assert_untouched
from tests.oracles.variants import variant_by_loop

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")

FACT = Fact("Eiffel Tower", "The {} is", "E")
LEVEL, SAMPLES, HEADS = 0.7, 2, 4


def heads(model: Any, **options: Any) -> HeadTrace:
    return trace_heads(model, FACT, **{"noise": LEVEL, "samples": SAMPLES, **options})


def test_every_head_equals_its_own_trace(raw_model: Any, raw_case: Case) -> None:
    found = heads(raw_model)
    assert found.sample_scores.shape == (N_LAYERS, HEADS, SAMPLES)
    for head in range(HEADS):
        alone = trace(raw_model, FACT, "head", head=head, noise=LEVEL, samples=SAMPLES, positions="last")
        torch.testing.assert_close(
            found.sample_scores[:, head], alone.sample_scores[:, -1], rtol=0, atol=raw_case.tolerance
        )
        assert found.corrupted_score == pytest.approx(alone.corrupted_score, abs=raw_case.tolerance)
    assert found.scores.std() > 1e-4


@pytest.mark.parametrize("positions", ["last", "subject"])
def test_a_head_equals_its_definition(gpt2: Any, gpt2_case: Case, positions: str) -> None:
    found = heads(gpt2, positions=positions, direction="denoise")
    first, last = found.results[0].subject_span
    noise = LEVEL * torch.from_numpy(np.random.RandomState(1).randn(SAMPLES, last - first, 32))

    def embed(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
        activation = activation.clone()
        activation[:, first:last] = (activation[:, first:last].double() + noise).to(activation.dtype)
        return activation

    result = found.results[2]
    clean, corrupted, scores = variant_by_loop(
        gpt2,
        result.tokens,
        "head",
        1,
        ("hook_embed", embed),
        SAMPLES,
        result.answer_tokens,
        positions=[found.positions],
        head=2,
    )
    assert found.clean_score == pytest.approx(clean, abs=gpt2_case.tolerance)
    assert found.corrupted_score == pytest.approx(float(corrupted.mean()), abs=gpt2_case.tolerance)
    for (layer, _), expected in scores.items():
        torch.testing.assert_close(found.sample_scores[layer, 2], expected, rtol=0, atol=gpt2_case.tolerance)


def test_all_heads_share_the_base_runs(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, count = type(as_surface(gpt2)), [0]
    original = kind.base_run

    def counting(self: Any, *args: Any, **kwargs: Any) -> Any:
        count[0] += 1
        return original(self, *args, **kwargs)

    monkeypatch.setattr(kind, "base_run", counting)
    heads(gpt2)
    assert count[0] == 2


def test_a_window_is_of_the_same_head(gpt2: Any) -> None:
    found = heads(gpt2, window=3)
    alone = trace(gpt2, FACT, "head", head=1, window=3, noise=LEVEL, samples=SAMPLES, positions="last")
    torch.testing.assert_close(found.sample_scores[:, 1], alone.sample_scores[:, -1], rtol=0, atol=1e-12)
    assert found.settings == replace(alone.settings, head=None, together=True)


def test_a_frame_has_a_row_for_each_head_of_a_traced_layer(gpt2: Any) -> None:
    found = heads(gpt2, layers=[1, 3])
    frame = found.to_dataframe()
    assert list(frame.columns) == ["layer", "head", "effect"] and len(frame) == 2 * HEADS
    for layer, head, effect in frame.itertuples(index=False, name=None):
        assert effect == float(found.indirect_effects[layer, head])
    assert found.scores[[0, 2]].isnan().all()


@pytest.mark.parametrize(("direction", "sign"), [("denoise", 1), ("noise", -1), ("zero", -1)])
def test_top_heads_are_those_that_bring_back_or_take_away_most(gpt2: Any, direction: str, sign: int) -> None:
    found = heads(gpt2, direction=direction)
    effects = [sign * effect for _, _, effect in found.top(N_LAYERS * HEADS + 5)]
    assert effects == sorted(effects, reverse=True) and len(effects) == N_LAYERS * HEADS
    layer, head, effect = found.top(1)[0]
    assert sign * effect == float((sign * found.indirect_effects).max())
    assert effect == float(found.indirect_effects[layer, head])


def test_a_trace_of_heads_says_what_it_is(gpt2: Any) -> None:
    found = heads(gpt2)
    assert repr(found).startswith("HeadTrace(head, window 1, positions together, 2 samples, noise 0.7 = 0.7)")
    assert found.answer == found.results[0].answer and "heads at ' is'" in repr(found)
    assert [result.settings.head for result in found.results] == list(range(HEADS)) and found.settings.head is None


def test_a_weak_trace_of_heads_warns_once(gpt2: Any, recwarn: pytest.WarningsRecorder) -> None:
    with pytest.warns(WeakTraceWarning) as caught:
        heads(gpt2, noise=0.0)
    assert len(caught) == 1 and not len(recwarn)


def test_the_model_is_left_as_it_was(any_model: Any) -> None:
    with assert_untouched(any_model):
        heads(any_model, layers=[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": 1}, "every head in its own right; leave out head="),
        ({"severed": "mlp"}, "leave out severed="),
        ({"original": True}, "leave out original="),
        ({"together": False}, "one number a head, so positions are restored together"),
        ({"positions": []}, "no positions to trace heads at; leave out positions="),
        ({"layers": [9]}, "layer 9 does not exist"),
    ],
)
def test_what_leaves_no_grid_of_heads_is_refused(gpt2: Any, options: dict[str, Any], message: str) -> None:
    with assert_untouched(gpt2), pytest.raises(TraceError, match=message):
        heads(gpt2, **options)
