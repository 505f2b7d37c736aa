"""The editor that a command's options describe."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Protocol, runtime_checkable

import typer

from lens_rome._typing import Model
from lens_rome.cli.models import Loaded
from lens_rome.cli.reporting import CommandError
from lens_rome.cli.settings import has_setting, with_settings
from lens_rome.editing import EMMET, MEMIT, ROME, RROME, AlphaEdit, Edit, TrainedKnowledgeEditor, TrainedMEND, preset
from lens_rome.editing.presets import EDITORS
from lens_rome.errors import EditError
from lens_rome.facts import EditRequest
from lens_rome.moments import SecondMoments


@runtime_checkable
class Editor(Protocol):
    """Anything that makes one edit of several requests, such as `ROME(...)`."""

    @property
    def name(self) -> str:
        """What the method is called."""
        ...

    def edit(
        self, model: Model, requests: EditRequest | Sequence[EditRequest], *, moments: SecondMoments | str | None = None
    ) -> Edit:
        """One joint edit."""
        ...


_WITH_MOMENTS = (ROME, RROME, MEMIT, EMMET, AlphaEdit)
_AT_A_LAYER: Mapping[str, Callable[..., Editor]] = {"ROME": ROME, "p-ROME": partial(ROME, bare=True), "R-ROME": RROME}

TRAINED: Mapping[str, Callable[[Path], Editor]] = {"MEND": TrainedMEND.load, "KE": TrainedKnowledgeEditor.load}
"""Editors that are themselves trained, by name, and what reads their file."""


EditorName = Annotated[str, typer.Option("--editor", help=f"One of {', '.join((*EDITORS, *TRAINED))}.")]
Layer = Annotated[
    int | None, typer.Option("--layer", "-l", help="Layer to edit, with default settings (ROME, p-ROME, R-ROME).")
]
PresetName = Annotated[
    str | None, typer.Option("--preset", help="Model whose published settings to take; left out: those of --model.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="One setting of the editor, such as weight=500 or layers=1,2,3; repeatable."),
]
TrainedFile = Annotated[Path | None, typer.Option("--trained", help="File of a trained editor.")]
MomentsFile = Annotated[
    str | None,
    typer.Option("--moments", help="File of `lens-rome moments` or a published .npz; or `identity` for none."),
]


@dataclass(frozen=True)
class EditorOptions:
    """Options that choose an editor and its settings."""

    name: str = "ROME"
    layer: int | None = None
    """With default settings; ROME and its kin only."""
    preset: str | None = None
    """The model whose published settings to take."""
    settings: tuple[str, ...] = ()
    """`NAME=VALUE`; they win over the preset and over `seed` and `bos`."""
    trained: Path | None = None
    """File of a trained editor."""
    seed: int = 0
    bos: bool | None = None

    def make(self, model: str) -> Editor:
        """The editor for a model of this name.

        Raises:
            CommandError: unknown editor or setting, options that exclude each other, or no settings known for the
                model.
            EditError: settings that the editor refuses.  FileFormatError: not a file of a trained editor.
        """
        name = self._known_name()
        if name in TRAINED:
            return self._trained(name)
        if self.trained is not None:
            raise CommandError(f"{name} is not trained: leave out --trained, or choose {_listed(TRAINED)}.")
        if self.layer is not None and self.preset is not None:
            raise CommandError("--layer and --preset exclude each other; give one of them.")
        editor = self._preset(name, model) if self.layer is None else _at_layer(name, self.layer)
        given: dict[str, Any] = {"seed": self.seed} if has_setting(editor, "seed") else {}
        if self.bos is not None:
            given["prepend_bos"] = self.bos
        return with_settings(replace(editor, **given), self.settings)  # pyright: ignore[reportArgumentType]

    def _known_name(self) -> str:
        """The editor's name as it is spelled; `CommandError` if there is none."""
        names = {name.upper(): name for name in (*EDITORS, *TRAINED)} | {"RROME": "R-ROME"}
        if self.name.upper() not in names:
            raise CommandError(f"unknown editor {self.name!r}; choose one of {_listed((*EDITORS, *TRAINED))}.")
        return names[self.name.upper()]

    def _preset(self, name: str, model: str) -> Editor:
        try:
            return preset(name, self.preset or Path(model).name)
        except EditError as error:
            layer = "--layer LAYER or " if name in _AT_A_LAYER else ""
            hint = f"On the command line: {layer}--preset NAME, and --set NAME=VALUE for what is to differ from it."
            raise CommandError(f"{error} {hint}") from error

    def _trained(self, name: str) -> Editor:
        if self.trained is None:
            raise CommandError(
                f"{name} is trained first; give the file of the trained editor by --trained. For the atlas "
                f"`python -m lens_rome.atlas.learned --editor {name} --out FILE` makes one."
            )
        if self.layer is not None or self.preset is not None or self.settings or self.bos is not None:
            raise CommandError(
                f"a trained {name} has the settings it was trained with; leave out --layer, --preset, --set and --bos."
            )
        return TRAINED[name](self.trained)


def _at_layer(name: str, layer: int) -> Editor:
    if name not in _AT_A_LAYER:
        raise CommandError(
            f"--layer is for {_listed(_AT_A_LAYER)}. For {name} give --preset NAME with --set layers=..., where it "
            "has layers."
        )
    return _AT_A_LAYER[name](layer)


def _listed(names: Sequence[str] | Mapping[str, Any]) -> str:
    return ", ".join(names) or "none"


def layers_of(editor: Editor) -> tuple[int, ...]:
    """The layers that an editor's settings name; none where it finds them itself."""
    layer = getattr(editor, "layer", None)
    return tuple(getattr(editor, "layers", ())) if layer is None else (layer,)


def described(editor: Editor) -> str:
    """`ROME at layer 1`, `MEMIT at layers 1, 2`, `KN`."""
    layers = layers_of(editor)
    return f"{editor.name} at {in_layers(layers)}" if layers else editor.name


def in_layers(layers: Sequence[int]) -> str:
    """`layer 1`, `layers 1, 2`."""
    return f"layer{'s' if len(layers) > 1 else ''} {', '.join(map(str, layers))}"


def moments_for(editor: Editor, loaded: Loaded, given: SecondMoments | str | None) -> SecondMoments | str | None:
    """The moments that were given, or the bundled world's; None for editors that take none.

    Raises:
        CommandError: none where the editor needs them; it shows the command that collects them.
    """
    if given is not None or not isinstance(editor, _WITH_MOMENTS):
        return given
    if loaded.world is not None:
        return loaded.world.moments
    layers = layers_of(editor)
    raise CommandError(
        f"{editor.name} needs second moments of {in_layers(layers)}. Collect them: lens-rome moments --layers "
        f"{','.join(map(str, layers))} --corpus FILE.txt --out moments.safetensors (same --model and "
        "--bos/--no-bos); then give --moments moments.safetensors, or --moments identity to edit without."
    )
