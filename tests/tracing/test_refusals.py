"""What a trace refuses, by name: each one clear error, the model untouched."""

import re
from typing import Any

import pytest
import torch

from lens_rome.errors import SurfaceError, TraceError
from lens_rome.facts import Fact
from lens_rome.tracing import (
    CorruptSubject,
    EmbeddingStatistics,
    GaussianNoise,
    StudentNoise,
    SwapSubject,
    draw_noise,
    restore_hooks,
    trace,
    trace_kinds,
)
from lens_rome.tracing.corruption import AbstractCorruption
from tests.helpers import Case, assert_untouched

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")

FACT = Fact("Eiffel Tower", "The {} is", "E")


class Broken(AbstractCorruption):
    def draw(self, surface: Any, target: Any, samples: int, seed: int) -> torch.Tensor:  # noqa: ARG002
        return torch.full((samples, len(target.positions), surface.d_model), torch.nan, dtype=torch.float64)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("resid", {"metric": "accuracy"}, "unknown metric 'accuracy'; measure one of prob, logprob"),
        ("resid", {"metric": "logit_diff"}, r"logit_diff needs a second answer; pass against="),
        ("resid", {"metric": "logit_diff", "against": " "}, "logit_diff needs a second answer"),
        ("resid", {"against": "Rome"}, "has no use for the metric 'prob'; pass metric='logit_diff'"),
        ("resid", {"metric": "logit_diff", "answer": "Rome", "against": "Rome"}, "begin with the same token"),
        ("resid", {"direction": "backwards"}, "unknown direction 'backwards'; choose one of denoise, noise, zero"),
        ("resid", {"severed": "resid"}, "unknown path to sever 'resid'; choose one of mlp, attn"),
        ("resid", {"severed": "mlp", "direction": "noise"}, "severed in corrupted runs; the direction 'noise'"),
        ("mlp", {"severed": "mlp"}, "kind 'mlp' is not a residual. Trace one of resid"),
        ("head", {}, r"kind 'head' needs head=\.\.\."),
        ("mlp", {"head": 1}, "no other kind takes one"),
        ("head", {"head": 9}, "head 9 does not exist: the model has heads 0 to 3"),
        ("head", {"head": -1}, "head -1 does not exist"),
        ("resid", {"corrupt": [(1, 3), (2, 4)]}, r"spans to corrupt overlap: \[\(1, 3\), \(2, 4\)\].*Join them"),
        ("resid", {"corrupt": [(2, 2)]}, r"span \(2, 2\) is empty or outside the prompt, which has positions 0 to"),
        ("resid", {"corrupt": [(3, 99)]}, r"span \(3, 99\) is empty or outside"),
        ("resid", {"corrupt": []}, "no spans to corrupt; leave out corrupt="),
        ("resid", {"corrupt": ["Rome"]}, "the text to corrupt 'Rome' is not in the prompt"),
        ("resid", {"corrupt": [""]}, "the text to corrupt '' is not in the prompt"),
        ("resid", {"positions": slice(3, 3)}, r"slice\(3, 3, None\) chooses no position"),
        ("resid", {"positions": re.compile("Rome")}, "chooses no position of the prompt"),
        ("resid", {"memory": 0}, "memory must be a number of bytes above 0, got 0"),
        ("resid", {"noise": Broken()}, "the corruption drew values of shape"),
        ("resid", {"noise": SwapSubject("Danielle Darrieux of France")}, r"no other subject fits .* has \d"),
        ("resid", {"noise": SwapSubject("Eiffel Tower")}, "no other subject fits .*: no other was given"),
        ("resid", {"noise": SwapSubject(("Eiffel Tower", "A b c d e"))}, r"\]?: 'A b c d e' has \d+\. Give"),
        ("resid", {"noise": SwapSubject("Space Needle"), "corrupt": [(0, 1)]}, "replaces the subject and nothing else"),
        ("resid", {"clean_cache": {}}, "the clean activations lack blocks.0.hook_resid_post"),
        ("resid", {"clean_cache": {}, "direction": "noise"}, "only where clean states are restored"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_what_does_not_fit_is_refused(gpt2: Any, kind: str, options: dict[str, Any], message: str) -> None:
    with assert_untouched(gpt2), pytest.raises(TraceError, match=message):
        trace(gpt2, FACT, kind, samples=2, **options)


@pytest.mark.parametrize("architecture", ["gptj", "neox"])
def test_parallel_blocks_have_no_residual_in_the_middle(shared_model: Any, gpt2_case: Case, architecture: str) -> None:
    model = shared_model(Case(architecture, gpt2_case.surface))
    with pytest.raises(TraceError, match="no residual between them"):
        trace(model, FACT, "resid_mid")


def test_subjects_and_statistics_that_cannot_be_are_refused(gpt2: Any) -> None:
    for others in ((), "", ("Rome", " ")):
        with pytest.raises(TraceError, match="SwapSubject needs other subjects"):
            SwapSubject(others)
    with pytest.raises(TraceError, match="need at least two"):
        EmbeddingStatistics.collect(gpt2, [""])
    statistics = EmbeddingStatistics.collect(gpt2, ["The Eiffel Tower"])
    with pytest.raises(TraceError, match="only above 2 degrees of freedom, got 2"):
        StudentNoise(statistics, 2)
    with pytest.raises(TraceError, match="noise must be a finite number"):
        GaussianNoise(sigmas=float("nan"))


def test_no_kinds_are_refused(gpt2: Any) -> None:
    with pytest.raises(TraceError, match="no kinds to trace"):
        trace_kinds(gpt2, FACT, ())


@pytest.mark.parametrize("kind", ["resid", "mlp", "head", "resid_mid"])
def test_a_cache_of_the_clean_run_is_as_good_as_our_own(gpt2: Any, kind: str) -> None:
    options: dict[str, Any] = {"noise": 0.7, "samples": 2, "head": 1 if kind == "head" else None}
    plain = trace(gpt2, FACT, kind, **options)
    with torch.no_grad():
        _, cache = gpt2.run_with_cache(torch.tensor([plain.tokens]))
    for given in (cache, cache.remove_batch_dim() if kind != "head" else cache):
        found = trace(gpt2, FACT, kind, clean_cache=given, **options)
        torch.testing.assert_close(found.sample_scores, plain.sample_scores, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["resid", "head"])
def test_a_cache_of_another_text_of_the_same_length_is_refused(gpt2: Any, kind: str) -> None:
    options: dict[str, Any] = {"noise": 0.7, "samples": 2, "head": 1 if kind == "head" else None}
    tokens = list(trace(gpt2, FACT, kind, **options).tokens)
    tokens[1] = 7 if tokens[1] != 7 else 8
    with torch.no_grad():
        _, cache = gpt2.run_with_cache(torch.tensor([tokens]))
    with pytest.raises(TraceError, match=r"not of this very prompt and model: .* differs from the clean run by"):
        trace(gpt2, FACT, kind, clean_cache=cache, **options)


def test_a_cache_of_another_prompt_is_refused(gpt2: Any) -> None:
    with torch.no_grad():
        _, short = gpt2.run_with_cache(torch.tensor([[0, 5]]))
        _, many = gpt2.run_with_cache(torch.tensor([[0, 5, 6, 7, 8]] * 2))
    for cache in (short, many):
        with pytest.raises(TraceError, match="of this very prompt"):
            trace(gpt2, FACT, "mlp", clean_cache=cache)


def test_restoring_hooks_go_into_run_with_hooks(gpt2: Any, gpt2_case: Case) -> None:
    """The public parts put together by hand give the cells of `trace`."""
    result = trace(gpt2, FACT, "attn", noise=0.7, samples=2, window=2)
    with torch.no_grad():
        _, cache = gpt2.run_with_cache(torch.tensor([result.tokens]))
        corrupt = CorruptSubject(draw_noise(0.7, 2, result.subject_span, 32, 1), range(*result.subject_span))
        cells = [(2, (0, 2)), ((3,), (1, 3)), (4, (2, 4))]
        hooks = [("hook_embed", corrupt), *restore_hooks(gpt2, "attn", cache, cells, samples=2)]
        logits = gpt2.run_with_hooks(torch.tensor([result.tokens] * 6), fwd_hooks=hooks)[:, -1]
    found = logits.softmax(-1)[:, result.answer_tokens[0]].view(3, 2)
    expected = torch.stack([result.sample_scores[1, 2], result.sample_scores[2, 3], result.sample_scores[3, 4]])
    torch.testing.assert_close(found, expected, rtol=0, atol=gpt2_case.tolerance)
    with pytest.raises(TraceError, match="unknown kind 'x'"):
        restore_hooks(gpt2, "x", cache, cells, samples=2)
    with pytest.raises(SurfaceError, match="layer 6 does not exist"):
        restore_hooks(gpt2, "attn", cache, [(1, (6, 8))], samples=2)
    with pytest.raises(TraceError, match="position 99 does not exist"):
        restore_hooks(gpt2, "attn", cache, [(99, (0, 1))], samples=2)
    with pytest.raises(TraceError, match=r"the layers \(2, 2\) of a cell are none"):
        restore_hooks(gpt2, "attn", cache, [(1, (2, 2))], samples=2)


def test_restoring_hooks_count_from_the_end_as_lists_do(gpt2: Any) -> None:
    result = trace(gpt2, FACT, "mlp", noise=0.7, samples=2, layers=[1])
    with torch.no_grad():
        _, cache = gpt2.run_with_cache(torch.tensor([result.tokens]))
        corrupt = CorruptSubject(draw_noise(0.7, 2, result.subject_span, 32, 1), range(*result.subject_span))
        hooks = [("hook_embed", corrupt), *restore_hooks(gpt2, "mlp", cache, [(-1, (1, 2))], samples=2)]
        logits = gpt2.run_with_hooks(torch.tensor([result.tokens] * 2), fwd_hooks=hooks)[:, -1]
    found = logits.softmax(-1)[:, result.answer_tokens[0]]
    torch.testing.assert_close(found, result.sample_scores[1, -1], rtol=0, atol=1e-12)
