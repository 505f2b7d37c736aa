"""Collect second moments: one streaming pass over a corpus for any number of layers, stopped after the last of them.

Published runs read a hundred thousand documents for hours. The solution of a rank-one update needs far fewer: about
ten tokens a dimension, and a measure (`SecondMoment.turn`) that tells how much the key direction still turns.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from lens_rome._typing import Model, Tensor
from lens_rome.errors import MomentError
from lens_rome.moments.moment import MomentOrigin, SecondMoment, SecondMoments, same_keys
from lens_rome.surface import AbstractSurface, Site, as_surface

PROBE_TEXT = (
    "The old clock in the town hall struck nine, and Maria, who had come from London by train, bought a newspaper."
)
"""The text whose keys identify a model."""
_BATCH_TOKENS = 4096
_SAVE_EVERY = 4  # batches between two checkpoints


class MomentFitter:
    """Accumulates moments of several layers; `update` with texts, then `result`. Memory: two matrices a layer."""

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

    @torch.no_grad()
    def update(self, texts: list[str]) -> None:
        """Add all tokens of `texts` (each cut to the model's context). BOS and padding are not counted."""
        skip = int(bool(self.origin.prepend_bos))
        rows = [self._tokens(text) for text in texts]
        for text in texts:
            self._digest.update(text.encode() + b"\0")
        self.n_texts += len(texts)
        self.origin = replace(self.origin, n_texts=self.n_texts, texts_digest=self._digest.hexdigest())
        rows = [row for row in rows if len(row) > skip]
        if not rows:
            return
        tokens, mask = pad_right(rows)
        mask[:, :skip] = False
        found = self.surface.read(tokens, [Site(layer, "key") for layer in self.layers])
        for layer in self.layers:
            keys = found[Site(layer, "key")]
            keys = keys[mask.to(keys.device)].cpu().double()
            self._totals[layer] += keys.T @ keys
        self.count += int(mask.sum())
        if not self._half_count and self.count >= self.half_at:
            self._halves = {layer: total.clone() for layer, total in self._totals.items()}
            self._half_count = self.count

    def _tokens(self, text: str) -> list[int]:
        ids = self.surface.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return [*_bos(self.surface, self.origin.prepend_bos), *ids][: self.surface.n_ctx]

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
        first = next(iter(saved.values()))
        same = (first.origin.model, first.origin.prepend_bos, first.origin.corpus) == (
            self.origin.model,
            self.origin.prepend_bos,
            self.origin.corpus,
        )
        probes = probe_keys(self.surface, sorted(set(self.layers) & set(saved)), self.origin.prepend_bos)
        same &= all(same_keys(keys, saved[layer].probe) for layer, keys in probes.items())
        for text in islice(texts, first.origin.n_texts):
            self._digest.update(text.encode() + b"\0")
        if not same or sorted(saved) != self.layers or self._digest.hexdigest() != first.origin.texts_digest:
            raise MomentError(
                f"the checkpoint holds layers {sorted(saved)} of {first.origin}, not what is being collected "
                f"(layers {self.layers} of "
                f"{self.origin.model!r}, same texts). Delete it or name another file."
            )
        self._totals = {layer: moment.total.clone() for layer, moment in saved.items()}
        self._halves = {
            layer: moment.half_total.clone() for layer, moment in saved.items() if moment.half_total is not None
        }
        self.count, self._half_count, self.n_texts, self.origin = (
            first.count,
            first.half_count,
            first.origin.n_texts,
            first.origin,
        )


def pad_right(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Rows of ids as one tensor padded on the right with 0, and the mask of what is real. Causal attention never sees
    the padding.
    """
    tokens = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    for index, row in enumerate(rows):
        tokens[index, : len(row)] = torch.tensor(row)
        mask[index, : len(row)] = True
    return tokens, mask


def _bos(surface: AbstractSurface, prepend_bos: bool | None) -> list[int]:
    if not surface.prepends_bos(prepend_bos):
        return []
    if surface.tokenizer.bos_token_id is None:
        raise MomentError("the tokenizer has no BOS token; pass prepend_bos=False.")
    return [surface.tokenizer.bos_token_id]


@torch.no_grad()
def probe_keys(surface: AbstractSurface, layers: Iterable[int], prepend_bos: bool | None) -> dict[int, Tensor]:
    """Keys of the probe text, by layer, `[pos, d_mlp]`, float32 on the CPU."""
    ids = [*_bos(surface, prepend_bos), *surface.tokenizer(PROBE_TEXT, add_special_tokens=False)["input_ids"]][
        : surface.n_ctx
    ]
    sites = [Site(layer, "key") for layer in layers]
    found = surface.read(torch.tensor([ids]), sites)
    return {site.layer: found[site][0].float().cpu() for site in sites}


def collect_moments(
    model: Model,
    layers: int | Iterable[int],
    corpus: Iterable[str],
    *,
    tokens: int | None = None,
    prepend_bos: bool | None = None,
    name: str = "corpus",
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> SecondMoments:
    """Second moments of the keys of `layers` over the first `tokens` tokens of `corpus`.

    One pass serves all layers; sums are float64; the model is unchanged. Texts are run one by one from their start
    (cut at the context length), as in the released code, and not packed. BOS tokens and padding are not counted.

    Args:
        corpus: texts; read only as far as needed.
        tokens: how many to use; None for ten times the widest layer.
        name: what the corpus is called in messages and files.
        checkpoint: a file to save to on the way and to continue from; the corpus must begin with the same texts.
        progress: show a progress bar.

    Raises:
        MomentError: no tokens in the corpus, or a checkpoint of something else.
    """
    surface = as_surface(model)
    wanted = [layers] if isinstance(layers, int) else list(layers)
    surface.check_layers(wanted)
    if tokens is not None and tokens < 1:
        raise MomentError(f"tokens must be a whole number from 1 up, got {tokens}.")
    budget = tokens or 10 * max((surface.weight(layer).shape[0] for layer in wanted), default=0)
    fitter = MomentFitter(surface, wanted, prepend_bos, name, half_at=budget // 2)
    texts = iter(corpus)
    if checkpoint is not None and Path(checkpoint).is_file():
        fitter.resume(SecondMoments.load(checkpoint), texts)
    columns = (
        TextColumn("second moments: {task.completed:.0f} of {task.total:.0f} tokens"),
        BarColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not progress, transient=True) as bar:
        task = bar.add_task("", total=budget, completed=fitter.count)
        for index, batch in enumerate(_batches(surface, texts, fitter, budget)):
            fitter.update(batch)
            bar.update(task, completed=min(fitter.count, budget))
            if checkpoint is not None and index % _SAVE_EVERY == _SAVE_EVERY - 1:
                fitter.result().save(checkpoint)
    if fitter.count == 0:
        raise MomentError("the corpus has no tokens. Give an iterable of non-empty texts.")
    result = fitter.result()
    if checkpoint is not None:
        result.save(checkpoint)
    return result


def _batches(surface: AbstractSurface, texts: Iterator[str], fitter: MomentFitter, budget: int) -> Iterator[list[str]]:
    """Batches of texts until the budget is used; lengths are guessed from characters, three to a token."""
    if fitter.count >= budget:
        return
    batch: list[str] = []
    guess = 0
    for text in texts:
        batch.append(text)
        guess += min(len(text) // 3 + 1, surface.n_ctx)
        if guess >= min(_BATCH_TOKENS, (fitter.half_at if fitter.count < fitter.half_at else budget) - fitter.count):
            yield batch
            batch, guess = [], 0
            if fitter.count >= budget:
                return
    if batch:
        yield batch
