"""What `original=True` fixes, and what it refuses."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from lens_rome.errors import TraceError
from lens_rome.facts import Fact
from lens_rome.tracing import (
    EmbeddingStatistics,
    GaussianNoise,
    MultivariateNoise,
    StudentNoise,
    SwapSubject,
    trace,
    trace_kinds,
)
from tests.helpers import FACTS

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")

FACT = FACTS["subject in the middle"]
STATISTICS = EmbeddingStatistics(torch.zeros(32).double(), torch.eye(32).double(), 100, "made up")


def test_windows_are_10_for_mlp_and_attention_and_1_for_residuals(gpt2: Any) -> None:
    results = trace_kinds(gpt2, FACT, noise=0.5, samples=2, original=True)
    assert {kind: result.settings.window for kind, result in results.items()} == {"resid": 1, "mlp": 10, "attn": 10}
    assert all(result.settings.original and not result.settings.prepend_bos for result in results.values())


def test_another_window_is_that_of_mlp_and_attention_only(gpt2: Any) -> None:
    windows = {
        kind: trace(gpt2, FACT, kind, noise=0.5, samples=1, window=3, original=True).settings.window
        for kind in ("resid", "mlp")
    }
    assert windows == {"resid": 1, "mlp": 3}


def test_a_window_of_0_is_refused_and_not_taken_for_10(gpt2: Any) -> None:
    with pytest.raises(TraceError, match="from 1 up, got 0"):
        trace(gpt2, FACT, "mlp", window=0, original=True)


def test_the_subject_is_its_first_occurrence(gpt2: Any) -> None:
    fact = Fact("Catalonia", "Catalonia and {} is", "E")
    by_default = trace(gpt2, fact, noise=0.5, samples=1, prepend_bos=False)
    original = trace(gpt2, fact, noise=0.5, samples=1, original=True)
    assert original.subject_span[0] == 0 < by_default.subject_span[0]
    assert original.tokens == by_default.tokens


@pytest.mark.parametrize("position", [0, 1])
def test_a_cell_that_restores_nothing_has_the_score_of_the_replaced_embeddings(gpt2: Any, position: int) -> None:
    """With hooks of the model's owner too, where runs are full length."""
    noise = GaussianNoise(0.7, replace=True)
    wanted = trace(gpt2, FACT, noise=noise, samples=2, positions=[position], prepend_bos=False)
    found = trace(gpt2, FACT, noise=noise, samples=2, positions=[position], original=True)
    with gpt2.hooks(fwd_hooks=[("blocks.0.hook_resid_post", lambda activation, hook: activation)]):  # noqa: ARG005
        full = trace(gpt2, FACT, noise=noise, samples=2, positions=[position], original=True)
    assert full.settings.full_length and not found.settings.full_length
    for result in (found, full):
        torch.testing.assert_close(result.scores, wanted.scores, rtol=0, atol=1e-12, equal_nan=True)
        assert abs(result.corrupted_score - wanted.corrupted_score) > 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"answer": "E"}, "which always traces the model's top token; leave out answer="),
        ({"metric": "logit"}, "which measures probabilities; leave out metric="),
        ({"against": "E"}, "which measures probabilities; leave out against="),
        ({"direction": "noise"}, "which restores clean states; leave out direction="),
        ({"corrupt": [(0, 1)]}, "which corrupts the subject; leave out corrupt="),
        ({"together": True}, "which restores single positions; leave out together="),
        ({"prepend_bos": True}, "which prepends no BOS; leave out prepend_bos="),
        ({"kind": "head", "head": 0}, "which knows no heads; leave out head="),
        ({"kind": "resid_mid"}, "does not know the kind 'resid_mid'; trace one of resid, mlp, attn"),
        ({"noise": "zero"}, "corrupts by random noise, not by zero"),
        ({"noise": SwapSubject("Rome")}, "give a number, '3σ' or another noise"),
        ({"noise": StudentNoise(STATISTICS), "severed": "mlp"}, "not of Student's t; give another noise"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, Mapping) else "",
)
def test_what_the_released_code_does_not_have_is_refused(gpt2: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        trace(gpt2, FACT, original=True, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"metric": "prob", "direction": "denoise", "together": False, "prepend_bos": False},
        {"noise": MultivariateNoise(STATISTICS), "severed": "mlp"},
        {"noise": StudentNoise(STATISTICS)},
    ],
    ids=["named", "multivariate", "student"],
)
def test_what_the_released_code_does_may_be_asked_for_by_name(gpt2: Any, options: dict[str, Any]) -> None:
    assert trace(gpt2, FACT, samples=1, original=True, **options).settings.original
