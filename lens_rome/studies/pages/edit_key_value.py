"""What the key and the value of an edit are, and how its editor writes the one at the other, in words."""

from collections.abc import Mapping
from typing import Any

from lens_rome.studies.pages.elements import Markup, tag

_TOKENS = {
    "subject_last": "the subject’s last token",
    "subject_first": "the subject’s first token",
    "subject_first_after_last": "the first token after the subject",
    "last": "the prompt’s last token",
}
_RANK_ONE = ("ROME", "p-ROME", "R-ROME")
_SHARE = "what is still missing of the value, each layer its share"
_CHANGES = {
    "ROME": "The change of the weight is of rank 1. Its direction is that of the averaged key, its size such that the "
    "key of the prompt alone is mapped exactly to the value; after other contexts it is so about.",
    "p-ROME": "The change of the weight is of rank 1 and maps the key exactly to the value.",
    "R-ROME": "The change of the weight is of rank 1 and maps the averaged key exactly to the value.",
    "MEMIT": f"The changes of the weights bring, at the key, {_SHARE}: in part only, for the request is weighed "
    "against many keys of the corpus.",
    "EMMET": f"The changes of the weights bring, at the key, {_SHARE}, and that exactly.",
    "AlphaEdit": f"The changes of the weights bring, at the key, {_SHARE}: in part only, for they are weighed against "
    "their own size.",
}
"""By editor; of others nothing is claimed."""
_LEAST = "Of all such changes of a layer it is the one that moves the keys of the corpus least, in the mean square."
_OTHERS = {
    "ROME": "The inverse second moment turns the direction away from keys that the corpus has often, so that these "
    "move little.",
    "MEMIT": "How far keys of the corpus move, in the mean square, is the other side of that balance.",
    "AlphaEdit": "Keys of the corpus are kept by writing only in directions that the corpus hardly uses.",
}
"""What becomes of the keys of other texts; `_LEAST` where nothing else is said."""


def key_and_value(provenance: Mapping[str, Any]) -> list[Markup]:
    """What both are, for editors that write a value at a key."""
    settings = provenance.get("settings", {})
    if "lookup" not in settings:
        return []
    told = [_key(provenance, settings), _value(provenance), *_change(provenance)]
    return [tag("p", " ".join(told))]


def is_identity(provenance: Mapping[str, Any]) -> bool:
    """Whether the editor was given no second moment, but the word `identity`."""
    told: Any = provenance.get("moment", {})
    found = [told, *(told.values() if isinstance(told, Mapping) else ())]
    return any(isinstance(each, Mapping) and each.get("corpus") == "identity" for each in found)


def _key(provenance: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    token = _TOKENS.get(str(settings["lookup"]), str(settings["lookup"]))
    contexts = sum(bool(each) for each in provenance.get("contexts", ()))
    several = f"{contexts} context{'s' * (contexts != 1)} in front of it"
    alone = ", after the prompt alone" if provenance.get("editor") == "p-ROME" else ""
    averaged = alone or (f", averaged over the prompt alone and with {several}" if contexts else "")
    return f"The key is what the MLP’s neurons hold at {token}{averaged}: the address that the fact is looked up at."


def _value(provenance: Mapping[str, Any]) -> str:
    losses = provenance.get("losses", ())
    steps = f" in {len(losses[0])} steps" if len(losses) == 1 and losses[0] else ""
    what = "MLP’s output there" if provenance.get("editor") in _RANK_ONE else "state of the last edited layer there"
    return f"The value is the {what} that makes the model say the new object, found{steps} of gradient descent."


def _change(provenance: Mapping[str, Any]) -> list[str]:
    """How the one is written at the other, and what is said of other keys."""
    editor = str(provenance.get("editor"))
    if editor not in _CHANGES:
        return []
    factor = provenance.get("scaled", 1.0)
    scaled = [] if factor == 1 else [f"This edit is {factor:g} times that change."]
    return [_CHANGES[editor], *scaled, _others(editor, provenance)]


def _others(editor: str, provenance: Mapping[str, Any]) -> str:
    """What the change does to the keys of other texts, by what the editor was told of them."""
    if is_identity(provenance):
        return (
            "It was made without a second moment (moments=“identity”), so that nothing keeps other keys of a corpus as "
            "they are."
        )
    return _OTHERS.get(editor, _LEAST)
