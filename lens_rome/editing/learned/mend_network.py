"""The network of MEND: from the gradient factors of a token to those of an edit.

Reference: MEND, https://arxiv.org/abs/2110.11309, §3.2. One network for each kind of matrix, shared by all layers; a
layer has a scale and a shift of its own in it, and a step size.
"""

from typing import ClassVar, cast

import torch
from jaxtyping import Float
from torch import nn

from lens_rome._typing import Tensor
from lens_rome.editing.delta import Place
from lens_rome.editing.learned.changes import Change, Changes
from lens_rome.editing.learned.gradients import Factors, GradientFactors
from lens_rome.editing.learned.network import EditorNetwork, Structure, place_name
from lens_rome.editing.learned.statistics import RunningStatistics

_BLOCKS = 2


class _Block(nn.Module):
    """`h + max(0, s · (U V h + b) + o)` with scale `s` and shift `o` of the layer; the identity at first."""

    def __init__(self, size: int, rank: int, n_layers: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, size, dtype=dtype) / size**0.5)
        self.up = nn.Parameter(torch.zeros(size, rank, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(size, dtype=dtype))
        self.scale = nn.Parameter(torch.ones(n_layers, size, dtype=dtype))
        self.shift = nn.Parameter(torch.zeros(n_layers, size, dtype=dtype))

    def forward(self, h: Float[Tensor, "token size"], layer: int) -> Float[Tensor, "token size"]:
        inner = self.scale[layer] * (h @ self.down.T @ self.up.T + self.bias) + self.shift[layer]
        return h + inner.clamp(min=0)  # not relu: its gradient at 0, where all begins, is 0


class _MatrixNetwork(nn.Module):
    """Normalised factors of one kind of matrix in, edited factors out."""

    def __init__(self, d_in: int, d_out: int, rank: int, n_layers: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.inputs, self.gradients = RunningStatistics(d_in), RunningStatistics(d_out)
        size = d_in + d_out
        self.blocks = nn.ModuleList([_Block(size, min(rank, size), n_layers, dtype) for _ in range(_BLOCKS)])

    def observe(self, x: Tensor, delta: Tensor) -> None:
        self.inputs.add(x)
        self.gradients.add(delta)

    def forward(self, x: Tensor, delta: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        h = torch.cat([self.inputs.normalise(x), self.gradients.normalise(delta)], -1)
        for block in self.blocks:
            h = block(h, layer)
        return h[:, : x.shape[1]], h[:, x.shape[1] :]


class MENDNetwork(EditorNetwork):
    """`W ← W - α Σ_t x̃_t ⊗ δ̃_t` for every matrix, with the minus sign of the paper (the released code adds).

    Step sizes α are named by layer and matrix, so no order of anything can mix them up.
    """

    keeps_statistics: ClassVar[bool] = True

    def __init__(self, structure: Structure, rank: int, step_size: float) -> None:
        super().__init__()
        dtype, self.layers = structure.dtype, structure.layers
        self.matrices = nn.ModuleDict(
            {name: _MatrixNetwork(*shape, rank, len(self.layers), dtype) for name, shape in structure.shapes.items()}
        )
        self.step_sizes = nn.ParameterDict(
            {place_name(place): nn.Parameter(torch.tensor(step_size, dtype=dtype)) for place in structure.places}
        )

    def forward(self, factors: GradientFactors) -> Changes:
        """The change of each request."""
        return {place: self._change(place, found) for place, found in factors.at.items()}

    def _change(self, place: Place, found: Factors) -> Change:
        step_size = self.step_sizes[place_name(place)]
        x, delta = (part[found.kept].to(step_size) for part in (found.x, found.delta))
        x, delta = self.matrices[place[1]](x, delta, self.layers.index(place[0]))
        left = x.new_zeros(found.x.shape).index_put((found.kept,), x)
        right = delta.new_zeros(found.delta.shape).index_put((found.kept,), -step_size * delta)
        return Change(left, right)

    def observe(self, factors: GradientFactors) -> None:
        """Count the factors into the running statistics; only training does."""
        for (_, name), found in factors.at.items():
            cast(_MatrixNetwork, self.matrices[name]).observe(found.x[found.kept], found.delta[found.kept])
