"""The corruption of a subject."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from lens_rome.errors import TraceError
from lens_rome.surface import as_surface
from lens_rome.tracing import (
    CorruptSubject,
    EmbeddingStatistics,
    GaussianNoise,
    MeanEmbeddings,
    MultivariateNoise,
    StudentNoise,
    SwapSubject,
    UniformNoise,
    ZeroEmbeddings,
    draw_noise,
    parse_corruption,
    subject_deviation,
    trace,
)
from tests.helpers import FACTS, Case

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")


@pytest.mark.parametrize("seed", [1, 7])
def test_noise_is_numpys_legacy_stream_times_the_level(seed: int) -> None:
    noise = draw_noise(0.5, 4, (2, 5), 8, seed)
    assert noise.dtype == torch.float64
    np.testing.assert_array_equal(noise.numpy(), 0.5 * np.random.RandomState(seed).randn(4, 3, 8))


def test_fewer_samples_are_the_first_of_more() -> None:
    assert torch.equal(draw_noise(1.0, 5, (0, 2), 8, 1), draw_noise(1.0, 10, (0, 2), 8, 1)[:5])


def test_noise_depends_on_the_number_of_subject_tokens_and_not_on_where_they_are() -> None:
    assert torch.equal(draw_noise(1.0, 5, (0, 2), 8, 1), draw_noise(1.0, 5, (6, 8), 8, 1))


def test_drawing_noise_leaves_numpys_global_generator_alone() -> None:
    before = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    draw_noise(1.0, 5, (0, 2), 8, 1)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # type: ignore[index]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_corruption_adds_to_the_subject_in_float64_and_rounds_once(dtype: torch.dtype, rng: torch.Generator) -> None:
    noise = draw_noise(0.5, 2, (1, 3), 8, 1)
    embedding = torch.randn((4, 5, 8), generator=rng, dtype=dtype)
    before = embedding.clone()
    found = CorruptSubject(noise, (1, 2))(embedding, None)
    expected = before.numpy().astype(np.float64)
    expected[:, 1:3] += np.concatenate([noise.numpy(), noise.numpy()])
    np.testing.assert_array_equal(found.numpy(), expected.astype(before.numpy().dtype))
    assert torch.equal(embedding, before), "the owner's tensor must stay as it was"


def test_every_cell_sees_the_same_noise_whatever_else_is_asked(gpt2: Any) -> None:
    fact = FACTS["subject first"]
    ten, five = (trace(gpt2, fact, noise=0.7, samples=samples) for samples in (10, 5))
    # Batches of other sizes round differently in the last bit.
    torch.testing.assert_close(ten.corrupted_samples[:5], five.corrupted_samples, rtol=0, atol=1e-12)
    torch.testing.assert_close(ten.sample_scores[..., :5], five.sample_scores, rtol=0, atol=1e-12)
    mlp = trace(gpt2, fact, "mlp", noise=0.7, samples=10)
    torch.testing.assert_close(mlp.corrupted_samples, ten.corrupted_samples, rtol=0, atol=1e-12)


def test_another_seed_gives_other_noise_and_the_same_seed_the_same_trace(gpt2: Any) -> None:
    fact = FACTS["subject first"]
    first, again, other = (trace(gpt2, fact, noise=0.7, samples=3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.sample_scores, again.sample_scores)
    assert not torch.allclose(first.corrupted_samples, other.corrupted_samples, atol=1e-6)
    assert (first.settings.seed, other.settings.seed) == (1, 2)


def test_the_corrupted_probability_is_the_mean_of_softmaxes_not_the_softmax_of_means(gpt2: Any) -> None:
    result = trace(gpt2, FACTS["subject first"], noise=2.0, samples=10)
    noise = 2.0 * torch.from_numpy(np.random.RandomState(1).randn(10, 2, 32))
    corrupt = CorruptSubject(noise, range(*result.subject_span))
    with torch.no_grad():
        logits = gpt2.run_with_hooks(torch.tensor([result.tokens] * 10), fwd_hooks=[("hook_embed", corrupt)])[:, -1]
    answer = result.answer_tokens[0]
    assert abs(result.corrupted_score - float(logits.softmax(-1).mean(0)[answer])) < 1e-12
    assert abs(result.corrupted_score - float(logits.mean(0).softmax(-1)[answer])) > 1e-3


def test_sigmas_are_multiples_of_the_deviation_of_the_subjects_own_tokens(
    gpt2_case: Case, shared_model: Callable[[Case], Any]
) -> None:
    for architecture in ("gpt2", "llama"):
        model = shared_model(Case(architecture, gpt2_case.surface))
        surface = as_surface(model)
        subjects = ["Steve Jobs", "Catalonia", "Steve Jobs"]
        ids = [
            token for subject in subjects for token in surface.tokenizer(subject, add_special_tokens=False).input_ids
        ]
        expected = float(model.W_E[ids].detach().double().std())
        assert abs(subject_deviation(surface, subjects) - expected) < 1e-9
        alone = float(
            model.W_E[surface.tokenizer("Steve Jobs", add_special_tokens=False).input_ids].detach().double().std()
        )
        result = trace(model, FACTS["subject first"], samples=1, positions=[], noise="2σ")
        assert abs(result.settings.noise_level - 2 * alone) < 1e-9 and result.settings.noise == "2σ"


def test_the_default_noise_is_three_sigmas(gpt2: Any) -> None:
    settings = trace(gpt2, FACTS["subject first"], positions=[]).settings
    assert settings.noise == "3σ" and settings.samples == 10 and settings.seed == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0.5, GaussianNoise(level=0.5)),
        ("3σ", GaussianNoise(sigmas=3.0)),
        ("2.5 s", GaussianNoise(sigmas=2.5)),
        (" s3 ", GaussianNoise(sigmas=3.0)),
        ("σ3", GaussianNoise(sigmas=3.0)),
        (GaussianNoise(level=0.2), GaussianNoise(level=0.2)),
        ("u0.3", UniformNoise(level=0.3)),
        ("u3σ", UniformNoise(sigmas=3.0)),
        ("us3", UniformNoise(sigmas=3.0)),
        ("zero", ZeroEmbeddings()),
        ("mean", MeanEmbeddings()),
    ],
)
def test_noise_can_be_written_in_several_ways(given: Any, expected: Any) -> None:
    assert parse_corruption(given) == expected


@pytest.mark.parametrize("bad", ["much", "3", "", "3.3.3s", "u", "u-3", "-1s", "nanσ", "t5"])
def test_noise_that_is_not_understood_is_refused(bad: str) -> None:
    with pytest.raises(TraceError, match=f"noise {bad!r} is not understood; give a number"):
        parse_corruption(bad)


@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf")])
def test_a_level_that_is_no_level_is_refused(bad: float) -> None:
    with pytest.raises(TraceError, match="noise must be a finite number from 0 up"):
        parse_corruption(bad)


def test_a_deviation_of_no_subjects_is_refused(gpt2: Any) -> None:
    with pytest.raises(TraceError, match="no subjects to take the embeddings' deviation from"):
        subject_deviation(as_surface(gpt2), [])


def test_corruptions_that_differ_are_called_differently(gpt2: Any) -> None:
    """Run folders and averages tell them apart by their names."""
    statistics = [EmbeddingStatistics.collect(gpt2, [text]) for text in ("The Eiffel Tower", "The tower Eiffel")]
    made = [
        SwapSubject("Rome"),
        SwapSubject(("Rome", "Paris")),
        SwapSubject(("Rome", "London")),
        *(MultivariateNoise(each, replace=way) for each in statistics for way in (False, True)),
        *(StudentNoise(each, replace=way) for each in statistics for way in (False, True)),
    ]
    names = [str(each) for each in made]
    assert len(set(names)) == len(names)
    assert re.fullmatch(r"subject swapped for 2 others \(sha [0-9a-f]{8}\)", names[1])
    assert names[4].endswith(f"(sha {statistics[0].digest[:8]}) in place of the embeddings")
