"""Keys or values that grow token by token without being copied each time."""

from jaxtyping import Float

from lens_rome._typing import Tensor

_LEAST = 16
"""Positions that there is room for at first."""


class Room:
    """Attention keys or values of one block, with room for more positions, which doubles when it is used up."""

    def __init__(self) -> None:
        self._held: Tensor | None = None
        self._length = 0

    def append(self, new: Float[Tensor, "batch head new d_head"]) -> Float[Tensor, "batch head pos d_head"]:
        """All positions so far, `new` the last of them: a view, laid out so that batch and heads are multiplied without
        a copy.
        """
        batch, heads, more, width = new.shape
        before, after = self._length, self._length + more
        if self._held is None or after > self._held.shape[2]:
            held = new.new_empty(batch, heads, max(after, 2 * before, _LEAST), width)
            if self._held is not None:
                held[:, :, :before] = self._held[:, :, :before]
            self._held = held
        self._held[:, :, before:after] = new
        self._length = after
        return self._held[:, :, :after]
