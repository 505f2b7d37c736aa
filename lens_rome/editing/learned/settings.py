"""Settings that both learned editors share, and which matrices they change."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

from lens_rome.editing.delta import Place
from lens_rome.editing.learned.wiring import PARAMETERS
from lens_rome.errors import EditError
from lens_rome.surface import AbstractSurface

LAST_LAYERS = 3
"""How many blocks are edited, from the last one down, as published; fewer in models of fewer than six blocks."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a learned editor is trained. Published values in brackets; they are for 100,000 steps of one fact each."""

    layers: tuple[int, ...] | None = None
    """Blocks whose `W_in` and `W_out` are changed, from 0. None for the last three (as published), or the last half
    in models of fewer than six blocks.
    """
    steps: int = 600
    """Optimiser steps at most."""
    batch: int = 8
    """Facts of one pass, each with one wording and one unrelated text (1)."""
    accumulate: int = 1
    """Passes of one step (10)."""
    lr: float = 1e-3
    """Adam's learning rate of the networks; a schedule lets it fall to zero linearly at the end (1e-6, constant)."""
    edit_weight: float = 0.1
    """c_e, of the target's mean token NLL after the edit, over the request and a wording of it (0.1)."""
    locality_weight: float = 1.0
    """c_loc, of the divergence KL(base ‖ edited) a token of unrelated text (1)."""
    neighbor_weight: float = 0.0
    """Of KL(base ‖ edited) at the end of one of the record's neighbourhood prompts, a fact (0: there is none)."""
    clip: float = 100.0
    """Largest norm of a step's gradient (100)."""
    validate_every: int = 50
    """Steps between two validations; each writes the checkpoint (500)."""
    patience: int = 5
    """Validations without improvement after which training stops (4)."""
    text_tokens: int = 48
    """Tokens of an unrelated text at most."""
    prepend_bos: bool | None = None
    """None follows the model."""
    seed: int = 0
    """Of initial weights and of all draws."""

    def __post_init__(self) -> None:
        counts = ("steps", "batch", "accumulate", "validate_every", "patience")
        for name in counts:
            check_count(name, getattr(self, name), 1)
        check_count("text_tokens", self.text_tokens, 2)
        for name in ("lr", "clip", "edit_weight", "locality_weight"):
            check_rate(name, getattr(self, name))
        if self.neighbor_weight:
            check_rate("neighbor_weight", self.neighbor_weight)
        if self.layers is not None:
            layers = list(self.layers)
            if not layers or len(set(layers)) != len(layers) or any(not _is_count(layer, 0) for layer in layers):
                raise EditError(f"layers must be different whole numbers from 0, got {self.layers!r}.")

    def places(self, surface: AbstractSurface) -> tuple[Place, ...]:
        """The matrices that are changed in a model, from below.

        Raises:
            SurfaceError: no such layer.
        """
        n_layers = surface.n_layers
        last = range(n_layers - min(LAST_LAYERS, max(1, n_layers // 2)), n_layers)
        layers = sorted(last if self.layers is None else self.layers)
        surface.check_layers(layers)
        return tuple((layer, name) for layer in layers for name in PARAMETERS)

    def jsonable(self) -> dict[str, Any]:
        """The settings for files and provenance."""
        return asdict(self)

    @classmethod
    def read(cls, settings: dict[str, Any]) -> Self:
        """Inverse of `jsonable`, after a file has made lists of tuples."""
        layers = settings.get("layers")
        told: dict[str, Any] = {**settings, "layers": None if layers is None else tuple(layers)}
        return cls(**told)


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def check_count(name: str, value: object, least: int) -> None:
    """Raise `EditError` unless a setting is a whole number from `least`."""
    if not _is_count(value, least):
        raise EditError(f"{name} must be a whole number from {least}, got {value!r}.")


def check_rate(name: str, value: float) -> None:
    """Raise `EditError` unless a setting is a positive number."""
    if not (math.isfinite(value) and value > 0):
        raise EditError(f"{name} must be a positive number, got {value!r}.")
