"""Second moments of several layers: what editors take as `moments=`, and its file."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from lens_rome._files import load_tensors, save_tensors
from lens_rome._typing import Tensor
from lens_rome.errors import FileFormatError, MomentError
from lens_rome.moments.moment import MomentOrigin, SecondMoment

_FILE_KIND = "moments"


class Remembered(Protocol):
    """An edit that says which keys it wrote at."""

    @property
    def keys(self) -> Mapping[int, Tensor]:
        """Keys `[n, d_mlp]` by layer."""
        ...


class SecondMoments(Mapping[int, SecondMoment]):
    """Second moments by layer; what an editor takes as `moments=`."""

    def __init__(self, moments: Mapping[int, SecondMoment] | list[SecondMoment]) -> None:
        values = list(moments.values()) if isinstance(moments, Mapping) else moments
        self._by_layer = {moment.layer: moment for moment in sorted(values, key=lambda moment: moment.layer)}

    def __getitem__(self, layer: int) -> SecondMoment:
        return self._by_layer[layer]

    def __iter__(self):
        return iter(self._by_layer)

    def __len__(self) -> int:
        return len(self._by_layer)

    def __repr__(self) -> str:
        return "SecondMoments(\n" + "".join(f"  {moment!r}\n" for moment in self.values()) + ")"

    def conditioned(self, edit: Remembered) -> "SecondMoments":
        """The same moments, with the keys that `edit` wrote at in their memory: editors that are given them leave the
        outputs for those keys alone as far as they can, as AlphaEdit does (https://arxiv.org/abs/2410.02355).

        Layers that the edit did not touch stay as they are. The model that is edited next is the one with `edit` in it.

        Raises:
            MomentError: the edit keeps no keys, or of a layer that is not among the moments, or of another width.
        """
        if not edit.keys:
            raise MomentError(
                "the edit does not say which keys it wrote at, so nothing of it can be remembered. Only editors that "
                "solve for keys (MEMIT, EMMET, AlphaEdit, ROME) keep them."
            )
        missing = sorted(set(edit.keys) - set(self))
        if missing:
            raise MomentError(
                f"the edit wrote at layers {sorted(edit.keys)}, the moments hold layers {list(self)}. Collect layers "
                f"{missing} as well."
            )
        return SecondMoments(
            [moment.conditioned(edit.keys[layer]) if layer in edit.keys else moment for layer, moment in self.items()]
        )

    def save(self, path: str | Path) -> Path:
        """Write all layers to one safetensors file.

        Raises:
            FileFormatError: the folder does not exist, or a name that ends in `.npz`, which would be read as another
                format.
        """
        if Path(path).suffix == ".npz":
            raise FileFormatError(f"cannot write {path}: .npz is the published format. Name the file *.safetensors.")
        tensors: dict[str, Tensor] = {}
        described = {}
        for layer, moment in self.items():
            tensors[f"{layer}.total"] = moment.total
            if moment.probe is not None:
                tensors[f"{layer}.probe"] = moment.probe
            if moment.half_total is not None:
                tensors[f"{layer}.half_total"] = moment.half_total
            if moment.memory is not None:
                tensors[f"{layer}.memory"] = moment.memory
            described[str(layer)] = {
                "count": moment.count,
                "half_count": moment.half_count,
                "origin": asdict(moment.origin),
            }
        return save_tensors(path, _FILE_KIND, tensors, {"layers": described})

    @classmethod
    def load(cls, path: str | Path) -> "SecondMoments":
        """Read what `save` wrote, or a published `.npz` of one layer.

        Raises:
            FileFormatError: truncated, corrupt, or not a file of moments.
        """
        if Path(path).suffix == ".npz":
            return cls([SecondMoment.from_npz(path)])
        tensors, header = load_tensors(path, _FILE_KIND)
        try:
            return cls(
                [
                    SecondMoment(
                        int(layer),
                        tensors[f"{layer}.total"],
                        item["count"],
                        MomentOrigin(**item["origin"]),
                        tensors.get(f"{layer}.probe"),
                        tensors.get(f"{layer}.half_total"),
                        item["half_count"],
                        tensors.get(f"{layer}.memory"),
                    )
                    for layer, item in header["layers"].items()
                ]
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise FileFormatError(f"{path} is not a complete file of moments: {error!r}.") from error
