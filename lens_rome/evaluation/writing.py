"""Rows of tokens that a model continues together, token by token: each position of each row is run once.

Rows of different lengths need no padding: all stand at the same position at any time, and a row whose prompt is longer
than another's reads its own next token there while the other writes one. So rows of about one length belong together.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float

from lens_rome._typing import FwdHooks, HookFunction, Tensor, Tokens
from lens_rome.surface import AbstractSurface, attached, check_resumed, owner_hooks, pad_right

Draw = Callable[[Sequence[int], Float[Tensor, "row d_vocab"]], Sequence[int]]
"""`draw(rows, logits)`: the next token of each of `rows` (indices), whose logits are given in that order."""

ROWS = 32
"""Rows that are written together unless told otherwise; bounds the memory of their keys and values."""


_FEWEST, _MOST = 8, 256
_ON_CPU, _ON_GPU = 256e6, 4e9
"""Bytes of keys and values."""


def rows_within(surface: AbstractSurface, length: int) -> int:
    """How many rows of `length` tokens keep their keys and values within the memory that texts may take."""
    budget = _ON_CPU if surface.device.type == "cpu" else _ON_GPU
    row = 2 * surface.n_layers * surface.d_model * surface.dtype.itemsize * length
    return max(_FEWEST, min(_MOST, int(budget / row)))


def in_batches(rows: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """Indices of all rows, at most `size` at a time, rows of about one length together."""
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    yield from (order[start : start + size] for start in range(0, len(order), size))


class Writer:
    """Continues rows of tokens.

    Keys and values of what is written are kept, so that the work grows with the length of the text and not with its
    square. Where hooks on the model may look at positions (`owner_hooks`), every token takes a run of the whole rows.
    """

    def __init__(self, surface: AbstractSurface) -> None:
        self._surface = surface
        self._checked = False

    @torch.no_grad()
    def write(
        self,
        rows: Sequence[Sequence[int]],
        ends: Sequence[int],
        draw: Draw,
        hooks: FwdHooks | Sequence[tuple[str, HookFunction]] = (),
    ) -> list[list[int]]:
        """Each row with tokens of `draw` after it until it has `ends[i]`; as it is if it has so many already.

        Args:
            hooks: attached after the owner's while all rows run as one batch, row i of it being `rows[i]`.

        Raises:
            SurfaceError: a run that continues another differs from a whole one (looked at once a writer).
        """
        ends = [max(end, len(row)) for row, end in zip(rows, ends, strict=True)]
        tokens = torch.nn.functional.pad(pad_right(rows)[0], (0, max(ends) - max(map(len, rows))))
        place = min(map(len, rows))
        last = max((end for row, end in zip(rows, ends, strict=True) if end > len(row)), default=place)
        with attached(self._surface.model, hooks):
            said = self._runs(len(rows))
            while place < last:
                logits = said(tokens[:, :place])
                writing = [i for i, row in enumerate(rows) if len(row) <= place < ends[i]]
                if writing:
                    tokens[writing, place] = torch.tensor(list(draw(writing, logits[writing])))
                place += 1
        return [row[:end] for row, end in zip(tokens.tolist(), ends, strict=True)]

    def _runs(self, rows: int) -> Callable[[Tokens], Float[Tensor, "row d_vocab"]]:
        """What gives the logits after the last position of rows that are longer at each call."""
        surface = self._surface
        if owner_hooks(surface.model):
            return lambda tokens: surface.run(tokens)[:, -1]
        cache, seen = surface.new_cache(rows), 0

        def said(tokens: Tokens) -> Float[Tensor, "row d_vocab"]:
            nonlocal seen
            logits = surface.grow(cache, tokens[:, seen:])
            if seen and not self._checked:
                check_resumed(surface, logits, surface.run(tokens)[:, -1])
                self._checked = True
            seen = tokens.shape[1]
            return logits

        return said
