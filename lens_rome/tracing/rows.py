"""A trace as a row of a run's file, and back."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from lens_rome.errors import FileFormatError
from lens_rome.runs import decode_array, encode_array
from lens_rome.tracing.result import TraceResult


def to_row(result: TraceResult) -> dict[str, Any]:
    """JSON-able; scores in float32, which is more than a trace's own rounding needs. Cells that equal the score of the
    run they start from equal it again when they are read.
    """
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
        corrupted = decode_array(row["corrupted_samples"]).double()
        scores = decode_array(row["sample_scores"])
        found = TraceResult.from_described(row, sample_scores=scores.double(), corrupted_samples=corrupted)
        base = corrupted if found.settings.direction == "denoise" else corrupted.new_tensor(found.clean_score)
        return replace(found, sample_scores=torch.where(scores == base.to(scores.dtype), base, scores.double()))
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise FileFormatError(f"a row is not a complete trace: {error!r}.") from error
