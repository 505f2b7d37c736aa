"""The bundled model and its world, in one call."""

from typing import Any

from lens_rome.atlas.bundled import MODEL_FOLDER as MODEL_FOLDER
from lens_rome.atlas.bundled import load_atlas_model
from lens_rome.atlas.world import World


def load_atlas(surface: str | None = None) -> tuple[Any, World]:
    """The bundled model, with raw weights in float32 on the CPU, and the world it was trained on.

    Args:
        surface: `"hooked"`, `"bridge"`, or None for the best that the installed TransformerLens has.

    Raises:
        SurfaceError: a surface that this TransformerLens does not have.
    """
    return load_atlas_model(surface), World()
