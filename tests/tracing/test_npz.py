"""Case files of the released code: what comes back, what its own files give, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lens_rome.errors import FileFormatError, TraceError
from lens_rome.tracing import TraceResult, TraceSet, case_name, write_cases
from tests.tracing.case_files import made_up, put, released

KEYS = {
    "scores",
    "low_score",
    "high_score",
    "input_ids",
    "input_tokens",
    "subject_range",
    "answer",
    "window",
    "correct_prediction",
    "kind",
}


def flip(path: Path, number: bytes) -> None:
    """Change one bit where `number` is stored."""
    data = bytearray(path.read_bytes())
    data[data.index(number)] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("kind", ["resid", "mlp", "attn"])
def test_what_a_case_file_holds_comes_back(tmp_path: Path, kind: str) -> None:
    result = made_up(kind)
    path = result.to_npz(tmp_path / case_name(3, kind))
    again = TraceResult.from_npz(path, model="tiny", noise="3σ")
    # Scores are float32 in the file, the corrupted score is float64.
    torch.testing.assert_close(again.scores, result.scores.float().double(), rtol=0, atol=0)
    assert again.corrupted_score == result.corrupted_score and abs(again.clean_score - 0.9) < 1e-7
    for name in ("tokens", "token_strings", "subject", "subject_span", "answer", "target", "corrupted_spans"):
        assert getattr(again, name) == getattr(result, name), name
    for name in ("kind", "window", "model", "noise", "prepend_bos", "metric", "direction"):
        assert getattr(again.settings, name) == getattr(result.settings, name), name
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_result_that_was_read_is_written_to_the_same_bytes(tmp_path: Path) -> None:
    first = made_up().to_npz(tmp_path / "first.npz")
    second = TraceResult.from_npz(first).to_npz(tmp_path / "second.npz")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(("kind", "ours"), [("", "resid"), ("mlp", "mlp"), ("attn", "attn")])
def test_a_file_as_the_released_code_writes_it_is_read(tmp_path: Path, kind: str, ours: str) -> None:
    result = TraceResult.from_npz(put(tmp_path / "knowledge_3.npz", **released(kind)), original=True)
    assert result.scores.shape == (3, 4) and result.scores.dtype == torch.float64
    assert float(result.scores[2, 1]) == np.linspace(0, 1, 12, dtype=np.float32)[1 * 3 + 2]
    assert (result.corrupted_score, result.clean_score) == (0.125, float(np.float32(0.9)))
    assert result.tokens == (7, 5, 6, 300) and result.prompt == "In Paris they speak" and result.subject == "Paris"
    assert result.answer == "French" and result.answer_is_target and not result.is_weak
    # The released code writes 10 for residuals too, and restores one.
    assert (result.settings.kind, result.settings.window) == (ours, 1 if ours == "resid" else 10)
    assert result.settings.original and not result.settings.prepend_bos


def test_a_written_file_has_the_entries_and_types_of_the_released_code(tmp_path: Path) -> None:
    with np.load(made_up().to_npz(tmp_path / "case.npz"), allow_pickle=False) as file:
        case = dict(file)
    theirs = dict(np.load(put(tmp_path / "theirs.npz", **released()), allow_pickle=False))
    assert set(case) == set(theirs) == KEYS
    for name, entry in theirs.items():
        assert case[name].shape == entry.shape and case[name].dtype.kind == entry.dtype.kind, name
    assert case["scores"].dtype == case["high_score"].dtype == np.float32
    np.testing.assert_array_equal(case["scores"], made_up().scores.numpy().T.astype(np.float32))
    assert (case["kind"], case["window"], case["correct_prediction"]) == ("mlp", 10, True)


def test_what_the_file_does_not_hold_is_unknown(tmp_path: Path) -> None:
    result = TraceResult.from_npz(made_up().to_npz(tmp_path / "case.npz"))
    settings = result.settings
    assert (settings.model, settings.surface, settings.precision, settings.noise) == ("unknown",) * 4
    assert settings.seed is None and settings.noise_level is None and not settings.original
    assert result.sample_scores.shape[-1] == len(result.corrupted_samples) == settings.samples == 1
    assert result.to_dataframe()["std"].isna().all() and result.answer_tokens == ()
    assert "its one sample is the mean over the noise samples" in result.notes[0]
    saved = TraceResult.load(result.save(tmp_path / "trace.safetensors"))
    assert saved.settings == settings and saved.notes == result.notes and repr(saved) == repr(result)


def test_an_answer_that_is_not_the_target_is_no_correct_prediction(tmp_path: Path) -> None:
    again = TraceResult.from_npz(made_up(target="Dutch").to_npz(tmp_path / "case.npz"))
    assert not again.answer_is_target and again.answer == "French"


def test_a_single_row_is_that_of_the_subjects_last_token(tmp_path: Path) -> None:
    row = np.array([[0.1, 0.2, 0.3]], dtype=np.float32)
    result = TraceResult.from_npz(put(tmp_path / "a.npz", **released(scores=row)))
    assert torch.equal(result.scores[:, 1], torch.from_numpy(row[0]).double())
    assert result.scores.isnan().sum() == 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "post"}, "it knows the kinds resid, mlp, attn only"),
        ({"prepend_bos": True}, "it has no BOS. Keep it with `save`, or trace all cells again with original=True"),
        ({"metric": "logit"}, "it holds probabilities, not logit"),
        ({"direction": "zero"}, "not about the direction zero"),
        ({"severed": "mlp"}, "a path was severed"),
        ({"together": True}, "restored together"),
        ({"approximate": True}, "scores are approximate"),
        ({"corrupted_spans": ((0, 1),)}, "other tokens than the subject's were corrupted"),
        ({"kind": "resid", "window": 3}, "residuals are restored in one layer"),
        ({"answer_tokens": (1, 2)}, "its answers are one token"),
        ({"sample_scores": torch.full((3, 4, 5), torch.nan).double()}, "cells that were not traced"),
        ({"token_strings": ("In", " Paris", "\0", "x")}, "cannot end in a null character"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_a_case_file_cannot_say_is_not_written(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        made_up(**changes).to_npz(tmp_path / "case.npz")
    good = {"resid": made_up("resid")}
    with pytest.raises(TraceError):
        write_cases(TraceSet({"1": good, "2": {"any": made_up(**changes)}}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_behind_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made_up().to_npz(tmp_path / "case.npz")
    before = path.read_bytes()

    def half(file: Any, **entries: Any) -> None:  # noqa: ARG001 - NumPy's
        file.write(b"PK")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(OSError, match="no space"):
        made_up(seed=1).to_npz(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_writing_into_a_folder_that_does_not_exist_says_to_create_it(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"does not exist\. Create it first"):
        made_up().to_npz(tmp_path / "nowhere" / "case.npz")


def test_a_file_that_needs_pickle_is_refused_and_the_conversion_it_names_works(tmp_path: Path) -> None:
    objects = {"kind": None, "input_tokens": np.array(["In", " Paris", " they", " speak"], dtype=object)}
    path, new = put(tmp_path / "old.npz", **released(**objects)), tmp_path / "new.npz"
    with pytest.raises(FileFormatError, match=r"only pickle reads, .* If you trust the file, convert it once") as error:
        TraceResult.from_npz(path)
    program = str(error.value).partition("convert it once: ")[2].rstrip(".")
    exec(program, {"numpy": np, "path": path, "new": new})
    assert TraceResult.from_npz(new).settings.kind == "resid"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "there is no file"),
        (lambda path: path.write_bytes(b""), r"is not an \.npz file"),
        (lambda path: path.write_text("text"), r"is not an \.npz file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), r"is not an \.npz file .*Take another copy"),
        (
            lambda path: path.write_bytes(path.read_bytes().replace(b"\x00\x00\x00>", b"\x00\x00\x01>", 1)),
            "is truncated or corrupt: ",
        ),
        (lambda path: put(path, weights=np.zeros(3)), "not a complete case file .* has no scores, low_score"),
    ],
    ids=["missing", "empty", "text", "truncated", "a flipped byte", "other arrays"],
)
def test_a_file_that_is_no_case_file_is_refused(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    path = put(tmp_path / "case.npz", **released(low_score=30.0, scores=np.full((4, 3), 0.125, np.float32)))
    damage(path)
    with pytest.raises(FileFormatError, match=message):
        TraceResult.from_npz(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "post"}, "its kind is 'post'"),
        ({"kind": 3}, "kind is 3"),
        ({"scores": np.zeros((2, 3), np.float32)}, r"scores are float32 \(2, 3\)"),
        ({"scores": np.zeros(4, np.float32)}, r"scores are float32 \(4,\)"),
        ({"scores": np.full((4, 3), np.nan, np.float32)}, "or not finite"),
        ({"low_score": np.nan}, "low_score is nan"),
        ({"high_score": np.zeros(2)}, "can only convert an array of size 1"),
        ({"subject_range": (2, 2)}, r"the subject range \(2, 2\) disagree"),
        ({"subject_range": (3, 5)}, r"the subject range \(3, 5\) disagree"),
        ({"input_tokens": ["In"]}, "4 ids, 1 tokens"),
        ({"window": "wide"}, "window is 'wide'"),
    ],
    ids=repr,
)
def test_entries_that_make_no_sense_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = put(tmp_path / "case.npz", **released(**changes))
    with pytest.raises(FileFormatError, match=message):
        TraceResult.from_npz(path)


def test_a_file_without_scores_is_no_trace(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"holds no scores: .* read_cases lists such files as skipped"):
        TraceResult.from_npz(put(tmp_path / "knowledge_4.npz", correct_prediction=False))
