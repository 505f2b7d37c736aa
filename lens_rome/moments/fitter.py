"""Sums of outer products of keys over texts, batch by batch."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch

from lens_rome._typing import Tensor
from lens_rome.errors import MomentError
from lens_rome.moments.by_layer import SecondMoments
from lens_rome.moments.moment import MomentOrigin, SecondMoment
from lens_rome.moments.probe import bos_ids, probe_keys, same_keys
from lens_rome.surface import AbstractSurface, Site, check_finite, pad_right

BATCH_POSITIONS = 4096
"""Rows times width of one forward, padding included: bounds its memory. A single row may be longer."""


@dataclass(frozen=True)
class TextRow:
    """A text and its tokens, BOS included, cut to the model's context."""

    text: str
    ids: tuple[int, ...]


class MomentFitter:
    """Accumulates moments of several layers; `update` with texts, then `result`.

    Memory: two matrices `[d_mlp, d_mlp]` in float64 for each layer (the sum, and the sum at the half), and of each
    forward the keys of at most `BATCH_POSITIONS` positions in every layer.
    """

    def __init__(
        self, surface: AbstractSurface, layers: Iterable[int], prepend_bos: bool | None, corpus: str, half_at: int
    ) -> None:
        self.surface, self.layers, self.half_at = surface, sorted(set(layers)), half_at
        surface.check_layers(self.layers)
        if not self.layers:
            raise MomentError("no layers to collect moments of.")
        self.origin = MomentOrigin(surface.model_name, surface.prepends_bos(prepend_bos), corpus)
        self._digest = hashlib.sha256()
        self._totals = {layer: self._zeros(layer) for layer in self.layers}
        self._halves: dict[int, Tensor] = {}
        self.count = self._half_count = self.n_texts = 0

    def _zeros(self, layer: int) -> Tensor:
        size = self.surface.weight(layer).shape[0]
        return torch.zeros(size, size, dtype=torch.float64)

    def row(self, text: str) -> TextRow:
        """A text as `add` takes it."""
        ids = self.surface.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return TextRow(text, tuple([*bos_ids(self.surface, self.origin.prepend_bos), *ids][: self.surface.n_ctx]))

    def tokens_of(self, row: TextRow) -> int:
        """How many tokens of a row count: all but BOS."""
        return len(row.ids) - int(bool(self.origin.prepend_bos))

    def update(self, texts: Iterable[str]) -> None:
        """Add all tokens of `texts`, each cut to the model's context. BOS and padding are not counted."""
        self.add([self.row(text) for text in texts])

    @torch.no_grad()
    def add(self, rows: Sequence[TextRow]) -> None:
        """The same for rows. They are run in batches of like lengths, so their order does not matter to the sum."""
        for row in rows:
            self._digest.update(row.text.encode() + b"\0")
        self.n_texts += len(rows)
        self.origin = replace(self.origin, n_texts=self.n_texts, texts_digest=self._digest.hexdigest())
        for batch in _batches([row for row in rows if self.tokens_of(row) > 0]):
            self._add_batch(batch)
        self.count += sum(self.tokens_of(row) for row in rows)
        if not self._half_count and self.count >= self.half_at:
            self._take_half()

    def _add_batch(self, rows: Sequence[TextRow]) -> None:
        tokens, mask = pad_right([row.ids for row in rows])
        mask[:, : int(bool(self.origin.prepend_bos))] = False
        found = self.surface.read(tokens, [Site(layer, "key") for layer in self.layers])
        for layer in self.layers:
            keys = found.pop(Site(layer, "key"))
            keys = keys[mask.to(keys.device)].cpu().double()
            check_finite(self.surface, keys)
            self._totals[layer] += keys.T @ keys

    def _take_half(self) -> None:
        self._halves = {layer: total.clone() for layer, total in self._totals.items()}
        self._half_count = self.count

    def result(self) -> SecondMoments:
        """The moments so far."""
        probes = probe_keys(self.surface, self.layers, self.origin.prepend_bos)
        return SecondMoments(
            [
                SecondMoment(
                    layer,
                    self._totals[layer].clone(),
                    self.count,
                    self.origin,
                    probes[layer],
                    self._halves.get(layer),
                    self._half_count,
                )
                for layer in self.layers
            ]
        )

    def resume(self, saved: SecondMoments, texts: Iterator[str]) -> None:
        """Continue from saved moments of the same collection; skips the texts that are in them.

        Raises:
            MomentError: they are of another model, BOS setting, corpus or set of layers.
        """
        if not self._is_ours(saved, texts):
            origin = next(iter(saved.values())).origin if saved else "nothing"
            raise MomentError(
                f"the checkpoint holds layers {sorted(saved)} of {origin}, not what is being collected (layers "
                f"{self.layers} of {self.origin.model!r}, same texts). Delete it or name another file."
            )
        first = saved[self.layers[0]]
        self._totals = {layer: moment.total.clone() for layer, moment in saved.items()}
        self.count, self.n_texts, self.origin = first.count, first.origin.n_texts, first.origin
        # The saved half is kept if it is nearer to the half of this budget than anything that can still be taken.
        if abs(first.half_count - self.half_at) <= max(0, self.count - self.half_at):
            self._halves = {
                layer: moment.half_total.clone() for layer, moment in saved.items() if moment.half_total is not None
            }
            self._half_count = first.half_count
        elif self.count >= self.half_at:
            self._take_half()

    def _is_ours(self, saved: SecondMoments, texts: Iterator[str]) -> bool:
        """Whether `saved` was collected from this model and the first of `texts`, which are read."""
        if sorted(saved) != self.layers or any(moment.memory is not None for moment in saved.values()):
            return False  # what remembers edits is no checkpoint: continuing would write over the memory
        first = saved[self.layers[0]].origin
        if (first.prepend_bos, first.corpus) != (self.origin.prepend_bos, self.origin.corpus):
            return False
        probes = probe_keys(self.surface, self.layers, self.origin.prepend_bos)
        kept = {layer: moment.probe for layer, moment in saved.items()}
        if not all(probe is not None and same_keys(probes[layer], probe) for layer, probe in kept.items()):
            return False
        for text in islice(texts, first.n_texts):
            self._digest.update(text.encode() + b"\0")
        return self._digest.hexdigest() == first.texts_digest


def _batches(rows: Sequence[TextRow]) -> Iterator[list[TextRow]]:
    """The rows by length, cut where another row would make a batch of more than `BATCH_POSITIONS` positions."""
    batch: list[TextRow] = []
    for row in sorted(rows, key=lambda row: len(row.ids)):
        if batch and len(row.ids) * (len(batch) + 1) > BATCH_POSITIONS:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
