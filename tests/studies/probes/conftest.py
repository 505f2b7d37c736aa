from collections.abc import Callable
from typing import Any

import pytest
import torch

from lens_rome.atlas import World
from lens_rome.atlas.bundled import load_atlas_model
from lens_rome.editing import Edit
from lens_rome.facts import EditRequest
from lens_rome.surface import as_surface
from tests.studies.probes.support import EDITOR


@pytest.fixture(scope="session")
def atlas() -> Any:
    """The bundled model in double precision; nobody may change it."""
    return load_atlas_model(None, torch.float64)


@pytest.fixture(scope="session")
def atlas_bridge(atlas: Any) -> Any:
    """The same as a bridge."""
    return atlas if as_surface(atlas).name == "bridge" else load_atlas_model("bridge", torch.float64)


@pytest.fixture(scope="session")
def world() -> World:
    return World()


@pytest.fixture(scope="session")
def rome(atlas: Any) -> Callable[[EditRequest], Edit]:
    """A ROME edit of `atlas` for a request, made once."""
    made: dict[EditRequest, Edit] = {}

    def edit(request: EditRequest) -> Edit:
        if request not in made:
            made[request] = EDITOR.edit(atlas, request, moments="identity")
        return made[request]

    return edit
