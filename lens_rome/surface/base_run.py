"""What a run leaves behind so that later runs can start in the middle of it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Int

from lens_rome._typing import Tensor, Tokens
from lens_rome.surface.site import Site


@dataclass(frozen=True)
class BaseRun:
    """Activations of one run over full sequences, enough to resume at any block and position.

    Memory: `n_layers · batch · pos · (d_model + keys and values)` numbers.
    """

    tokens: Tokens
    resid: tuple[Tensor, ...]
    """`resid[l]`: residual entering block l, `[batch, pos, d_model]`; the last one leaves the last block."""
    keys: tuple[Tensor, ...]
    """Attention keys by layer, in the surface's own layout."""
    values: tuple[Tensor, ...]
    kept: dict[Site, Tensor] = field(default_factory=dict)
    """Other activations that were asked for, `[batch, pos, ...]`."""
    position_dim: int = 1
    """Dimension of positions in keys and values."""
    padding: Int[Tensor, " batch"] | None = None
    """Positions at the beginning of each row that stand for nothing; None where there are none."""

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
        padding = None if self.padding is None else self.padding[rows.to(self.padding.device)]
        return self._map(lambda tensor, _: tensor[rows.to(tensor.device)], padding)

    def aligned(self, starts: Int[Tensor, " batch"], after: int) -> "BaseRun":
        """The run with every row moved to the right until the rows' positions `starts` are one, so that rows which
        change from different positions on resume together.

        Of each row the `after` positions from its start on are left, and all before. What is moved in stands for
        nothing: on the left `padding` says so, and on the right, where a row has no more positions, its last one is
        repeated. Copies.
        """
        start, device = int(starts.max()), self.tokens.device
        moved = (start - starts).to(device)
        source = (torch.arange(start + after, device=device) - moved[:, None]).clamp(0, self.n_positions - 1)

        def move(tensor: Tensor, dim: int) -> Tensor:
            rows, at = torch.arange(len(source), device=tensor.device)[:, None], source.to(tensor.device)
            return tensor.movedim(dim, 1)[rows, at].movedim(1, dim)

        return self._map(move, moved if bool(moved.any()) else None)

    def attended(self, length: int, repeats: int) -> Int[Tensor, "row pos"] | None:
        """1 for each of the first `length` positions that stands for something, 0 for padding, each row `repeats`
        times; None without padding.
        """
        if self.padding is None:
            return None
        positions = torch.arange(length, device=self.padding.device)
        return (positions >= self.padding[:, None]).long().repeat(repeats, 1)

    def _map(self, change: Callable[[Tensor, int], Tensor], padding: Int[Tensor, " other_batch"] | None) -> "BaseRun":
        """`change(tensor, dimension of positions)` of everything that is kept, and the padding that it then has."""
        return replace(
            self,
            padding=padding,
            tokens=change(self.tokens, 1),
            resid=tuple(change(tensor, 1) for tensor in self.resid),
            keys=tuple(change(tensor, self.position_dim) for tensor in self.keys),
            values=tuple(change(tensor, self.position_dim) for tensor in self.values),
            kept={site: change(tensor, 1) for site, tensor in self.kept.items()},
        )

    def __getitem__(self, site: Site) -> Tensor:
        return self.kept[site]
