"""Loading a checkpoint folder onto either surface, and the folders that cannot be loaded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from lens_rome.errors import SurfaceError
from lens_rome.surface import as_surface, load_model
from lens_rome.surface._versions import HookedTransformer
from tests.helpers import ARCHITECTURES, SURFACES, skip_without_hooked

TOKENS = torch.arange(5, 11)[None]
Folder = Callable[..., Path]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may wait for a network that is not there."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def broken_folder(model_folder: Callable[[str], Path], tmp_path: Path) -> Folder:
    """A copy of a tiny model's folder with other settings in its `config.json`."""

    def copy(architecture: str = "gpt2", **settings: Any) -> Path:
        folder = tmp_path / "model"
        shutil.copytree(model_folder(architecture), folder)
        config = json.loads((folder / "config.json").read_text()) | settings
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return copy


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_loaded_model_computes_what_hugging_face_computes(
    architecture: str, surface: str, model_folder: Callable[[str], Path]
) -> None:
    skip_without_hooked(surface)
    model = load_model(model_folder(architecture), surface)
    reference = AutoModelForCausalLM.from_pretrained(model_folder(architecture)).eval()
    with torch.no_grad():
        # float32 throughout, logits of size ten
        torch.testing.assert_close(model(TOKENS), reference(TOKENS).logits, rtol=0, atol=1e-4)


def test_without_a_wish_the_surface_is_hooked_where_there_is_one(model_folder: Callable[[str], Path]) -> None:
    model = load_model(str(model_folder("gpt2")))
    assert as_surface(model).name == ("bridge" if HookedTransformer is None else "hooked")
    assert not model.training and as_surface(model).dtype == torch.float32


def test_hooked_is_refused_where_transformer_lens_has_none(model_folder: Callable[[str], Path]) -> None:
    if HookedTransformer is not None:
        pytest.skip("this TransformerLens still has HookedTransformer")
    with pytest.raises(SurfaceError, match="use surface='bridge' or install transformer-lens<4"):
        load_model(model_folder("gpt2"), "hooked")


def test_an_unknown_surface_is_refused(model_folder: Callable[[str], Path]) -> None:
    with pytest.raises(SurfaceError, match="unknown surface 'nnsight'; choose one of"):
        load_model(model_folder("gpt2"), "nnsight")


@pytest.mark.parametrize("kind", [Path, str])
def test_a_folder_that_is_not_there_is_refused_without_asking_the_network(tmp_path: Path, kind: type) -> None:
    with pytest.raises(SurfaceError, match=r"is not a model folder: it has no config\.json"):
        load_model(kind(tmp_path / "nothing"))


def test_a_name_that_the_hub_does_not_have_is_refused() -> None:
    with pytest.raises(SurfaceError, match=r"cannot load 'nobody/nothing'.* `load_atlas\(\)` needs neither"):
        load_model("nobody/nothing")


@pytest.mark.parametrize("surface", SURFACES)
def test_an_unknown_kind_of_model_is_refused(broken_folder: Folder, surface: str) -> None:
    skip_without_hooked(surface)
    folder = broken_folder(architectures=["FooForCausalLM"], model_type="foo")
    with pytest.raises(SurfaceError):
        load_model(folder, surface)


def test_an_architecture_without_converter_is_refused_as_hooked(broken_folder: Folder) -> None:
    skip_without_hooked("hooked")
    with pytest.raises(
        SurfaceError, match=r"cannot be loaded as HookedTransformer.*FooForCausalLM.*use surface='bridge'"
    ):
        load_model(broken_folder(architectures=["FooForCausalLM"]), "hooked")


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("damage", ["no weights", "truncated weights"])
def test_a_folder_with_broken_weights_is_refused(broken_folder: Folder, surface: str, damage: str) -> None:
    skip_without_hooked(surface)
    folder = broken_folder()
    weights = folder / "model.safetensors"
    if damage == "no weights":
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(SurfaceError, match=r"Give a folder with config\.json, weights and tokenizer files"):
        load_model(folder, surface)


def test_a_folder_with_a_broken_configuration_is_refused(broken_folder: Folder) -> None:
    folder = broken_folder()
    (folder / "config.json").write_text("{")
    with pytest.raises(SurfaceError, match=r"cannot load .*config\.json"):
        load_model(folder)


SCALED = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


def test_scaled_rotary_embeddings_are_refused_as_hooked_and_go_to_the_bridge_by_themselves(
    broken_folder: Folder,
) -> None:
    folder = broken_folder("llama", rope_parameters=SCALED)
    model = load_model(folder)
    assert as_surface(model).name == "bridge"
    if HookedTransformer is not None:
        with pytest.raises(SurfaceError, match=r"llama3.*use surface='bridge'"):
            load_model(folder, "hooked")
