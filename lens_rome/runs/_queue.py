"""The chunks that wait for a worker, and what becomes of those whose worker died."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from lens_rome.runs.chunk import error_row
from lens_rome.runs.parts import Row

_LIVES = 2  # workers that a chunk of several ids may cost before its ids are given out one by one


@dataclass(frozen=True)
class Item:
    """Ids that are computed together."""

    ids: tuple[str, ...]
    deaths: int = 0
    """Workers that died while they computed them."""
    parted: bool = False
    """Whether it was part of a chunk that cost its workers their lives."""


class ChunkQueue:
    """Chunks in their order. An id is given out until it has a row, so nothing is left out and nothing waits for ever.

    A chunk whose worker died is next again; if that happens twice, its ids are given out one by one, and one whose
    worker then dies again gets an error row: most likely it needs more memory than there is.
    """

    def __init__(self, chunks: Iterable[Sequence[str]]) -> None:
        self._items = deque(Item(tuple(chunk)) for chunk in chunks)

    def __len__(self) -> int:
        return len(self._items)

    def take(self) -> Item:
        """The next item."""
        return self._items.popleft()

    def died(self, item: Item) -> list[Row]:
        """Put back what a worker was at when it died; gives the error row of an id that is not tried again."""
        item = replace(item, deaths=item.deaths + 1)
        if item.parted or (item.deaths >= _LIVES and len(item.ids) == 1):
            return [
                error_row(
                    item.ids[0],
                    "WorkerDied: the process of its worker ended while it computed this id alone, after other deaths "
                    "at it. It may need more memory than there is.",
                )
            ]
        if item.deaths >= _LIVES:
            self._items.extendleft(Item((key,), parted=True) for key in reversed(item.ids))
        else:
            self._items.appendleft(item)
        return []
