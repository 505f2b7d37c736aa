"""What a run leaves behind so that later runs can start in the middle of it."""

from dataclasses import dataclass, field

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

        def of(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(tensor[rows.to(tensor.device)] for tensor in tensors)

        sites, kept = tuple(self.kept), of(tuple(self.kept.values()))
        (tokens,) = of((self.tokens,))
        return BaseRun(tokens, of(self.resid), of(self.keys), of(self.values), dict(zip(sites, kept, strict=True)))

    def __getitem__(self, site: Site) -> Tensor:
        return self.kept[site]
