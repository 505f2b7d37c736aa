"""The bundled model without its world."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from lens_rome.moments import SecondMoments, collect_moments
from lens_rome.surface import load_model

MODEL_FOLDER = Path(__file__).parent / "model"


def load_atlas_model(
    surface: str | None = None, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
) -> Any:
    """The bundled model with raw weights, under its own name."""
    model = load_model(MODEL_FOLDER, surface, dtype, device)
    model.cfg.model_name = "lens_rome atlas"
    return model


def atlas_moments(texts: Iterable[str]) -> SecondMoments:
    """Second moments of all layers of a fresh copy of the bundled model: ten tokens a dimension, BOS first."""
    model = load_atlas_model()
    return collect_moments(model, range(model.cfg.n_layers), texts, name="atlas corpus", progress=False)
