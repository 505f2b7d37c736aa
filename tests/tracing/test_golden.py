"""Values of the released ROME code on a tiny random GPT-2 (see `tests/data/golden/README.md`)."""

import json
from typing import Any

import numpy as np
import pytest

from lens_rome.facts import Fact
from lens_rome.surface import as_surface, load_model
from lens_rome.tracing import GaussianNoise, TraceResult, UniformNoise, subject_deviation, trace
from tests.helpers import GOLDEN, SURFACES, skip_without_hooked

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")

SETTINGS = json.loads((GOLDEN / "golden.json").read_text(encoding="utf-8"))
TRACES = [entry for entry in SETTINGS["trace"] if entry["rule"] == "gaussian"]
OTHERS = [entry for entry in SETTINGS["trace"] if entry["rule"] != "gaussian"]
# float32 on both sides; the largest difference observed is 1.6e-7
TOLERANCE = 1e-6


@pytest.fixture(scope="module", params=SURFACES)
def golden_model(request: pytest.FixtureRequest) -> Any:
    skip_without_hooked(request.param)
    return load_model(GOLDEN / "model", request.param)


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "golden.npz", allow_pickle=False) as file:
        return dict(file)


def test_there_are_golden_traces_of_every_kind() -> None:
    assert {entry["kind"] for entry in TRACES} == {"resid", "mlp", "attn"} and len(TRACES) == 36


# The first prompt begins with its subject, the second has its subject late: enough where time is short.
PROMPTS = [0, 1, *(pytest.param(prompt, marks=pytest.mark.slow) for prompt in (2, 3))]


@pytest.mark.parametrize("original", [False, True])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_trace_equals_the_released_codes(
    golden_model: Any, arrays: dict[str, np.ndarray], prompt: int, original: bool
) -> None:
    entries = [entry for entry in TRACES if entry["name"].startswith(f"trace{prompt}.")]
    assert len(entries) == 9
    for entry in entries:
        result = traced(golden_model, entry, original=original)
        assert_equals_released(result, entry, arrays[f"{entry['name']}.scores"])


@pytest.mark.parametrize("prompt", PROMPTS)
def test_uniform_and_replacing_noise_equal_the_released_codes(
    golden_model: Any, arrays: dict[str, np.ndarray], prompt: int
) -> None:
    entries = [entry for entry in OTHERS if entry["name"].startswith(f"trace{prompt}.")]
    assert [entry["rule"].split()[0] for entry in entries] == ["uniform", "replace"]
    for entry in entries:
        result = traced(golden_model, entry, original=True)
        assert_equals_released(result, entry, arrays[f"{entry['name']}.scores"])


@pytest.mark.parametrize("prompt", PROMPTS)
def test_replacing_noise_has_its_own_baseline_unless_the_released_code_is_followed(
    golden_model: Any, arrays: dict[str, np.ndarray], prompt: int
) -> None:
    name = f"trace{prompt}.replace"
    (entry,) = (entry for entry in OTHERS if entry["name"] == name)
    result = traced(golden_model, entry, original=False)
    np.testing.assert_allclose(result.scores.T.numpy(), arrays[f"{name}.scores"], rtol=0, atol=TOLERANCE)
    assert abs(result.corrupted_score - entry["low_score"]) > 1e-4
    # A state before the subject is the clean one in every run, so putting it in shows the baseline.
    before = result.scores[:, : result.subject_span[0]]
    assert (before - result.corrupted_score).abs().max() < TOLERANCE if before.numel() else prompt in (0, 2)


@pytest.mark.parametrize("entry", SETTINGS["severed"], ids=lambda entry: entry["name"])
def test_severed_paths_equal_the_released_codes_two_draws_and_by_default_have_one(
    golden_model: Any, arrays: dict[str, np.ndarray], entry: dict[str, Any]
) -> None:
    released = arrays[entry["name"]]
    as_released, by_default = (severed(golden_model, entry, original=original) for original in (True, False))
    np.testing.assert_allclose(as_released, released, rtol=0, atol=TOLERANCE)
    assert np.abs(by_default - released).max() > 1e-4


def fact_of(entry: dict[str, Any]) -> Fact:
    return Fact(entry["subject"], entry["prompt"].replace(entry["subject"], "{}", 1), "x")


def traced(model: Any, entry: dict[str, Any], *, original: bool) -> TraceResult:
    level, window = entry["noise"], entry["window"]
    if original and entry["rule"] == "gaussian":
        window = int(entry["name"].rpartition("w")[2])  # also for residuals, where it has no effect
    rules = {"gaussian": level, "uniform": UniformNoise(level), "replace": GaussianNoise(level, replace=True)}
    return trace(
        model,
        fact_of(entry),
        entry["kind"],
        noise=rules[entry["rule"].split()[0]],
        samples=entry["samples"],
        window=window,
        original=original,
        prepend_bos=None if original else False,
    )


def severed(model: Any, entry: dict[str, Any], *, original: bool) -> np.ndarray:
    """Scores by layer at the subject's last token."""
    result = trace(
        model,
        fact_of(entry),
        noise=entry["noise"],
        samples=entry["samples"],
        severed=entry["name"].partition(".")[2],
        positions="subject_last",
        original=original,
        prepend_bos=False,
    )
    assert result.subject_span[1] - 1 == entry["position"]
    return result.scores[:, entry["position"]].numpy()


def assert_equals_released(result: TraceResult, entry: dict[str, Any], scores: np.ndarray) -> None:
    assert list(result.tokens) == entry["input_ids"] and list(result.subject_span) == entry["subject_range"]
    assert result.answer == entry["answer"].strip() and result.settings.window == entry["window"]
    assert abs(result.clean_score - entry["high_score"]) < TOLERANCE
    assert abs(result.corrupted_score - entry["low_score"]) < TOLERANCE
    np.testing.assert_allclose(result.scores.T.numpy(), scores, rtol=0, atol=TOLERANCE)


def test_the_deviation_of_subject_tokens_equals_the_released_codes(golden_model: Any) -> None:
    subjects = list(dict.fromkeys(entry["subject"] for entry in TRACES))
    found = subject_deviation(as_surface(golden_model), subjects)
    assert abs(found - SETTINGS["sigma_subject_tokens"]) < 1e-6
