"""Uncentred second moments E[k kᵀ] of MLP keys: what ROME and its kin mean by "C". One per layer, stored with its
origin.
"""

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Float

from lens_rome._linalg import CholeskySolver, NotPositiveDefiniteError
from lens_rome._typing import Tensor
from lens_rome.errors import FileFormatError, MomentError
from lens_rome.moments.probe import same_keys

_SYMMETRY = 1e-3  # largest difference between two mirrored entries, in units of their dimensions' root mean squares
_HALF = (0.4, 0.6)  # shares of the tokens that pass for a half
_FACTORS = ("solver", "spectrum")  # made on first use, and the same for all moments that differ in memory alone


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
    memory: Float[Tensor, "n d_mlp"] | None = field(default=None)
    """Keys that earlier edits wrote at and later ones shall leave alone; None for none. Not part of `mean`."""

    def __post_init__(self) -> None:
        shape = tuple(self.total.shape)
        if len(shape) != 2 or shape[0] != shape[1]:
            raise MomentError(f"a second moment is a square matrix, got shape {shape}.")
        if self.count < 1 or not torch.isfinite(self.total).all():
            raise MomentError(
                f"second moment of layer {self.layer}: {self.count} tokens or values that are not finite. Collect "
                "it again."
            )
        memory = self.memory
        if memory is not None and (memory.ndim != 2 or memory.shape[1] != shape[0] or not memory.isfinite().all()):
            raise MomentError(
                f"the memory of layer {self.layer} is of keys [n, {shape[0]}] with finite values, got shape "
                f"{tuple(memory.shape)}. Pass the keys that an edit of this layer keeps."
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

    @cached_property
    def spectrum(self) -> tuple[Float[Tensor, " d_mlp"], Float[Tensor, "d_mlp d_mlp"]]:
        """Eigenvalues of `mean`, ascending, and its eigenvectors in columns; float64, made on first use."""
        values, vectors = torch.linalg.eigh((self.mean + self.mean.T).double().cpu() / 2)
        return values, vectors

    def solve(self, keys: Float[Tensor, "*n d_mlp"]) -> Float[Tensor, "*n d_mlp"]:
        """C⁻¹ k for each row; float64 on the CPU."""
        return self.solver.solve(keys)

    @property
    def condition(self) -> float:
        """Estimated condition number of C."""
        return self.solver.condition

    def conditioned(self, keys: Float[Tensor, "n d_mlp"]) -> "SecondMoment":
        """The same moment, with `keys` added to its memory; what is factored already is not factored again.

        Raises:
            MomentError: keys of another width, or not finite.
        """
        new = keys.detach().cpu().double()
        known = new[:0] if self.memory is None else self.memory
        if new.ndim == 2 and new.shape[1] == known.shape[1]:
            new = torch.cat([known, new])
        result = replace(self, memory=new)
        vars(result).update({name: vars(self)[name] for name in _FACTORS if name in vars(self)})
        return result

    def unbound(self) -> "SecondMoment":
        """The same moment without its probe, and without what is factored being factored again.

        For a model that has changed since the moment was collected, which the probe would find to be another one.
        """
        result = replace(self, probe=None)
        vars(result).update({name: vars(self)[name] for name in _FACTORS if name in vars(self)})
        return result

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
            MomentError: another layer, width, BOS setting or model (by the probe; by name where a probe is missing),
                or a moment with a memory.
        """
        if self.memory is not None or other.memory is not None:
            raise MomentError(
                f"cannot add moments of layer {self.layer} that remember edits. Add them first, then condition the sum."
            )
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
        memory = "" if self.memory is None else f", {len(self.memory)} keys of edits remembered"
        return f"SecondMoment(layer {self.layer}, {self.d_mlp} dimensions, {source}{memory})"
