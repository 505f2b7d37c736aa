"""Published settings by name, and where they come from.

Layers, clamps, weights and bounds are those of the released hyper-parameter files; what these have in common is the
editors' default. Without BOS, as published. `atlas` is ours, measured on the bundled model (docs/editors.md).

FT-1 and FT-5 are those of Hase et al. (https://arxiv.org/abs/2301.04213) for their ordinary edits, error injection;
`problem_preset` has the other problems. FT-W is MEMIT's baseline (https://arxiv.org/abs/2210.07229), a whole block but
its norms, which are no parameters of an edit.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lens_rome.editing.finetune import FineTune
from lens_rome.editing.memit import EMMET, MEMIT, AlphaEdit
from lens_rome.editing.neurons import KnowledgeNeurons
from lens_rome.editing.problem_presets import problem_preset
from lens_rome.editing.problems import ErrorInjection
from lens_rome.editing.rome import ROME, RROME
from lens_rome.editing.value import ValueSettings
from lens_rome.errors import EditError

Preset = Callable[[], Any]

_BLOCK = ("W_in", "b_in", "W_out", "b_out", "W_Q", "W_K", "W_V", "W_O")
"""The parameters of a GPT-J block but its norms; its attention has no biases."""


def _rome(layer: int, clamp: float) -> dict[str, Preset]:
    value = ValueSettings(clamp=clamp)
    return {
        "ROME": lambda: ROME(layer, value=value, prepend_bos=False),
        "p-ROME": lambda: ROME(layer, value=value, prepend_bos=False, bare=True),
        "R-ROME": lambda: RROME(layer, value=value, prepend_bos=False),
    }


def _spread(layers: range, steps: int, memit: float, emmet: tuple[int, float]) -> dict[str, Preset]:
    value, (layer, weight) = ValueSettings(steps=steps, clamp=0.75), emmet
    several = tuple(layers)
    return {
        "MEMIT": lambda: MEMIT(several, value=value, weight=memit, prepend_bos=False),
        "EMMET": lambda: EMMET((layer,), value=value, weight=weight, ridge=0.1, prepend_bos=False),
        "AlphaEdit": lambda: AlphaEdit(several, value=value, prepend_bos=False),
    }


def _tuned(layer: int, bounds: tuple[int, float] | None = None) -> dict[str, Preset]:
    """Fine-tuning of one layer, and of another within a bound."""
    found: dict[str, Preset] = {"FT": lambda: FineTune((layer,), prepend_bos=False)}
    if bounds is not None:
        bounded, bound = bounds
        found["FT+L"] = lambda: FineTune((bounded,), norm_bound=bound, prepend_bos=False)
    return found


def _windows(model: str) -> dict[str, Preset]:
    """Fine-tuning of one layer and of five, around the one that ROME edits."""
    return {
        "FT-1": lambda: problem_preset(ErrorInjection(), "FT-1", model),
        "FT-5": lambda: problem_preset(ErrorInjection(), "FT-5", model),
    }


_ATLAS_ROME = ValueSettings(steps=40, stop_loss=0.01)
_ATLAS_SPREAD = ValueSettings(steps=25, stop_loss=0.02, clamp=0.75)

_PRESETS: dict[str, dict[str, Preset]] = {
    "gpt2-medium": {**_rome(8, 3.0), "FT+L": lambda: FineTune((0,), norm_bound=2e-3, prepend_bos=False)},
    "gpt2-large": {**_rome(12, 4.0), "FT+L": lambda: FineTune((0,), norm_bound=1e-3, prepend_bos=False)},
    "gpt2-xl": {
        **_rome(17, 4.0),
        **_spread(range(13, 18), 20, 20000.0, (17, 1000.0)),
        **_tuned(1, (0, 5e-4)),
        **_windows("gpt2-xl"),
        "KN": lambda: KnowledgeNeurons(faithful=True, prepend_bos=False),
    },
    "gpt-j-6b": {
        **_rome(5, 4.0),
        **_spread(range(3, 9), 25, 15000.0, (5, 1.0)),
        **_tuned(21, (0, 5e-5)),
        **_windows("gpt-j-6b"),
        "FT-W": lambda: FineTune((21,), _BLOCK, prepend_bos=False),
    },
    "gpt-neox-20b": _rome(15, 4.0),
    "atlas": {
        "ROME": lambda: ROME(1, value=_ATLAS_ROME),
        "p-ROME": lambda: ROME(1, value=_ATLAS_ROME, bare=True),
        "R-ROME": lambda: RROME(1, value=_ATLAS_ROME),
        "MEMIT": lambda: MEMIT((0, 1, 2), value=_ATLAS_SPREAD, weight=20.0),
        "EMMET": lambda: EMMET((1,), value=_ATLAS_SPREAD),
        "AlphaEdit": lambda: AlphaEdit((0, 1, 2), value=_ATLAS_SPREAD, threshold=0.04, penalty=0.5),
        "FT": lambda: FineTune((0,), lr=2e-3),
        "FT+L": lambda: FineTune((0,), lr=2e-3, norm_bound=1e-2),
        "FT-1": lambda: replace(FineTune.window(0, 1, 8, norm_bound=1e-2), lr=2e-3),
        "FT-5": lambda: replace(FineTune.window(1, 5, 8, norm_bound=1e-2), lr=2e-3),
        "FT-W": lambda: FineTune((0,), (*_BLOCK, "b_Q", "b_K", "b_V", "b_O")),
        "KN": KnowledgeNeurons,
    },
}

_TRAINED = ("MEND", "KE", "KNOWLEDGEEDITOR")

EDITORS = tuple(_PRESETS["atlas"])
"""Editors that have presets."""


def preset(editor: str, model: str) -> Any:
    """The published settings of an editor for a model; without BOS, as they were published.

    Args:
        editor: one of `EDITORS`, such as `"ROME"`, `"R-ROME"`, `"MEMIT"` or `"FT+L"`; upper and lower case are the
            same.
        model: `gpt2-medium`, `gpt2-large`, `gpt2-xl`, `gpt-j-6b`, `gpt-neox-20b`, or `atlas` (measured by us; follows
            the model's BOS). A hub owner before the name is ignored, also as in the released code's file names
            (`EleutherAI_gpt-j-6B`).

    Returns:
        The editor, a frozen dataclass: `dataclasses.replace` changes single settings.

    Raises:
        EditError: unknown editor or model, or no settings of the one for the other.

    >>> preset("ROME", "EleutherAI/gpt-j-6B").layer
    5
    """
    names = {name.upper(): name for name in EDITORS} | {"RROME": "R-ROME"}
    name = names.get(editor.upper())
    if name is None:
        hint = " A trained editor has no preset: train one with its fit(...)." if editor.upper() in _TRAINED else ""
        raise EditError(f"no presets for editor {editor!r}; there are presets for {', '.join(EDITORS)}.{hint}")
    known = _PRESETS.get(model.split("/")[-1].lower().removeprefix("eleutherai_"))
    if known is None:
        raise EditError(
            f"no preset for model {model!r}; there are presets for {', '.join(_PRESETS)}. Give the editor's own "
            "settings instead, the layer at least."
        )
    if name not in known:
        raise EditError(f"no preset of {name} for {model!r}; there are {', '.join(known)}. Give its own settings.")
    return known[name]()
