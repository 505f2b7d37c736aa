"""The network of KnowledgeEditor: from a request's text and gradient to a change of each matrix.

Reference: De Cao, Aziz and Titov 2021, https://arxiv.org/abs/2104.08164, §3.2.
"""

import torch
from jaxtyping import Bool, Float
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.rnn import pack_padded_sequence

from lens_rome._typing import Tensor
from lens_rome.editing.delta import Place
from lens_rome.editing.learned.changes import Change, Changes
from lens_rome.editing.learned.gradients import Factors, GradientFactors
from lens_rome.editing.learned.network import EditorNetwork, Structure, place_name

MAX_SCALE = 1.0
"""Largest factor of a change, reached where the gate is fully open; the released code's."""


class _Condition(nn.Module):
    """A bidirectional LSTM over the token embeddings of prompt and target, then a tanh layer."""

    def __init__(self, d_model: int, width: int, size: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.lstm = nn.LSTM(d_model, width, bidirectional=True, batch_first=True, dtype=dtype)
        self.out = nn.Linear(2 * width, size, dtype=dtype)

    def forward(
        self, embedded: Float[Tensor, "request pos d_model"], mask: Bool[Tensor, "request pos"]
    ) -> Float[Tensor, "request size"]:
        # Embeddings are of any scale (GPT-2's are small): the LSTM gets them with length sqrt(d_model).
        embedded = nn.functional.layer_norm(embedded, embedded.shape[-1:])
        packed = pack_padded_sequence(embedded, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        _, (last, _) = self.lstm(packed)
        return torch.tanh(self.out(torch.cat([last[0], last[1]], -1)))


class _Head(nn.Module):
    """From the condition to `softmax(row_a)`, `col_a`, `softmax(row_b)`, `col_b` and the gate of one matrix.

    The rows are scaled so that an even softmax is 1 everywhere; without that the first changes would be smaller by
    the size of the matrix.
    """

    def __init__(self, d_in: int, d_out: int, size: int, hidden: int, step_size: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.parts = (d_in, d_out, d_in, d_out, 1)
        self.inner = weight_norm(nn.Linear(size, hidden, dtype=dtype))
        last = nn.Linear(hidden, sum(self.parts), dtype=dtype)
        with torch.no_grad():
            last.weight *= 0.1
            last.bias.zero_()
            last.bias[d_in : d_in + d_out] = -2 * step_size  # the gate is half open: a gradient step at first
        self.last = weight_norm(last)

    def forward(self, condition: Float[Tensor, "request size"]) -> tuple[Tensor, ...]:
        row_a, col_a, row_b, col_b, gate = self.last(torch.tanh(self.inner(condition))).split(self.parts, -1)
        row_a, row_b = (row.softmax(-1) * row.shape[-1] for row in (row_a, row_b))
        return row_a, col_a, row_b, col_b, MAX_SCALE * gate.sigmoid()


class KnowledgeEditorNetwork(EditorNetwork):
    """`W ← W + s · (G ⊙ a + b)`: the gradient times a rank-one matrix `a`, plus a rank-one matrix `b`, times a gate.

    `G ⊙ (r ⊗ c)` is `diag(r) G diag(c)` and `G = Σ_t x_t ⊗ δ_t`, so the change has one factor a token and one more;
    neither G nor the change is ever made.
    """

    def __init__(self, structure: Structure, width: int, hidden: int, step_size: float) -> None:
        super().__init__()
        dtype = structure.dtype
        self.condition = _Condition(structure.d_model, width, hidden, dtype)
        self.heads = nn.ModuleDict(
            {
                place_name(place): _Head(*structure.shapes[place[1]], hidden, hidden, step_size, dtype)
                for place in structure.places
            }
        )

    def forward(self, factors: GradientFactors) -> Changes:
        """The change of each request."""
        dtype = self.condition.out.weight.dtype
        condition = self.condition(factors.embedded.to(dtype), factors.mask)
        return {place: self._change(place, found, condition) for place, found in factors.at.items()}

    def _change(self, place: Place, found: Factors, condition: Tensor) -> Change:
        row_a, col_a, row_b, col_b, gate = self.heads[place_name(place)](condition)
        kept = found.kept[..., None]
        left = torch.cat([found.x.to(row_a) * kept * row_a[:, None], row_b[:, None]], 1)
        right = torch.cat([found.delta.to(col_a) * kept * col_a[:, None], col_b[:, None]], 1)
        return Change(left, right * gate[:, None])
