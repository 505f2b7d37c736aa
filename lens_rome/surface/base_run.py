"""What a run leaves behind so that later runs can start in the middle of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Int

from lens_rome._typing import Tensor, Tokens
from lens_rome.surface.site import Site


class _RowsOf(Sequence[Tensor]):
    """Some rows of each tensor, copied when asked for."""

    def __init__(self, tensors: Sequence[Tensor], rows: Int[Tensor, " row"]) -> None:
        self._tensors, self._rows = tensors, rows

    def __len__(self) -> int:
        return len(self._tensors)

    def __getitem__(self, index: int) -> Tensor:  # type: ignore[override] - no slices
        tensor = self._tensors[index]
        return tensor[self._rows.to(tensor.device)]


@dataclass(frozen=True)
class BaseRun:
    """Activations of one run over full sequences, enough to resume at any block and position.

    Memory: `n_layers · batch · pos · (d_model + keys and values)` numbers.
    """

    tokens: Tokens
    resid: tuple[Tensor, ...]
    """`resid[l]`: residual entering block l, `[batch, pos, d_model]`; the last one leaves the last block."""
    keys: Sequence[Tensor]
    """Attention keys by layer, in the surface's own layout."""
    values: Sequence[Tensor]
    kept: dict[Site, Tensor] = field(default_factory=dict)
    """Other activations that were asked for, `[batch, pos, ...]`."""
    position_dim: int = 1
    """Dimension of positions in keys and values."""
    padding: Int[Tensor, " batch"] | None = None
    """Positions at the beginning of each row that stand for nothing, on the CPU; None where there are none."""

    @property
    def batch(self) -> int:
        """Number of rows of the run."""
        return int(self.tokens.shape[0])

    @property
    def n_positions(self) -> int:
        """Number of positions of the run."""
        return int(self.tokens.shape[1])

    def select(self, rows: Int[Tensor, " row"]) -> "BaseRun":
        """The run of some of its rows; copies."""

        def of(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
            return tuple(tensor[rows.to(tensor.device)] for tensor in tensors)

        return replace(
            self,
            tokens=of((self.tokens,))[0],
            resid=of(self.resid),
            keys=of(self.keys),
            values=of(self.values),
            kept=dict(zip(self.kept, of(tuple(self.kept.values())), strict=True)),
            padding=None if self.padding is None else self.padding[rows.cpu()],
        )

    def continued(self, tokens: Tokens, rows: Int[Tensor, " row"]) -> "BaseRun":
        """The run that rows of `tokens` resume, row `i` of them at some position of the run's row `rows[i]`, with which
        it agrees up to there. Keys and values are copied when they are asked for, a layer at a time.
        """
        assert self.padding is None, "a run that is continued has no padding on the left"
        keys, values = (_RowsOf(kept, rows) for kept in (self.keys, self.values))
        return replace(self, tokens=tokens, resid=(), keys=keys, values=values, kept={})

    def aligned(self, starts: Int[Tensor, " batch"], after: int, first: int = 0) -> "BaseRun":
        """The run with every row moved to the right until the rows' positions `starts` are one, so that rows which
        change from different positions on resume together, at block `first` or later.

        Of each row the `after` positions from its start on are left, and all before. What is moved in stands for
        nothing: on the left `padding` says so, and on the right, where a row has no more positions, its last one is
        repeated. Copies what such runs need: keys and values before the start, nothing of the blocks below `first`.
        """
        start = int(starts.max())
        moved, total = (start - starts).cpu(), start + after
        source = (torch.arange(total) - moved[:, None]).clamp(0, self.n_positions - 1)

        def move(tensor: Tensor, dim: int, length: int) -> Tensor:
            rows, at = torch.arange(len(source))[:, None].to(tensor.device), source[:, :length].to(tensor.device)
            return tensor.movedim(dim, 1)[rows, at].movedim(1, dim)

        def of(tensors: Sequence[Tensor], dim: int, length: int) -> tuple[Tensor, ...]:
            return tuple(move(tensor, dim, length if i >= first else 0) for i, tensor in enumerate(tensors))

        return replace(
            self,
            tokens=move(self.tokens, 1, total),
            resid=of(self.resid, 1, total),
            keys=of(self.keys, self.position_dim, start),
            values=of(self.values, self.position_dim, start),
            kept={site: move(tensor, 1, total) for site, tensor in self.kept.items()},
            padding=moved if bool(moved.any()) else None,
        )

    def attended(self, length: int, repeats: int) -> Int[Tensor, "row pos"] | None:
        """1 for each of the first `length` positions that stands for something, 0 for padding, each row `repeats`
        times; None without padding.
        """
        return None if self.padding is None else self._mask[:, :length].repeat(repeats, 1)

    @cached_property
    def _mask(self) -> Int[Tensor, "batch pos"]:
        assert self.padding is not None
        return (torch.arange(self.n_positions) >= self.padding[:, None]).long().to(self.tokens.device)

    @cached_property
    def paddings(self) -> tuple[tuple[int, ...], Int[Tensor, " batch"] | None]:
        """The different numbers of padded positions, and which of them each row has; None where there is but one."""
        if self.padding is None:
            return (0,), None
        distinct, which = self.padding.unique(return_inverse=True)
        return tuple(distinct.tolist()), which.to(self.tokens.device)

    def __getitem__(self, site: Site) -> Tensor:
        return self.kept[site]
