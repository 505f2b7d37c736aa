"""Values of the released ROME code on a tiny random GPT-2 (see `tests/data/golden/README.md`)."""

import json
from typing import Any

import numpy as np
import pytest

from lens_rome.facts import Fact
from lens_rome.surface import as_surface, load_model
from lens_rome.tracing import subject_deviation, trace
from tests.helpers import GOLDEN, SURFACES, skip_without_hooked

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")

SETTINGS = json.loads((GOLDEN / "golden.json").read_text(encoding="utf-8"))
TRACES = [entry for entry in SETTINGS["trace"] if entry["rule"] == "gaussian"]


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
@pytest.mark.parametrize("prompt", [0, 1, *(pytest.param(prompt, marks=pytest.mark.slow) for prompt in (2, 3))])
def test_a_trace_equals_the_released_codes(golden_model: Any, arrays: dict[str, np.ndarray], prompt: int) -> None:
    entries = [entry for entry in TRACES if entry["name"].startswith(f"trace{prompt}.")]
    assert len(entries) == 9
    for entry in entries:
        assert_equals_released(golden_model, entry, arrays[f"{entry['name']}.scores"])


def assert_equals_released(model: Any, entry: dict[str, Any], scores: np.ndarray) -> None:
    fact = Fact(entry["subject"], entry["prompt"].replace(entry["subject"], "{}", 1), "x")
    result = trace(
        model,
        fact,
        entry["kind"],
        noise=entry["noise"],
        samples=entry["samples"],
        window=entry["window"],
        prepend_bos=False,
    )
    assert list(result.tokens) == entry["input_ids"] and list(result.subject_span) == entry["subject_range"]
    assert result.answer == entry["answer"].strip()
    # float32 on both sides; observed 2e-8
    assert abs(result.clean_score - entry["high_score"]) < 1e-6
    assert abs(result.corrupted_score - entry["low_score"]) < 1e-6
    np.testing.assert_allclose(result.scores.T.numpy(), scores, rtol=0, atol=1e-6)


def test_the_deviation_of_subject_tokens_equals_the_released_codes(golden_model: Any) -> None:
    subjects = list(dict.fromkeys(entry["subject"] for entry in TRACES))
    found = subject_deviation(as_surface(golden_model), subjects)
    assert abs(found - SETTINGS["sigma_subject_tokens"]) < 1e-6
