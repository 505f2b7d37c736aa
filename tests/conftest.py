"""Fixtures shared by all tests. Shape annotations are enforced by jaxtyping's pytest option, see `pyproject.toml`."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lens_rome.atlas import World
from lens_rome.atlas.bundled import atlas_moments
from lens_rome.moments import SecondMoments
from lens_rome.surface import load_model
from tests.helpers import Case, all_cases, save_tiny_model, skip_without_hooked

LoadModel = Callable[[Case], Any]
Collect = Callable[[Iterable[str]], SecondMoments]


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Every test starts from the same seeds and leaves gradients switched on."""
    torch.manual_seed(0)
    np.random.seed(0)
    with torch.enable_grad():
        yield


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`model_folder("gpt2")`: a checkpoint folder of a tiny random model, written once."""
    made: dict[str, Path] = {}

    def folder(architecture: str) -> Path:
        if architecture not in made:
            made[architecture] = save_tiny_model(architecture, tmp_path_factory.mktemp(architecture))
        return made[architecture]

    return folder


@pytest.fixture(scope="session")
def fresh_model(model_folder: Callable[[str], Path]) -> LoadModel:
    """`fresh_model(case)`: a model of one's own, to break or to write to."""

    def load(case: Case) -> Any:
        skip_without_hooked(case.surface)
        folder = model_folder(case.architecture)
        return load_model(folder, case.surface, dtype=case.dtype, process_weights=case.processed)

    return load


@pytest.fixture(scope="session")
def shared_model(fresh_model: LoadModel) -> LoadModel:
    """`shared_model(case)`: one model for all tests of the session; nobody may change it."""
    loaded: dict[Case, Any] = {}

    def load(case: Case) -> Any:
        if case not in loaded:
            loaded[case] = fresh_model(case)
        return loaded[case]

    return load


@pytest.fixture(params=all_cases(), ids=str)
def any_case(request: pytest.FixtureRequest) -> Case:
    """Every architecture on every surface, raw and processed."""
    skip_without_hooked(request.param.surface)
    return request.param


@pytest.fixture
def any_model(any_case: Case, shared_model: LoadModel) -> Any:
    """The model of `any_case`; nobody may change it."""
    return shared_model(any_case)


@pytest.fixture(params=all_cases(processed=False), ids=str)
def raw_case(request: pytest.FixtureRequest) -> Case:
    """Every architecture on every surface, raw weights in float64."""
    skip_without_hooked(request.param.surface)
    return request.param


@pytest.fixture
def raw_model(raw_case: Case, shared_model: LoadModel) -> Any:
    """The model of `raw_case`; nobody may change it."""
    return shared_model(raw_case)


@pytest.fixture(params=["hooked", "bridge"])
def gpt2_case(request: pytest.FixtureRequest) -> Case:
    """GPT-2 on every surface, where one architecture is enough."""
    skip_without_hooked(request.param)
    return Case("gpt2", request.param)


@pytest.fixture
def gpt2(gpt2_case: Case, shared_model: LoadModel) -> Any:
    """The model of `gpt2_case`; nobody may change it."""
    return shared_model(gpt2_case)


@pytest.fixture(scope="session")
def collected_once() -> Collect:
    """In the place of `atlas_moments`: collects the atlas's second moments, which takes seconds, at the first call."""
    found = cache(lambda: atlas_moments(World().corpus()))
    return lambda _: found()


@pytest.fixture
def moments_once(collected_once: Collect, monkeypatch: pytest.MonkeyPatch) -> None:
    """`World().moments` is collected once for all tests that ask for this, and not by every world anew."""
    monkeypatch.setattr("lens_rome.atlas.world.atlas_moments", collected_once)
