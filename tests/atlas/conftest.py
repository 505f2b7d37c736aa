"""The world and its training text, read once for all tests of the atlas."""

import pytest

from lens_rome.atlas import World
from lens_rome.atlas.corpus import Corpus
from lens_rome.atlas.source import Source


@pytest.fixture(scope="session")
def world() -> World:
    return World()


@pytest.fixture(scope="session")
def source(world: World) -> Source:
    return world.source


@pytest.fixture(scope="session")
def corpus(world: World) -> Corpus:
    return world.texts
