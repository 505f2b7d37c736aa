"""Case files: the released code's `.npz` of one trace, written and read, to exchange traces with it and its readers.

A file holds `scores` `[token, layer]` (float32), `low_score`, `high_score`, `input_ids`, `input_tokens`,
`subject_range`, `answer`, `window`, `correct_prediction` and `kind` (`""`, `"mlp"` or `"attn"`); scores are means over
the noise samples. Samples, seed, noise and model are not in it; `TraceResult.save` keeps everything. Where the model
did not predict the expected answer, the released code writes `correct_prediction` alone. Pickle is never read or
written.
"""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lens_rome._files import written_whole
from lens_rome._typing import Tensor
from lens_rome.errors import FileFormatError, TraceError
from lens_rome.tracing.result import TraceResult, TraceSettings

CASE_KINDS = {"resid": "", "mlp": "mlp", "attn": "attn"}
"""Kinds that a case file can hold, and what it calls them."""

_ENTRIES = (
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
)
_NOTE = (
    "read from a case file: its one sample is the mean over the noise samples; number and seed of the samples, size of "
    "the noise, precision and the tokens of the answer are not in such a file"
)


def save_case(result: TraceResult, path: str | Path) -> Path:
    """Write a trace as a case file, whole or not at all; a file that is there is replaced.

    Scores are rounded to float32. The answer stands without the leading space that the released code has there.
    `correct_prediction` tells whether the answer is the fact's target.

    Raises:
        TraceError: a trace that such a file cannot describe.  FileFormatError: the folder does not exist.
    """
    return write_case(case_of(result), path)


def case_of(result: TraceResult) -> dict[str, np.ndarray]:
    """The entries of the trace's case file; see `save_case`."""
    for what, applies in _unfit(result).items():
        if applies:
            raise TraceError(
                f"the {result.settings.kind} trace of {result.prompt!r} cannot be a case file: {what}. Keep it with "
                "`save`, or trace all cells again with original=True."
            )
    return {
        "scores": result.scores.T.numpy().astype(np.float32),
        "low_score": np.array(result.corrupted_score),
        "high_score": np.array(result.clean_score, dtype=np.float32),
        "input_ids": np.array(result.tokens, dtype=np.int64),
        "input_tokens": np.array(result.token_strings, dtype=str),
        "subject_range": np.array(result.subject_span, dtype=np.int64),
        "answer": np.array(result.answer, dtype=str),
        "window": np.array(result.settings.window),
        "correct_prediction": np.array(result.answer_is_target),
        "kind": np.array(CASE_KINDS[result.settings.kind], dtype=str),
    }


def write_case(case: Mapping[str, np.ndarray], path: str | Path) -> Path:
    """Write the entries of a case file, whole or not at all."""
    path = Path(path)
    entries: dict[str, Any] = dict(case)
    # A handle, because NumPy would append .npz to a name.
    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **entries)
    return path


def _unfit(result: TraceResult) -> dict[str, bool]:
    """What a case file cannot say, and whether this trace needs it said."""
    settings = result.settings
    return {
        f"it knows the kinds {', '.join(CASE_KINDS)} only": settings.kind not in CASE_KINDS,
        "it has no BOS": settings.prepend_bos,
        f"it holds probabilities, not {settings.metric}": settings.metric != "prob",
        f"it is about clean states restored, not about the direction {settings.direction}": (
            settings.direction != "denoise"
        ),
        "it does not tell that a path was severed": bool(settings.severed),
        "it does not tell that positions were restored together": settings.together,
        "it does not tell that scores are approximate": settings.approximate,
        "it does not tell that other tokens than the subject's were corrupted": bool(result.corrupted_spans),
        "its residuals are restored in one layer": settings.kind == "resid" and settings.window != 1,
        "its answers are one token": len(result.answer_tokens) > 1,
        "it has no place for cells that were not traced or are not finite": not bool(result.scores.isfinite().all()),
        "its text cannot end in a null character": any(text.endswith("\0") for text in result.token_strings),
    }


def load_case(
    path: str | Path, *, model: str = "unknown", noise: str = "unknown", original: bool = False
) -> TraceResult:
    """Read a case file; see `TraceResult.from_npz`.

    Raises:
        FileFormatError: not a readable case file, one that needs pickle, or one without scores.
    """
    case = read_case(path)
    if is_skipped(case):
        raise FileFormatError(
            f"{path} holds no scores: the model did not predict the expected answer, so nothing was traced. read_cases "
            "lists such files as skipped."
        )
    return result_of(case, path, model=model, noise=noise, original=original)


def result_of(
    case: Mapping[str, np.ndarray], path: str | Path, *, model: str, noise: str, original: bool
) -> TraceResult:
    """The trace that the entries of the file at `path` hold."""
    try:
        return _result(case, model, noise, original)
    except (ValueError, TypeError, OverflowError) as error:
        raise FileFormatError(
            f"{path} is not a complete case file of the released code: {error}. Take another copy, or trace again."
        ) from error


def read_case(path: str | Path) -> dict[str, np.ndarray]:
    """All entries of the file, unchecked."""
    path = Path(path)
    if not path.is_file():
        raise FileFormatError(f"there is no file {path}.")
    if not zipfile.is_zipfile(path):
        raise FileFormatError(
            f"{path} is not an .npz file (truncated, corrupt, or of another kind). Take another copy."
        )
    try:
        # NumPy leaves a file open that it opened itself and cannot read.
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            return {name: np.asarray(file[name]) for name in file.files}
    except (ValueError, KeyError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        if "allow_pickle" in str(error):
            raise FileFormatError(
                f"{path} holds Python objects, which only pickle reads, and pickle can run any code. If you trust the "
                "file, convert it once: case = dict(numpy.load(path, allow_pickle=True)); case.update({k: numpy.array("
                "'' if v.tolist() is None else v.tolist()) for k, v in case.items() if v.dtype == object}); "
                "numpy.savez(new, **case)."
            ) from error
        raise FileFormatError(f"{path} is truncated or corrupt: {error}. Take another copy.") from error


def is_skipped(case: Mapping[str, np.ndarray]) -> bool:
    """Whether nothing was traced because the model did not predict the expected answer."""
    return "scores" not in case and "correct_prediction" in case and not case["correct_prediction"].any()


def _result(case: Mapping[str, np.ndarray], model: str, noise: str, original: bool) -> TraceResult:
    missing = [name for name in _ENTRIES if name not in case]
    if missing:
        raise ValueError(f"it has no {', '.join(missing)}")
    kind = _scalar(case, "kind", str) or "resid"
    if kind not in CASE_KINDS:
        raise ValueError(f"its kind is {kind!r}")
    tokens = tuple(int(token) for token in case["input_ids"].reshape(-1))
    strings = tuple(str(text) for text in case["input_tokens"].reshape(-1))
    first, last = (int(end) for end in case["subject_range"])
    if not len(tokens) == len(strings) >= last > first >= 0:
        raise ValueError(f"{len(tokens)} ids, {len(strings)} tokens and the subject range ({first}, {last}) disagree")
    clean, corrupted = _scalar(case, "high_score", float), _scalar(case, "low_score", float)
    answer = _scalar(case, "answer", str).strip()
    return TraceResult(
        sample_scores=_samples(case["scores"], len(tokens), last - 1),
        corrupted_samples=torch.tensor([corrupted], dtype=torch.float64),
        clean_score=clean,
        prompt="".join(strings),
        subject="".join(strings[first:last]).strip(),
        tokens=tokens,
        token_strings=strings,
        subject_span=(first, last),
        answer=answer,
        answer_tokens=(),
        target=answer if _scalar(case, "correct_prediction", bool) else "",
        settings=_settings(case, kind, model, noise, original),
        notes=(_NOTE,),
    )


def _settings(case: Mapping[str, np.ndarray], kind: str, model: str, noise: str, original: bool) -> TraceSettings:
    """What the file says about how it was made, and what its reader says."""
    return TraceSettings(
        kind=kind,
        window=1 if kind == "resid" else _scalar(case, "window", int),  # as released: not used for residuals
        noise=noise,
        noise_level=None,
        samples=1,
        seed=None,
        prepend_bos=False,
        model=model,
        surface="unknown",
        full_length=False,
        precision="unknown",
        original=original,
    )


def _scalar(case: Mapping[str, np.ndarray], name: str, kind: type) -> Any:
    """The one value of an entry, if it is of this kind and finite."""
    value = case[name].item()
    if not isinstance(value, (int, float) if kind is float else kind) or (kind is float and not np.isfinite(value)):
        raise ValueError(f"{name} is {value!r}")
    return kind(value)


def _samples(scores: np.ndarray, n_positions: int, subject_last: int) -> Tensor:
    """Scores `[token, layer]` as one sample `[layer, pos, 1]`; a single row is that of the subject's last token."""
    rows = [subject_last] if scores.ndim == 2 and len(scores) == 1 else range(n_positions)
    if scores.ndim != 2 or len(scores) != len(rows) or scores.dtype.kind != "f" or not np.isfinite(scores).all():
        raise ValueError(f"scores are {scores.dtype} {scores.shape}, or not finite, for {n_positions} tokens")
    samples = torch.full((scores.shape[1], n_positions, 1), torch.nan, dtype=torch.float64)
    samples[:, list(rows), 0] = torch.from_numpy(scores.T.astype(np.float64))
    return samples
