"""What a trace result tells, saves and reloads."""

import json
import warnings
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lens_rome.errors import FileFormatError
from lens_rome.tracing import TraceResult, TraceSettings, WeakTraceWarning, trace
from tests.helpers import FACTS, N_LAYERS


def made_up(**changes: Any) -> TraceResult:
    """Two layers, three positions, two samples; the subject is the token in the middle."""
    settings = TraceSettings("mlp", 2, "3σ", 0.4, 2, 1, True, "tiny", "bridge", False, "torch.float64")
    samples = torch.tensor([[[0.2, 0.2], [0.5, 0.7], [0.2, 0.4]], [[0.2, 0.2], [0.3, 0.3], [0.8, 1.0]]])
    result = TraceResult(
        sample_scores=samples.double(),
        corrupted_samples=torch.tensor([0.1, 0.3], dtype=torch.float64),
        clean_score=0.9,
        prompt="Paris is",
        subject="Paris",
        tokens=(0, 5, 6),
        token_strings=("<s>", "Paris", " is"),
        subject_span=(1, 2),
        answer="big",
        answer_tokens=(9,),
        target="big",
        settings=settings,
    )
    return replace(result, **changes)


@pytest.fixture
def result() -> TraceResult:
    return made_up()


def test_effects_are_differences_of_mean_probabilities(result: TraceResult) -> None:
    expected = torch.tensor([[0.2, 0.6, 0.3], [0.2, 0.3, 0.9]], dtype=torch.float64)
    torch.testing.assert_close(result.scores, expected, rtol=0, atol=1e-7)
    assert abs(result.corrupted_score - 0.2) < 1e-12 and abs(result.total_effect - 0.7) < 1e-12
    torch.testing.assert_close(result.indirect_effects, expected - 0.2, rtol=0, atol=1e-7)


def test_top_gives_the_cells_of_largest_indirect_effect_best_first(result: TraceResult) -> None:
    top = result.top(2)
    assert [cell[:2] for cell in top] == [(1, 2), (0, 1)]
    assert top[0][2] == pytest.approx(0.7) and top[1][2] == pytest.approx(0.4)
    assert len(result.top(99)) == 6


def test_top_leaves_out_cells_that_were_not_traced(result: TraceResult) -> None:
    scores = result.sample_scores.clone()
    scores[1, 2] = torch.nan
    assert next(cell[:2] for cell in replace(result, sample_scores=scores).top(9)) == (0, 1)
    assert len(replace(result, sample_scores=scores).top(9)) == 5


def test_the_data_frame_has_one_row_a_traced_cell(result: TraceResult) -> None:
    scores = result.sample_scores.clone()
    scores[0, 0] = torch.nan
    frame = replace(result, sample_scores=scores).to_dataframe()
    assert list(frame.columns) == ["layer", "pos", "token", "is_subject", "score", "indirect_effect", "std"]
    assert len(frame) == 5 and set(frame[frame.is_subject].token) == {"Paris"}
    row = frame[(frame.layer == 1) & (frame.pos == 2)].iloc[0]
    assert row.score == pytest.approx(0.9) and row["std"] == pytest.approx(0.1)
    assert row.indirect_effect == pytest.approx(0.7)


def test_the_repr_names_kind_window_noise_tokens_and_effects(result: TraceResult) -> None:
    text = repr(result)
    for part in ("mlp, window 2", "2 samples", "3σ = 0.4", "|<s>|Paris*| is|", "'big'", "clean 0.900, corrupted 0.200"):
        assert part in text
    assert "layer  1, ' is': indirect effect +0.700" in text


def test_the_answer_is_compared_with_the_facts_target(result: TraceResult) -> None:
    assert result.answer_is_target and not replace(result, target="small").answer_is_target


def test_a_result_survives_saving_and_loading(result: TraceResult, tmp_path: Path) -> None:
    noted = replace(result, notes=("runs were full length: hooks at x",))
    path = noted.save(tmp_path / "trace.safetensors")
    again = TraceResult.load(path)
    for field in fields(TraceResult):
        before, after = getattr(noted, field.name), getattr(again, field.name)
        assert before.equal(after) if isinstance(before, torch.Tensor) else before == after, field.name
    assert [file.name for file in tmp_path.iterdir()] == ["trace.safetensors"]


def test_cells_that_were_not_traced_survive_saving(gpt2: Any, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WeakTraceWarning)
        result = trace(gpt2, FACTS["subject first"], noise=0.7, samples=2, positions=["last"], answer="French city")
    again = TraceResult.load(result.save(tmp_path / "t.safetensors"))
    torch.testing.assert_close(again.sample_scores, result.sample_scores, rtol=0, atol=0, equal_nan=True)
    assert again.settings == result.settings and again.tokens == result.tokens and repr(again) == repr(result)


def test_a_description_is_json(result: TraceResult) -> None:
    described = json.loads(json.dumps(result.describe()))
    assert described["prompt"] == "Paris is" and described["settings"]["noise_level"] == 0.4


@pytest.mark.parametrize(
    "damage", ["missing", "empty", "truncated", "text", "other safetensors", "other kind", "incomplete"]
)
def test_a_file_that_is_no_trace_is_refused(result: TraceResult, tmp_path: Path, damage: str) -> None:
    path = result.save(tmp_path / "trace.safetensors")
    content = path.read_bytes()
    match damage:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            path.write_bytes(content[:-10])
        case "text":
            path.write_text("not a trace")
        case "other safetensors":
            save_file({"x": torch.zeros(2)}, path)
        case "other kind":
            path.write_bytes(content.replace(b'\\"kind\\": \\"trace\\"', b'\\"kind\\": \\"tracf\\"', 1))
        case "incomplete":
            path.write_bytes(content.replace(b'\\"prompt\\"', b'\\"promqt\\"', 1))
    with pytest.raises(FileFormatError):
        TraceResult.load(path)


def test_a_file_of_a_newer_format_says_to_update(result: TraceResult, tmp_path: Path) -> None:
    path = result.save(tmp_path / "trace.safetensors")
    path.write_bytes(path.read_bytes().replace(b'\\"format_version\\": 1', b'\\"format_version\\": 9', 1))
    with pytest.raises(FileFormatError, match=r"format version 9, this lens_rome reads up to 1\. Update lens_rome"):
        TraceResult.load(path)


def test_saving_into_a_folder_that_does_not_exist_says_to_create_it(result: TraceResult, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"does not exist\. Create it first"):
        result.save(tmp_path / "nowhere" / "trace.safetensors")


@pytest.mark.parametrize(
    ("clean", "corrupted", "weak"),
    [
        (0.9, [0.1, 0.3], False),
        (0.205, [0.2, 0.2], True),  # less than 0.01
        (0.3, [0.0, 0.4], True),  # less than twice the standard error of 0.2
        (0.1, [0.5, 0.5], True),  # noise helps
        (0.9, [0.1], False),  # one sample has no spread
    ],
)
def test_a_trace_is_weak_where_noise_hardly_changes_the_answer(
    clean: float, corrupted: list[float], weak: bool
) -> None:
    samples = torch.tensor(corrupted, dtype=torch.float64)
    scores = torch.zeros(2, 3, len(corrupted), dtype=torch.float64)
    result = made_up(clean_score=clean, corrupted_samples=samples, sample_scores=scores)
    assert result.is_weak == weak
    if weak:
        with pytest.warns(WeakTraceWarning, match="this trace shows nothing. Use more noise or samples, or a fact the"):
            assert result.warn_if_weak() is result
    else:
        assert result.warn_if_weak() is result


def test_a_trace_without_noise_warns_that_it_shows_nothing(gpt2: Any) -> None:
    with pytest.warns(WeakTraceWarning, match="the noise changes the answer of 'Steve Jobs was the' too little"):
        result = trace(gpt2, FACTS["subject first"], noise=0.0, samples=2)
    assert result.scores.shape == (N_LAYERS, len(result.tokens))
    # All runs are the clean run, up to the rounding of other batch sizes.
    assert (result.scores - result.clean_score).abs().max() < 1e-12


def test_the_summary_tells_what_is_not_usual() -> None:
    usual = made_up().settings
    assert usual.summary() == "mlp, window 2, 2 samples, noise 3σ = 0.4"
    told = replace(usual, metric="logit_diff", against="Rome", original=True).summary()
    assert told == "mlp, window 2, logit_diff against 'Rome', as released, 2 samples, noise 3σ = 0.4"
    each = replace(usual, metric="logit_diff", against="Rome", against_each=True)
    assert "logit_diff against each fact's own second answer" in each.summary()


def test_the_text_of_a_result_tells_what_was_corrupted_instead_of_the_subject() -> None:
    assert "instead of the subject" not in repr(made_up())
    told = repr(replace(made_up(), corrupted_spans=((0, 1), (2, 3))))
    assert "corrupted instead of the subject: '<s>', ' is'" in told
