"""Sums of outer products of keys over texts, batch by batch."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch

from lens_rome._typing import Tensor
from lens_rome.errors import MomentError
from lens_rome.moments.by_layer import SecondMoments
from lens_rome.moments.moment import MomentOrigin, SecondMoment
from lens_rome.moments.probe import bos_ids, probe_keys, same_keys
from lens_rome.moments.share import MomentShare, Seen
from lens_rome.runs import Worker
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

    One of several workers is given all texts too, and runs every so-many-th batch of them: batches are cut before they
    are shared out, so each gives the same sum whoever runs it.

    Memory: two matrices `[d_mlp, d_mlp]` in float64 for each layer (the sum, and the sum at the half), and of each
    forward the keys of at most `BATCH_POSITIONS` positions in every layer.
    """

    def __init__(
        self,
        surface: AbstractSurface,
        layers: Iterable[int],
        prepend_bos: bool | None,
        corpus: str,
        half_at: int,
        worker: Worker | None = None,
    ) -> None:
        self.surface, self.layers, self.half_at = surface, sorted(set(layers)), half_at
        surface.check_layers(self.layers)
        if not self.layers:
            raise MomentError("no layers to collect moments of.")
        self.origin = MomentOrigin(surface.model_name, surface.prepends_bos(prepend_bos), corpus)
        self._digest = hashlib.sha256()
        self._totals = {layer: self._zeros(layer) for layer in self.layers}
        self._halves: dict[int, Tensor] = {}
        self.worker = worker or Worker()
        self.seen = Seen()
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
        batches = list(_batches([row for row in rows if self.tokens_of(row) > 0]))
        for number, batch in enumerate(batches, self.seen.batches):
            if number % self.worker.world == self.worker.rank:
                self._add_batch(batch)
                self.count += sum(self.tokens_of(row) for row in batch)
        tokens = self.seen.tokens + sum(self.tokens_of(row) for row in rows)
        self.seen = Seen(tokens, self.seen.batches + len(batches), self.seen.half)
        if not self.seen.half and tokens >= self.half_at:
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
        self.seen = replace(self.seen, half=self.seen.tokens)

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

    def share(self, budget: int, finished: bool) -> MomentShare:
        """This worker's sums so far."""
        probes = probe_keys(self.surface, self.layers, self.origin.prepend_bos)
        totals = {layer: total.clone() for layer, total in self._totals.items()}
        halves = {layer: half.clone() for layer, half in self._halves.items()}
        counts = (self.count, self._half_count)
        return MomentShare(self.worker, budget, self.seen, *counts, self.origin, totals, halves, probes, finished)

    def resume_share(self, saved: MomentShare, budget: int, texts: Iterator[str]) -> None:
        """Continue this worker's share of the same collection; skips the texts that are in it.

        Raises:
            MomentError: another budget, model, BOS setting, corpus or set of layers.
        """
        ours = (saved.worker, saved.budget) == (self.worker, budget)
        if not (ours and self._is_of(saved.probes, saved.origin, texts)):
            raise self._refusal(sorted(saved.totals), f"{saved.origin}, budget {saved.budget}")
        self._totals = {layer: total.clone() for layer, total in saved.totals.items()}
        self._halves = {layer: half.clone() for layer, half in saved.halves.items()}
        self.count, self._half_count, self.seen = saved.count, saved.half_count, saved.seen
        self.n_texts, self.origin = saved.origin.n_texts, saved.origin

    def resume(self, saved: SecondMoments, texts: Iterator[str]) -> None:
        """Continue from saved moments of the same collection; skips the texts that are in them.

        Raises:
            MomentError: they are of another model, BOS setting, corpus or set of layers.
        """
        if not self._is_ours(saved, texts):
            raise self._refusal(sorted(saved), next(iter(saved.values())).origin if saved else "nothing")
        first = saved[self.layers[0]]
        self._totals = {layer: moment.total.clone() for layer, moment in saved.items()}
        self.count, self.n_texts, self.origin = first.count, first.origin.n_texts, first.origin
        self.seen = Seen(self.count)
        # The saved half is kept if it is nearer to the half of this budget than anything that can still be taken.
        if abs(first.half_count - self.half_at) <= max(0, self.count - self.half_at):
            self._halves = {
                layer: moment.half_total.clone() for layer, moment in saved.items() if moment.half_total is not None
            }
            self._half_count = first.half_count
            self.seen = replace(self.seen, half=first.half_count)
        elif self.count >= self.half_at:
            self._take_half()

    def _is_ours(self, saved: SecondMoments, texts: Iterator[str]) -> bool:
        """Whether `saved` was collected from this model and the first of `texts`, which are read."""
        if sorted(saved) != self.layers or any(moment.memory is not None for moment in saved.values()):
            return False  # what remembers edits is no checkpoint: continuing would write over the memory
        kept = {layer: moment.probe for layer, moment in saved.items()}
        return self._is_of(kept, saved[self.layers[0]].origin, texts)

    def _is_of(self, kept: Mapping[int, Tensor | None], origin: MomentOrigin, texts: Iterator[str]) -> bool:
        """Whether these keys of the probe text are this model's, and `origin` tells of the first of `texts`."""
        if sorted(kept) != self.layers:
            return False
        if (origin.prepend_bos, origin.corpus) != (self.origin.prepend_bos, self.origin.corpus):
            return False
        probes = probe_keys(self.surface, self.layers, self.origin.prepend_bos)
        if not all(probe is not None and same_keys(probes[layer], probe) for layer, probe in kept.items()):
            return False
        for text in islice(texts, origin.n_texts):
            self._digest.update(text.encode() + b"\0")
        return self._digest.hexdigest() == origin.texts_digest

    def _refusal(self, layers: list[int], what: object) -> MomentError:
        return MomentError(
            f"the checkpoint holds layers {layers} of {what}, not what is being collected (layers {self.layers} of "
            f"{self.origin.model!r}, same texts). Delete it or name another file."
        )


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
