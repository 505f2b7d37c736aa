"""A trace as a row of a run's file, and back."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch

from lens_rome.errors import FileFormatError
from lens_rome.runs import decode_array, encode_array
from lens_rome.tracing.result import TraceResult, TraceSettings


def to_row(result: TraceResult) -> dict[str, Any]:
    """JSON-able; scores in float32, which is more than a trace's own rounding needs."""
    return {
        **result.describe(),
        "sample_scores": encode_array(result.sample_scores.to(torch.float32)),
        "corrupted_samples": encode_array(result.corrupted_samples),
    }


def from_row(row: Mapping[str, Any]) -> TraceResult:
    """Inverse of `to_row`.

    Raises:
        FileFormatError: fields are missing or damaged.
    """
    try:
        values = {field.name: row[field.name] for field in fields(TraceResult)}
        for name in ("tokens", "token_strings", "subject_span", "answer_tokens", "notes"):
            values[name] = tuple(values[name])
        values["corrupted_spans"] = tuple(tuple(span) for span in values["corrupted_spans"])
        values["settings"] = TraceSettings(**values["settings"])
        for name in ("sample_scores", "corrupted_samples"):
            values[name] = decode_array(values[name]).double()
        return TraceResult(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"a row is not a complete trace: {error!r}.") from error
