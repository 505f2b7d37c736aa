"""The options of `lens-rome edit` that choose an editor."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lens_rome._typing import Model
from lens_rome.cli import editors
from lens_rome.cli.editors import EditorOptions, described, layers_of, moments_for
from lens_rome.cli.models import Loaded
from lens_rome.cli.reporting import CommandError
from lens_rome.editing import MEMIT, ROME, RROME, Edit, preset
from lens_rome.editing.presets import EDITORS
from lens_rome.errors import EditError
from lens_rome.facts import EditRequest
from lens_rome.moments import SecondMoments
from lens_rome.surface import as_surface, load_model
from tests.cli.conftest import MODEL


@dataclass(frozen=True)
class Learned:
    """Stands for an editor that was trained."""

    path: Path

    @property
    def name(self) -> str:
        return "LEARNED"

    def edit(
        self, model: Model, requests: EditRequest | Sequence[EditRequest], *, moments: SecondMoments | str | None = None
    ) -> Edit:
        raise NotImplementedError


@pytest.mark.parametrize("name", EDITORS)
def test_every_editor_with_a_preset_is_chosen_by_its_name(name: str) -> None:
    models = ("gpt2-xl", "atlas")
    model = next(model for model in models if _is_preset(name, model))
    assert EditorOptions(name.lower()).make(model) == preset(name, model)


def _is_preset(name: str, model: str) -> bool:
    try:
        preset(name, model)
    except EditError:
        return False
    return True


def test_a_layer_means_the_default_settings_there() -> None:
    assert EditorOptions("ROME", layer=3, seed=5).make("no-such-model") == ROME(3, seed=5)
    assert EditorOptions("RROME", layer=3, bos=False).make("x") == RROME(3, prepend_bos=False)
    assert EditorOptions("p-rome", layer=3).make("x") == ROME(3, bare=True)


def test_single_settings_win_over_seed_and_bos() -> None:
    options = EditorOptions("MEMIT", preset="gpt2-xl", settings=("seed=9", "prepend_bos=none"), seed=5, bos=True)
    found = options.make("folder/of/a/model")
    assert isinstance(found, MEMIT)
    assert (found.seed, found.prepend_bos, found.layers) == (9, None, (13, 14, 15, 16, 17))


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (EditorOptions("MEMIT2"), "unknown editor 'MEMIT2'; choose one of ROME, p-ROME, R-ROME, "),
        (EditorOptions(layer=1, preset="gpt2-xl"), "--layer and --preset exclude each other"),
        (EditorOptions("MEMIT", layer=1), "--layer is for ROME, p-ROME, R-ROME. For MEMIT give --preset NAME"),
        (EditorOptions("ROME"), "On the command line: --layer LAYER or --preset NAME, and --set NAME=VALUE"),
        (EditorOptions("MEMIT"), "On the command line: --preset NAME, and --set"),
        (EditorOptions("ROME", trained=Path("x")), "ROME is not trained: leave out --trained, or choose LEARNED"),
        (EditorOptions("learned"), "LEARNED is trained first; give the file of the trained editor by --trained"),
        (EditorOptions("learned", trained=Path("x"), settings=("a=1",)), "a trained LEARNED has the settings"),
        (EditorOptions("learned", trained=Path("x"), bos=True), "leave out --layer, --preset, --set and --bos"),
    ],
)
def test_options_that_choose_no_editor_say_what_to_do(
    options: EditorOptions, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(editors, "TRAINED", {"LEARNED": Learned})
    with pytest.raises(CommandError, match=advice):
        options.make("no-such-model")


def test_a_trained_editor_is_read_from_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editors, "TRAINED", {"LEARNED": Learned})
    assert EditorOptions("Learned", trained=Path("file.st")).make("any") == Learned(Path("file.st"))


@pytest.mark.parametrize(
    ("editor", "layers", "told"),
    [
        (ROME(1), (1,), "ROME at layer 1"),
        (MEMIT((0, 2)), (0, 2), "MEMIT at layers 0, 2"),
        (Learned(Path("x")), (), "LEARNED"),
    ],
)
def test_an_editor_is_described_with_its_layers(editor: Any, layers: tuple[int, ...], told: str) -> None:
    assert layers_of(editor) == layers
    assert described(editor) == told


def test_moments_are_asked_for_where_the_editor_needs_them() -> None:
    model = load_model(MODEL)
    loaded = Loaded(model, as_surface(model), None)
    assert moments_for(Learned(Path("x")), loaded, None) is None
    assert moments_for(ROME(1), loaded, "identity") == "identity"
    with pytest.raises(CommandError, match=r"MEMIT needs second moments of layers 1, 2. .* --layers 1,2 --corpus"):
        moments_for(MEMIT((1, 2)), loaded, None)
