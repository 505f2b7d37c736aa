"""Every variant of a trace equals its definition, computed by full forwards one cell at a time."""

from typing import Any

import numpy as np
import pytest
import torch

from lens_rome.facts import Fact, tokenize_prompt
from lens_rome.surface import as_surface
from lens_rome.tracing import (
    CorruptSubject,
    EmbeddingStatistics,
    GaussianNoise,
    MeanEmbeddings,
    MultivariateNoise,
    StudentNoise,
    SwapSubject,
    TraceResult,
    UniformNoise,
    ZeroEmbeddings,
    trace,
    trace_kinds,
)
from tests.helpers import Case
from tests.oracles.variants import variant_by_loop

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")

FACT = Fact("Eiffel Tower", "The {} is", "E")
LEVEL, SAMPLES = 0.7, 2

EVERYWHERE: dict[str, tuple[str, dict[str, Any]]] = {
    "noising": ("mlp", {"direction": "noise", "window": 2}),
    "zeroing": ("mlp", {"direction": "zero", "window": 3, "positions": "subject", "together": True}),
    "residual before": ("resid_pre", {"window": 2}),
    "neurons": ("post", {"window": 2}),
    "a head": ("head", {"head": 1}),
    "MLP severed": ("resid", {"severed": "mlp"}),
    "attention severed": ("resid", {"severed": "attn"}),
    "logit difference": ("attn", {"metric": "logit_diff", "against": "French", "window": 2}),
}
"""On every architecture and surface."""

ONCE: dict[str, tuple[str, dict[str, Any]]] = {
    "noising residuals": ("resid", {"direction": "noise"}),
    "noising a head": ("head", {"direction": "noise", "head": 3, "window": 2}),
    "noising attention": ("attn", {"direction": "noise", "window": 2}),
    "zeroing residuals": ("resid", {"direction": "zero"}),
    "zeroing attention before the subject": ("attn", {"direction": "zero", "positions": [0, 1]}),
    "residual in the middle": ("resid_mid", {"window": 2}),
    "noising the residual in the middle": ("resid_mid", {"direction": "noise"}),
    "two positions together": ("mlp", {"positions": [2, 4], "together": True, "window": 2}),
    "three residuals together": ("resid", {"positions": "subject", "together": True, "window": 2}),
    "neurons at the last token": ("post", {"positions": "last", "window": 3}),
    "log-probability": ("mlp", {"metric": "logprob"}),
    "probability a token": ("resid", {"metric": "prob_per_token", "answer": "French city"}),
    "log-probability a token": ("resid", {"metric": "logprob_per_token", "answer": "French city"}),
    "logit of several tokens": ("mlp", {"metric": "logit", "answer": "French city"}),
    "divergence": ("resid", {"metric": "kl"}),
    "severed in a window": ("resid", {"severed": "mlp", "window": 2}),
    "severed from the middle": ("resid_mid", {"severed": "mlp"}),
    "attention severed from the middle": ("resid_mid", {"severed": "attn", "window": 2}),
    "severed before": ("resid_pre", {"severed": "attn"}),
    "severed at once": ("resid", {"severed": "mlp", "positions": "subject", "together": True}),
    "uniform noise": ("mlp", {"noise": UniformNoise(LEVEL)}),
    "noise in place": ("mlp", {"noise": GaussianNoise(LEVEL, replace=True)}),
    "zero embeddings": ("resid", {"noise": ZeroEmbeddings()}),
    "mean embeddings": ("attn", {"noise": MeanEmbeddings()}),
    "two spans": ("mlp", {"corrupt": [(0, 2), (4, 5)], "window": 2}),
}


def assert_equals_the_definition(model: Any, result: TraceResult, tolerance: float, values: torch.Tensor) -> None:
    """All of a result against the oracle; `values` are what the corruption put (or added) into the embeddings."""
    settings = result.settings
    spans = result.corrupted_spans or (result.subject_span,)
    corrupted = [position for first, last in spans for position in range(first, last)]
    added = settings.noise.startswith(("0.7", "uniform", "multi", "Student")) and "place" not in settings.noise

    def embed(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
        activation = activation.clone()
        old = activation[:, corrupted].double() if added else 0
        activation[:, corrupted] = (old + values).to(activation.dtype)
        return activation

    traced = [position for position in range(len(result.tokens)) if not result.scores[0, position].isnan()]
    groups = [traced] if settings.together else [[position] for position in traced]
    surface = as_surface(model)
    other = int(surface.encode(" French", False).ids[0]) if settings.against else 0
    clean, corrupted_scores, found = variant_by_loop(
        model,
        result.tokens,
        settings.kind,
        settings.window,
        None if settings.direction == "zero" else ("hook_embed", embed),
        settings.samples,
        result.answer_tokens,
        positions=groups,
        direction=settings.direction,
        metric=settings.metric,
        other=other,
        severed=settings.severed or None,
        head=settings.head,
    )
    assert abs(result.clean_score - clean) < tolerance
    torch.testing.assert_close(result.corrupted_samples, corrupted_scores, rtol=0, atol=tolerance)
    for (layer, where), scores in found.items():
        for position in where:
            torch.testing.assert_close(result.sample_scores[layer, position], scores, rtol=0, atol=tolerance)
    # Teeth: some cell differs from the run that states are put into by far more than the tolerance.
    moved = torch.nan_to_num(result.scores - result.baseline).abs().max()
    assert moved > 1e4 * tolerance or tolerance > 1e-8


def drawn(model: Any, result: TraceResult, corruption: Any) -> torch.Tensor:
    """What the settings of a result put into the embeddings."""
    surface = as_surface(model)
    spans = result.corrupted_spans or (result.subject_span,)
    count = sum(last - first for first, last in spans)
    generator = np.random.RandomState(1)
    match corruption:
        case ZeroEmbeddings():
            return torch.zeros(1, count, surface.d_model, dtype=torch.float64)
        case MeanEmbeddings():
            return model.W_E.detach().double().mean(0).expand(1, count, -1)
        case UniformNoise():
            return LEVEL * torch.from_numpy(generator.uniform(-1, 1, (SAMPLES, count, surface.d_model)))
    return LEVEL * torch.from_numpy(generator.randn(SAMPLES, count, surface.d_model))


def run_variant(model: Any, kind: str, options: dict[str, Any]) -> TraceResult:
    return trace(model, FACT, kind, **{"noise": LEVEL, "samples": SAMPLES, **options})


@pytest.mark.parametrize("name", EVERYWHERE)
def test_a_variant_equals_its_definition_on_every_model(raw_model: Any, raw_case: Case, name: str) -> None:
    kind, options = EVERYWHERE[name]
    result = run_variant(raw_model, kind, options)
    # Logits are about ten times as large as the probabilities that the tolerance is meant for.
    loose = raw_case.tolerance * (30 if "logit" in result.settings.metric else 1)
    assert_equals_the_definition(raw_model, result, loose, drawn(raw_model, result, options.get("noise")))


@pytest.mark.parametrize("name", ONCE)
def test_a_variant_equals_its_definition(gpt2: Any, gpt2_case: Case, name: str) -> None:
    kind, options = ONCE[name]
    result = run_variant(gpt2, kind, options)
    loose = gpt2_case.tolerance * 100 if result.settings.metric != "prob" else gpt2_case.tolerance
    assert_equals_the_definition(gpt2, result, loose, drawn(gpt2, result, options.get("noise")))


@pytest.mark.parametrize("rule", ["multivariate", "student", "swap"])
def test_corruptions_from_a_corpus_or_a_world_equal_their_definition(gpt2: Any, gpt2_case: Case, rule: str) -> None:
    statistics = EmbeddingStatistics.collect(gpt2, ["The Eiffel Tower is in Paris.", "Rome is a city", "French piano"])
    corruption = {
        "multivariate": MultivariateNoise(statistics),
        "student": StudentNoise(statistics, 4),
        "swap": SwapSubject(("Space Needle", "Steve Jobs", "Catalonia", "Rome")),
    }[rule]
    fact = FACT if rule != "swap" else Fact("Steve Jobs", "{} was the", "E")
    surface = as_surface(gpt2)
    prompt = tokenize_prompt(surface, fact)
    count = prompt.subject_span[1] - prompt.subject_span[0]
    if rule == "swap":
        fitting = [
            other
            for other in ("Danielle", "Catalonia", "Eiffel", "Rome is", "French city", "piano")
            if other != fact.subject
            and tokenize_prompt(surface, Fact(other, fact.template, "E")).subject_span == prompt.subject_span
        ]
        assert fitting, "some other subject must fit for this test to mean anything"
        corruption = SwapSubject(tuple(fitting[:1]))
        swapped = tokenize_prompt(surface, Fact(fitting[0], fact.template, "E"))
        values = gpt2.W_E[torch.tensor(swapped.tokens)[slice(*prompt.subject_span)]].detach().double()[None]
    else:
        normal = torch.from_numpy(np.random.RandomState(1).randn(SAMPLES, count, surface.d_model))
        basis, sizes, _ = torch.linalg.svd(statistics.covariance)
        values = statistics.mean + normal @ torch.diag(sizes.sqrt()) @ basis.T
        if rule == "student":
            chi = np.random.RandomState(2).chisquare(4, (SAMPLES, count))
            values = torch.from_numpy(np.sqrt(2 / chi))[..., None] * values
    result = trace(gpt2, fact, "resid", noise=corruption, samples=SAMPLES)
    assert_equals_the_definition(gpt2, result, gpt2_case.tolerance, values)


def test_swapping_the_subject_gives_the_run_of_the_other_prompt(gpt2: Any) -> None:
    """The corrupted run is the model on an ordinary text, so its score is that text's."""
    surface = as_surface(gpt2)
    fact = Fact("Steve Jobs", "{} was the", "E")
    span = tokenize_prompt(surface, fact).subject_span
    others = ["Danielle", "Catalonia", "Eiffel", "Rome is", "French city", "piano", "mother"]
    other = next(o for o in others if tokenize_prompt(surface, Fact(o, fact.template, "E")).subject_span == span)
    result = trace(gpt2, fact, noise=SwapSubject(other))
    tokens = torch.tensor([tokenize_prompt(surface, Fact(other, fact.template, "E")).tokens])
    with torch.no_grad():
        expected = gpt2(tokens)[0, -1].softmax(-1)[result.answer_tokens[0]]
    assert result.settings.samples == 1 and abs(result.corrupted_score - float(expected)) < 1e-12


def test_the_covariance_of_embeddings_is_that_of_the_corpus(gpt2: Any) -> None:
    texts = ["The Eiffel Tower is in Paris.", "Rome is a city. Rome"]
    statistics = EmbeddingStatistics.collect(gpt2, texts)
    ids = [token for text in texts for token in gpt2.tokenizer(text, add_special_tokens=False)["input_ids"]]
    embeddings = gpt2.W_E[torch.tensor(ids)].detach().double()
    assert statistics.count == len(ids)
    torch.testing.assert_close(statistics.mean, embeddings.mean(0))
    torch.testing.assert_close(statistics.covariance, embeddings.T.cov())


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_moving_the_whole_subject_at_the_bottom_moves_the_whole_run(gpt2: Any, direction: str) -> None:
    """All that differs between the runs enters at the subject, so moving it gives the other run exactly."""
    result = run_variant(
        gpt2, "resid_pre", {"direction": direction, "positions": "subject", "together": True, "layers": 0}
    )
    first = result.subject_span[0]
    other = (
        torch.full((SAMPLES,), result.clean_score, dtype=torch.float64)
        if direction == "denoise"
        else result.corrupted_samples
    )
    torch.testing.assert_close(result.sample_scores[0, first], other, rtol=0, atol=1e-12)


def test_severing_a_path_that_carries_nothing_changes_nothing(gpt2: Any) -> None:
    """Restored after the last block, a state has no path left to sever; and at the last token in the last layer both
    give the clean run.
    """
    plain = run_variant(gpt2, "resid", {"layers": 3})
    severed = run_variant(gpt2, "resid", {"layers": 3, "severed": "mlp"})
    torch.testing.assert_close(severed.sample_scores, plain.sample_scores, rtol=0, atol=1e-12, equal_nan=True)
    torch.testing.assert_close(
        severed.sample_scores[3, -1],
        torch.full((SAMPLES,), severed.clean_score, dtype=torch.float64),
        rtol=0,
        atol=1e-12,
    )


def test_kinds_together_equal_each_alone(raw_model: Any, raw_case: Case) -> None:
    kinds = ("resid", "mlp", "attn", "post")
    together = trace_kinds(raw_model, FACT, kinds, noise=LEVEL, samples=SAMPLES, window=2)
    assert tuple(together) == kinds
    for kind in kinds:
        window = 2 if kind in ("mlp", "attn") else None
        alone = trace(raw_model, FACT, kind, noise=LEVEL, samples=SAMPLES, window=window)
        torch.testing.assert_close(together[kind].sample_scores, alone.sample_scores, rtol=0, atol=raw_case.tolerance)
        assert together[kind].settings == alone.settings


def test_a_corruption_hook_goes_straight_into_run_with_hooks(gpt2: Any) -> None:
    result = trace(gpt2, FACT, noise=LEVEL, samples=SAMPLES, positions=[])
    values = drawn(gpt2, result, None)
    hook = CorruptSubject(values, range(*result.subject_span))
    with torch.no_grad():
        logits = gpt2.run_with_hooks(torch.tensor([result.tokens] * SAMPLES), fwd_hooks=[("hook_embed", hook)])
    probs = logits[:, -1].softmax(-1)[:, result.answer_tokens[0]]
    torch.testing.assert_close(probs, result.corrupted_samples, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", ["resid", "mlp"])
def test_half_precision_gives_the_same_picture(
    gpt2_case: Case, fresh_model: Any, dtype: torch.dtype, kind: str
) -> None:
    half = fresh_model(Case("gpt2", gpt2_case.surface, dtype=dtype))
    single = fresh_model(Case("gpt2", gpt2_case.surface, dtype=torch.float32))
    options: dict[str, Any] = {"noise": LEVEL, "samples": SAMPLES, "window": 2, "answer": "French"}
    found, expected = trace(half, FACT, kind, **options), trace(single, FACT, kind, **options)
    assert found.settings.precision == str(dtype)
    # bfloat16 keeps three digits; probabilities here are up to a few percent.
    scale = float(expected.scores.max())
    assert float((found.scores - expected.scores).abs().max()) < 0.2 * scale
    assert np.corrcoef(found.scores.flatten(), expected.scores.flatten())[0, 1] > 0.9
