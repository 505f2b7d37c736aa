"""Edits as files: one safetensors file with the changes' tensors, the keys, and a description in JSON."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_rome._files import load_tensors, save_tensors
from lens_rome._typing import Tensor
from lens_rome.editing.base import Base
from lens_rome.editing.delta import DELTAS
from lens_rome.errors import FileFormatError

if TYPE_CHECKING:
    from lens_rome.editing.edit import Edit

_FILE_KIND = "edit"
_KEYS = "keys."


def save_edit(edit: "Edit", path: str | Path) -> Path:
    """Write changes, keys and provenance; returns the path."""
    tensors = {f"{_KEYS}{layer}": keys for layer, keys in edit.keys.items()}
    described = []
    for (layer, name), delta in edit.deltas.items():
        tensors |= {f"{layer}.{name}.{part}": tensor for part, tensor in delta.tensors().items()}
        described.append({"layer": layer, "parameter": name, "delta": delta.kind, **vars(edit.bases[layer, name])})
    return save_tensors(path, _FILE_KIND, tensors, {"changes": described, "provenance": dict(edit.provenance)})


def load_fields(path: str | Path) -> dict[str, Any]:
    """What `save_edit` wrote, as the fields of an `Edit`; files from before there were `keys` have none.

    Raises:
        FileFormatError: truncated, corrupt, not an edit, or of a newer kind.
    """
    tensors, header = load_tensors(path, _FILE_KIND)
    deltas, bases = {}, {}
    try:
        for change in header["changes"]:
            place = (change.pop("layer"), change.pop("parameter"))
            kind = DELTAS.get(change.pop("delta"))
            if kind is None:
                raise FileFormatError(
                    f"{path} holds a kind of change that this lens_rome does not know. Update lens_rome."
                )
            deltas[place] = kind.from_tensors(_parts(tensors, f"{place[0]}.{place[1]}."))
            bases[place] = Base.read(change)
        keys = {int(layer): found for layer, found in _parts(tensors, _KEYS).items()}
        return {"deltas": deltas, "bases": bases, "provenance": header.get("provenance", {}), "keys": keys}
    except FileFormatError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise FileFormatError(f"{path} is not a complete edit file: {error!r}.") from error


def _parts(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
