"""The fit of fine-tuning editors: minibatches in the order given, Adam, a clamp, and a stop."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float

from lens_rome._typing import Tensor
from lens_rome.editing.delta import Delta, Place
from lens_rome.editing.rows import Row
from lens_rome.editing.target_batch import TargetBatch
from lens_rome.editing.tuned_weights import TunedWeight, descend, tuning
from lens_rome.editing.tuning_settings import EMBEDDINGS, TuningSettings
from lens_rome.errors import NotFiniteError, SurfaceError
from lens_rome.surface import AbstractSurface

Losses = list[dict[str, float]]
"""Of each pass, before its updates: `total` as it is minimised and `nll` (nats per target token), means over rows or
minibatches.
"""


@dataclass(frozen=True, eq=False)
class Fit:
    """What a fit found."""

    deltas: dict[Place, Delta]
    losses: Losses


def fit(surface: AbstractSurface, rows: Sequence[Row], settings: TuningSettings) -> Fit:
    """Fit the settings' weights so that the model says (or unsays) the targets of `rows`, one a request.

    The model is unchanged afterwards, also after an exception.

    Raises:
        SurfaceError: the model has no such layer or parameter, or its output is not finite before the fit.
        NotFiniteError: the loss is not finite.
    """
    subjects = [token for row in rows for token in row.tokens[slice(*row.subject)]]
    places = [(layer, name) for layer in settings.layers for name in settings.parameters]
    weights = [TunedWeight(surface, place, subjects if place[0] == EMBEDDINGS else None) for place in places]
    optimizer = torch.optim.Adam(
        [weight.master for weight in weights], lr=settings.lr, weight_decay=settings.weight_decay
    )
    losses: Losses = []
    small = 0
    with tuning(surface, weights):
        batches = _Batches(surface, rows, settings)
        while len(losses) < settings.steps and (small < settings.patience or settings.objective.erase):
            losses.append(_pass(batches, weights, optimizer, settings, len(losses)))
            small = small + 1 if losses[-1]["total"] < settings.stop_loss else 0
        deltas = {weight.place: weight.delta(settings.norm_bound) for weight in weights}
    return Fit(deltas, losses)


def _pass(
    batches: "_Batches",
    weights: Sequence[TunedWeight],
    optimizer: torch.optim.Optimizer,
    settings: TuningSettings,
    number: int,
) -> dict[str, float]:
    """One pass over all minibatches; their losses weighted by their rows."""
    total = nll = 0.0
    count = 0
    for batch in batches.one_pass():
        try:
            loss, told = _loss(batch, settings)
        except SurfaceError as error:
            if not (number or count):
                raise  # nothing was changed yet: the model itself is broken
            raise _diverged(number, settings) from error
        if not torch.isfinite(loss):
            raise _diverged(number, settings)
        size, rows = loss.item(), len(batch.rows)
        if size >= settings.stop_loss:
            descend(loss, weights, optimizer, settings.norm_bound)
        total, nll, count = total + rows * size, nll + rows * told, count + rows
    return {"total": total / count, "nll": nll / count}


def _diverged(number: int, settings: TuningSettings) -> NotFiniteError:
    return NotFiniteError(
        f"the loss is not finite in pass {number + 1} of the fit: the weights diverged. Lower lr ({settings.lr:g}) or "
        "set norm_bound."
    )


def _loss(batch: TargetBatch, settings: TuningSettings) -> tuple[Float[Tensor, ""], float]:
    """What is minimised, and the mean negative log-likelihood per token."""
    nll = batch.nll(settings.reduction)
    each = settings.objective.loss(nll)
    lengths = [len(row.target) if settings.reduction == "sum" else 1 for row in batch.rows]
    told = (nll.detach().cpu() / torch.tensor(lengths)).mean()
    return each.mean() if settings.reduction == "mean" else each.sum(), float(told)


class _Batches:
    """The minibatches of every pass: the same ones, or rows with fresh noise on their subjects each time."""

    def __init__(self, surface: AbstractSurface, rows: Sequence[Row], settings: TuningSettings) -> None:
        self._surface, self._settings = surface, settings
        if settings.loss == "last":
            rows = [replace(row, tokens=row.tokens[: row.end + 1]) for row in rows]
        size = settings.batch
        self._chunks = [list(rows[start : start + size]) for start in range(0, len(rows), size)]
        self._draws = torch.Generator().manual_seed(settings.objective.noise_seed)
        noised, first = settings.objective.noise > 0, None if settings.of_embeddings else settings.layers[0]
        self._fixed = None if noised else [self._batch(chunk, first) for chunk in self._chunks]

    def one_pass(self) -> Iterator[TargetBatch]:
        """The minibatches in order."""
        if self._fixed is not None:
            yield from self._fixed
            return
        for chunk in self._chunks:
            yield self._batch([self._noised(row) for row in chunk for _ in range(self._settings.repeats)], None)

    def _batch(self, rows: Sequence[Row], first: int | None) -> TargetBatch:
        return TargetBatch(self._surface, rows, first, all_at_once=self._settings.loss == "last")

    def _noised(self, row: Row) -> Row:
        shape = (row.subject[1] - row.subject[0], self._surface.d_model)
        return replace(row, noise=self._settings.objective.noise * torch.randn(shape, generator=self._draws))
