"""Published settings by name, and where they come from."""

from lens_rome.editing.rome import ROME, RROME
from lens_rome.editing.value import ValueSettings
from lens_rome.errors import EditError

_EDITORS = {"ROME": ROME, "R-ROME": RROME, "RROME": RROME}

# Layer and clamp from the hyper-parameter files of the released code; everything else is the same in all of them.
_PUBLISHED = {
    "gpt2-medium": (8, 3.0),
    "gpt2-large": (12, 4.0),
    "gpt2-xl": (17, 4.0),
    "gpt-j-6b": (5, 4.0),
    "gpt-neox-20b": (15, 4.0),
}
_OWN = {"atlas": (1, ValueSettings(steps=40, stop_loss=0.01))}
"""Measured on the bundled model: see docs/atlas.md."""


def preset(editor: str, model: str) -> ROME | RROME:
    """The published settings of an editor for a model; without BOS, as they were published.

    Args:
        editor: `"ROME"` or `"R-ROME"`; upper and lower case are the same.
        model: `gpt2-medium`, `gpt2-large`, `gpt2-xl`, `gpt-j-6b`, `gpt-neox-20b`, or `atlas` (measured by us; follows
            the model's BOS). A hub owner before the name is ignored, also as in the released code's file names
            (`EleutherAI_gpt-j-6B`).

    Raises:
        EditError: unknown editor or model.

    >>> preset("ROME", "EleutherAI/gpt-j-6B").layer
    5
    """
    kind = _EDITORS.get(editor.upper())
    if kind is None:
        raise EditError(f"no presets for editor {editor!r}; there are presets for {', '.join(_EDITORS)}.")
    name = model.split("/")[-1].lower().removeprefix("eleutherai_")
    if name in _OWN:
        layer, settings = _OWN[name]
        return kind(layer, value=settings)
    if name not in _PUBLISHED:
        raise EditError(
            f"no preset for model {model!r}; there are presets for {', '.join([*_PUBLISHED, *_OWN])}. Give "
            f"{kind.__name__}(layer=...) instead."
        )
    layer, clamp = _PUBLISHED[name]
    return kind(layer, value=ValueSettings(clamp=clamp), prepend_bos=False)
