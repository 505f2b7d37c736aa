"""The four methods of the study, at any layer and for any of the five problems."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lens_rome.editing import EditingProblem, editing_problems, preset, problem_noise, problem_preset
from lens_rome.editing.finetune import window_layers
from lens_rome.errors import EditError

METHODS = ("FT-1", "FT-5", "ROME", "MEMIT")
"""As the paper calls them: fine-tuning of one layer and of five, and the two editors."""
WIDTH = 5
"""Layers of FT-5 and of MEMIT."""


@dataclass(frozen=True)
class Method:
    """An editor that can be put at any layer.

    Raises:
        EditError: an editor without a layer, a width below 1, or a name with "|", which divides the ids of rows.
    """

    name: str
    editor: Any
    """Its settings; the layer in them is replaced."""
    width: int = 1
    """Layers that it edits, around the one it is put at."""
    by_problem: Mapping[str, Any] = field(default_factory=dict)
    """Other settings for some problems, by their names."""

    def __post_init__(self) -> None:
        if not self.name or "|" in self.name:
            raise EditError(f'a method has a name without "|", which divides the ids of rows; got {self.name!r}.')
        if self.width < 1:
            raise EditError(f"a method edits one layer at least, got a width of {self.width}.")
        for editor in (self.editor, *self.by_problem.values()):
            if not (hasattr(editor, "layer") or hasattr(editor, "layers")):
                raise EditError(f"{self.name} is to be put at layers, and {type(editor).__name__} has none to set.")
            if hasattr(editor, "layer") and self.width != 1:
                raise EditError(f"{self.name} edits one layer, so its width is 1; got {self.width}.")

    def at(self, problem: EditingProblem, layer: int, n_layers: int) -> Any:
        """The editor for a problem, with `layer` in the middle of its window (cut off at the ends of the model).

        Raises:
            EditError: no such layer.
        """
        editor, layers = self.by_problem.get(problem.name, self.editor), window_layers(layer, self.width, n_layers)
        return replace(editor, layer=layer) if hasattr(editor, "layer") else replace(editor, layers=layers)


def study_methods(model: str, names: tuple[str, ...] = METHODS) -> tuple[Method, ...]:
    """The methods with the settings that are known for a model: the paper's for GPT-J and GPT-2 XL, ours for the atlas.

    Where the paper names no bound of fine-tuning for a problem, that of error injection stands (docs/fidelity.md).

    Args:
        model: `gpt-j-6b`, `gpt2-xl` or `atlas`.
        names: some of `METHODS`.

    Raises:
        EditError: no such method, or no settings for the model; build `Method` values then.
    """
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        raise EditError(f"the study has no method {unknown[0]!r}; it has {', '.join(METHODS)}.")
    return tuple(_method(name, model) for name in names)


def _method(name: str, model: str) -> Method:
    width = WIDTH if name in ("FT-5", "MEMIT") else 1
    return Method(name, preset(name, model), width, _published(name, model))


def _published(name: str, model: str) -> dict[str, Any]:
    """Settings of single problems; none for a model that the paper is not about."""
    try:
        problems = editing_problems(problem_noise(model))
    except EditError:
        return {}
    found = {}
    for problem in problems:
        try:
            found[problem.name] = problem_preset(problem, name, model)
        except EditError:
            continue
    return found
