"""Made-up traces, and case files as the released code writes them."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lens_rome.tracing import TraceResult, TraceSettings


def made_up(kind: str = "mlp", seed: int = 0, **changes: Any) -> TraceResult:
    """Three layers, four positions, five samples."""
    window = 1 if kind == "resid" else 10
    settings = TraceSettings(kind, window, "3σ", 0.4, 5, 1, False, "tiny", "bridge", False, "torch.float64")
    rng = np.random.default_rng(seed)
    result = TraceResult(
        sample_scores=torch.from_numpy(rng.uniform(size=(3, 4, 5))),
        corrupted_samples=torch.from_numpy(rng.uniform(0, 0.3, size=5)),
        clean_score=0.9,
        prompt="In Paris they speak",
        subject="Paris",
        tokens=(7, 5, 6, 300),
        token_strings=("In", " Paris", " they", " spéak"),
        subject_span=(1, 2),
        answer="French",
        answer_tokens=(9,),
        target="French",
        settings=settings,
    )
    own = {name: changes.pop(name) for name in list(changes) if name not in {field.name for field in fields(result)}}
    return replace(result, **({"settings": replace(settings, **own)} | changes))


def released(kind: str | None = "mlp", **changes: Any) -> dict[str, Any]:
    """The record of one trace, of the types that the released code hands to `numpy.savez`."""
    record = {
        "scores": np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 3),
        "low_score": 0.125,
        "high_score": np.float32(0.9),
        "input_ids": np.array([7, 5, 6, 300]),
        "input_tokens": ["In", " Paris", " they", " speak"],
        "subject_range": (1, 2),
        "answer": " French",
        "window": 10,
        "correct_prediction": True,
        "kind": kind,
    }
    return record | changes


def put(path: Path, **record: Any) -> Path:
    np.savez(path, **record)
    return path
