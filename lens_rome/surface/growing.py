"""Runs that grow to the right: the positions that were run before are not run again, as in writing text."""

from abc import ABC, abstractmethod
from typing import Any

from jaxtyping import Float

from lens_rome._typing import Tensor, Tokens


class GrowingRuns(ABC):
    """What a surface needs so that a text can be written token by token in time linear in its length."""

    @abstractmethod
    def new_cache(self, rows: int) -> Any:
        """An empty cache of attention keys and values for so many rows, for `grow` to fill.

        Memory when filled: `2 · n_layers · rows · pos · heads · d_head` numbers.
        """

    @abstractmethod
    def grow(self, cache: Any, tokens: Tokens) -> Float[Tensor, "batch d_vocab"]:
        """Logits after the last of `tokens`, which stand right after those that `cache` has seen; it then has seen
        these too. All tokens are attended to, whatever they are (padding and end of text too).

        The model's hooks run and see the new positions only: position-free ones, or none, may be attached.
        """
