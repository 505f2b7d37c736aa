"""Uncentred second moments E[k kᵀ] of MLP keys: what ROME and its kin mean by "C". One per layer, stored with its
origin.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Float

from lens_rome._files import load_tensors, save_tensors
from lens_rome._linalg import CholeskySolver, NotPositiveDefiniteError
from lens_rome._typing import Tensor
from lens_rome.errors import FileFormatError, MomentError
from lens_rome.moments.probe import same_keys

_FILE_KIND = "moments"
_SYMMETRY = 1e-3  # largest difference between two mirrored entries, in units of their dimensions' root mean squares
_HALF = (0.4, 0.6)  # shares of the tokens that pass for a half


@dataclass(frozen=True)
class MomentOrigin:
    """Where a moment comes from."""

    model: str
    prepend_bos: bool | None
    """Whether BOS stood before each text; None where any setting will do (the identity)."""
    corpus: str = ""
    n_texts: int = 0
    texts_digest: str = ""
    """sha256 over the texts that were read, in order."""


@dataclass(frozen=True, eq=False)
class SecondMoment:
    """Sum and count of `k kᵀ` over the tokens of a corpus, for one layer. Memory: `8 · d_mlp²` bytes."""

    layer: int
    total: Float[Tensor, "d_mlp d_mlp"]
    """Sum of outer products, float64."""
    count: int
    """Number of tokens in the sum."""
    origin: MomentOrigin
    probe: Float[Tensor, "probe d_mlp"] | None = field(default=None)
    """Keys of a fixed probe text, to recognise the model; None if unknown."""
    half_total: Float[Tensor, "d_mlp d_mlp"] | None = field(default=None)
    """The sum after about half of the tokens, to measure convergence; None if not kept."""
    half_count: int = 0

    def __post_init__(self) -> None:
        shape = tuple(self.total.shape)
        if len(shape) != 2 or shape[0] != shape[1]:
            raise MomentError(f"a second moment is a square matrix, got shape {shape}.")
        if self.count < 1 or not torch.isfinite(self.total).all():
            raise MomentError(
                f"second moment of layer {self.layer}: {self.count} tokens or values that are not finite. Collect "
                "it again."
            )

    @property
    def d_mlp(self) -> int:
        """Width of the keys."""
        return int(self.total.shape[0])

    @property
    def mean(self) -> Float[Tensor, "d_mlp d_mlp"]:
        """E[k kᵀ], float64."""
        return self.total / self.count

    @cached_property
    def solver(self) -> CholeskySolver:
        """Cholesky factor of `mean`, made on first use.

        Raises:
            MomentError: singular; the message says how many tokens are needed.
        """
        try:
            return CholeskySolver.of(self.mean)
        except NotPositiveDefiniteError as error:
            raise MomentError(
                f"second moment of layer {self.layer} cannot be inverted ({error}): it has {self.count} tokens "
                f"for {self.d_mlp} dimensions. "
                f"It needs clearly more than {self.d_mlp} different tokens; collect about {10 * self.d_mlp}."
            ) from error

    def solve(self, keys: Float[Tensor, "*n d_mlp"]) -> Float[Tensor, "*n d_mlp"]:
        """C⁻¹ k for each row; float64 on the CPU."""
        return self.solver.solve(keys)

    @property
    def condition(self) -> float:
        """Estimated condition number of C."""
        return self.solver.condition

    def turn(self, keys: Float[Tensor, "n d_mlp"]) -> float | None:
        """Mean angle in degrees between C⁻¹k from half of the tokens and from all: how far from converged the
        solution is.

        None if the half was not kept, cannot be inverted, or is no longer about a half of the tokens.
        """
        low, high = _HALF[0] * self.count, _HALF[1] * self.count
        if self.half_total is None or self.half_count <= self.d_mlp or not low <= self.half_count <= high:
            return None
        half = replace(self, total=self.half_total, count=self.half_count, half_total=None, half_count=0)
        try:
            cosine = torch.cosine_similarity(half.solve(keys), self.solve(keys), dim=-1)
        except MomentError:
            return None
        return float(torch.rad2deg(cosine.clamp(-1, 1).acos()).mean())

    def __add__(self, other: "SecondMoment") -> "SecondMoment":
        """Moments of two corpora together, and of their halves where both have one.

        Raises:
            MomentError: another layer, width, BOS setting or model (by the probe; by name where a probe is missing).
        """
        mine, theirs = self._kind(), other._kind()
        if self.probe is None or other.probe is None:
            mine, theirs = (*mine, self.origin.model), (*theirs, other.origin.model)
        if mine != theirs:
            raise MomentError(f"cannot add moments of different (layer, width, BOS, model): {mine} and {theirs}.")
        if self.probe is not None and other.probe is not None and not same_keys(self.probe, other.probe):
            raise MomentError(
                f"cannot add the moments of layer {self.layer} from {self.origin.model!r} and {other.origin.model!r}: "
                "their keys of the probe text differ, so they are not of the same model."
            )
        origin = replace(
            self.origin,
            corpus=f"{self.origin.corpus} + {other.origin.corpus}",
            n_texts=self.origin.n_texts + other.origin.n_texts,
            texts_digest="",
        )
        total, count = self.total + other.total, self.count + other.count
        if self.half_total is None or other.half_total is None:
            return SecondMoment(self.layer, total, count, origin, self.probe)
        half = self.half_total + other.half_total
        return SecondMoment(self.layer, total, count, origin, self.probe, half, self.half_count + other.half_count)

    def _kind(self) -> tuple[object, ...]:
        return self.layer, self.d_mlp, self.origin.prepend_bos

    @classmethod
    def identity(cls, layer: int, d_mlp: int) -> "SecondMoment":
        """The identity: an edit that treats all directions alike. Only for those who ask for it by name."""
        return cls(layer, torch.eye(d_mlp, dtype=torch.float64), 1, MomentOrigin("identity", None, "identity"))

    @classmethod
    def from_npz(cls, path: str | Path, layer: int | None = None) -> "SecondMoment":
        """Read a moment in the released code's `.npz` format (`mom2.mom2` is the sum, `mom2.count` the tokens).

        Such files do not say which model they are for, so only shape is checked on use. They were made without BOS.

        Args:
            path: the file, e.g. `transformer.h.17.mlp.c_proj_float32_mom2_100000.npz`.
            layer: its layer; None to take it from the file's name.

        Raises:
            FileFormatError: not such a file.  MomentError: no layer given or found.
        """
        path = Path(path)
        if layer is None:
            match = re.search(r"\.(?:h|layers)\.(\d+)\.", path.name)
            if match is None:
                raise MomentError(f"the name {path.name} does not tell the layer; pass layer=...")
            layer = int(match.group(1))
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                total, count = torch.from_numpy(file["mom2.mom2"]).double(), int(file["mom2.count"])
        except (OSError, KeyError, ValueError, TypeError, EOFError, BadZipFile) as error:
            raise FileFormatError(
                f"{path} is not a second moment in the .npz format (keys mom2.mom2 and mom2.count): {error}"
            ) from error
        if total.ndim != 2 or total.shape[0] != total.shape[1]:
            raise FileFormatError(f"{path}: a second moment is a square matrix, got shape {tuple(total.shape)}.")
        scale = total.diagonal().clamp_min(0).sqrt()
        if torch.isfinite(total).all() and not ((total - total.T).abs() <= _SYMMETRY * scale[:, None] * scale).all():
            raise FileFormatError(f"{path}: the moment is not symmetric.")
        return cls(layer, total, count, MomentOrigin("unknown", False, path.name))

    def __repr__(self) -> str:
        source = f"{self.count} tokens of {self.origin.corpus!r} in {self.origin.model!r}"
        return f"SecondMoment(layer {self.layer}, {self.d_mlp} dimensions, {source})"


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
                    )
                    for layer, item in header["layers"].items()
                ]
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise FileFormatError(f"{path} is not a complete file of moments: {error!r}.") from error
