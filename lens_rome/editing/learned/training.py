"""The training of a learned editor: edit a fact, ask for it in other words, and leave unrelated text as it was.

Each step takes some facts. The editor makes a change of each; the model is run with every row under its own change,
as hooks, on the request, on one other wording and on one unrelated text. Its loss goes back through these runs into
the editor's network. No weight of the model is written and none gets a gradient.
Reference: MEND, https://arxiv.org/abs/2110.11309, §3.3 and algorithm 1.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from lens_rome._typing import Tensor
from lens_rome.editing.delta import Place
from lens_rome.editing.learned.changes import Changes, changed_run
from lens_rome.editing.learned.examples import Draws, Example
from lens_rome.editing.learned.gradients import GradientFactors, gradient_factors, loss_scale
from lens_rome.editing.learned.network import EditorNetwork
from lens_rome.editing.learned.rows import TargetRows
from lens_rome.editing.learned.settings import TrainingSettings
from lens_rome.editing.learned.state import TrainingState
from lens_rome.editing.learned.wiring import wide
from lens_rome.errors import EditError
from lens_rome.surface import AbstractSurface, pad_right

STATISTICS_FACTS = 256
"""Training facts over whose tokens (thousands of them) gradients are normalised."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Facts with what is used of each this time."""

    examples: Sequence[Example]
    wordings: Sequence[int]
    texts: Sequence[tuple[int, ...]]
    neighbors: Sequence[int]

    @property
    def near(self) -> list[tuple[int, tuple[int, ...]]]:
        """The neighbours' prompts, each with the number of its fact in the batch."""
        chosen = zip(self.examples, self.neighbors, strict=True)
        return [(i, example.neighbors[k]) for i, (example, k) in enumerate(chosen) if example.neighbors]


@dataclass(frozen=True, eq=False)
class Losses:
    """What a batch cost, in nats; differentiable in the network's parameters."""

    nll: Float[Tensor, ""]
    """Mean token NLL of the targets after the edits, over requests and wordings."""
    kl: Float[Tensor, ""]
    """KL(base ‖ edited) a token of unrelated text."""
    neighbor_kl: Float[Tensor, ""]
    """The same at the end of neighbours' prompts; 0 where there are none or they have no weight."""

    def total(self, settings: TrainingSettings) -> Float[Tensor, ""]:
        """What is made small."""
        return (
            settings.edit_weight * self.nll
            + settings.locality_weight * self.kl
            + settings.neighbor_weight * self.neighbor_kl
        )


@dataclass(frozen=True, eq=False)
class Trainer:
    """What does not change in a training."""

    surface: AbstractSurface
    settings: TrainingSettings
    places: tuple[Place, ...]
    training: tuple[Example, ...]
    validation: tuple[Example, ...]
    texts: tuple[tuple[int, ...], ...]

    def factors(self, examples: Sequence[Example]) -> GradientFactors:
        """Gradient factors of requests."""
        rows = TargetRows.of([example.request for example in examples])
        return gradient_factors(self.surface, self.places, rows)

    def observe(self, network: EditorNetwork) -> None:
        """Take the first facts in drawn order into the network's statistics, if it keeps any; they
        then stay as they are.
        """
        if not network.keeps_statistics:
            return
        most, size = min(STATISTICS_FACTS, len(self.training)), self.settings.batch
        order = Draws(self.settings.seed, most).examples(0, len(self.training))
        for start in range(0, most, size):
            network.observe(self.factors([self.training[i] for i in order[start : start + size]]))

    def losses(self, network: EditorNetwork, batch: Batch) -> Losses:
        """The losses of a batch, each fact under its own change."""
        changes = network(self.factors(batch.examples))
        count = len(batch.examples)
        asked = [example.request for example in batch.examples]
        asked += [e.rephrasings[i] for e, i in zip(batch.examples, batch.wordings, strict=True)]
        rows = TargetRows.of(asked)
        nll = rows.nll(changed_run(self.surface, rows.tokens, changes, [*range(count), *range(count)])).mean()
        kl = self._divergence(changes, batch.texts, range(count))[1].mean()
        near = batch.near if self.settings.neighbor_weight else []
        if not near:
            return Losses(nll, kl, torch.zeros_like(kl))
        at_end, _ = self._divergence(changes, [tokens for _, tokens in near], [fact for fact, _ in near])
        return Losses(nll, kl, at_end.mean())

    def _divergence(
        self, changes: Changes, texts: Sequence[tuple[int, ...]], request: Sequence[int]
    ) -> tuple[Float[Tensor, " text"], Float[Tensor, " token"]]:
        """KL(base ‖ edited) at the last token of each text, and at all tokens."""
        tokens, mask = pad_right(texts)
        with torch.no_grad():
            base = _logprobs(self.surface.run(tokens))
        edited = _logprobs(changed_run(self.surface, tokens, changes, request))
        divergence = (base.exp() * (base - edited)).sum(-1)
        mask = mask.to(divergence.device)
        last = divergence[torch.arange(len(texts), device=mask.device), mask.sum(1) - 1]
        return last, divergence[mask]

    def batch(self, index: int) -> Batch:
        """The facts of pass `index`, a function of it and the seed alone."""
        draws = Draws(self.settings.seed, self.settings.batch)
        examples = [self.training[i] for i in draws.examples(index, len(self.training))]
        wordings = draws.choices(index, "wording", [len(example.rephrasings) for example in examples])
        texts = draws.choices(index, "text", [len(self.texts)] * len(examples))
        neighbors = draws.choices(index, "neighbor", [max(1, len(example.neighbors)) for example in examples])
        return Batch(examples, wordings, [self.texts[i] for i in texts], neighbors)

    def _validation_batch(self, start: int) -> Batch:
        examples = self.validation[start : start + self.settings.batch]
        chosen = range(start, start + len(examples))
        wordings = [i % len(e.rephrasings) for i, e in zip(chosen, examples, strict=True)]
        neighbors = [i % max(1, len(e.neighbors)) for i, e in zip(chosen, examples, strict=True)]
        return Batch(examples, wordings, [self.texts[i % len(self.texts)] for i in chosen], neighbors)

    @torch.no_grad()
    def validate(self, network: EditorNetwork) -> dict[str, float]:
        """The losses over the validation facts, always with the same wordings and texts."""
        sums = {"loss": 0.0, "nll": 0.0, "kl": 0.0, "neighbor_kl": 0.0}
        for start in range(0, len(self.validation), self.settings.batch):
            batch = self._validation_batch(start)
            losses = self.losses(network, batch)
            found = {"loss": losses.total(self.settings), **vars(losses)}
            for name in sums:
                sums[name] += float(found[name]) * len(batch.examples) / len(self.validation)
        return sums


def train(trainer: Trainer, state: TrainingState, checkpoint: str | Path | None, progress: bool) -> None:
    """Train `state.network` to the end, from wherever `state` is, and leave the best network in it.

    Stopped at any point and continued from its checkpoint, it ends bit for bit where it would have ended.

    Raises:
        EditError: a loss or a gradient is not finite.
    """
    columns = (
        TextColumn("training: {task.completed:.0f} of at most {task.total:.0f} steps, {task.fields[told]}"),
        BarColumn(),
        TimeRemainingColumn(),
    )
    began = time.perf_counter() - state.seconds
    with Progress(*columns, console=Console(stderr=True), disable=not progress, transient=True) as bar:
        task = bar.add_task("", total=trainer.settings.steps, completed=state.step, told="")
        if not state.history:
            trainer.observe(state.network)
            _validate(trainer, state, checkpoint, began)
        while not state.finished:
            _step(trainer, state)
            if state.step % trainer.settings.validate_every == 0 or state.step == trainer.settings.steps:
                _validate(trainer, state, checkpoint, began)
            bar.update(task, completed=state.step, told=f"validation loss {state.history[-1]['loss']:.3f}")
    state.network.load_state_dict(state.best)


def _validate(trainer: Trainer, state: TrainingState, checkpoint: str | Path | None, began: float) -> None:
    entry = {"step": state.step, **trainer.validate(state.network)}
    _check_finite(entry["loss"], state.step)
    state.record(entry)
    state.finished = state.step >= trainer.settings.steps or state.waited >= trainer.settings.patience
    state.seconds = time.perf_counter() - began
    if checkpoint is not None:
        state.save(checkpoint)


def _step(trainer: Trainer, state: TrainingState) -> None:
    """One step of the optimiser over `accumulate` passes."""
    settings, scale = trainer.settings, loss_scale(trainer.surface)
    state.optimizer.zero_grad()
    with torch.enable_grad():
        for i in range(settings.accumulate):
            batch = trainer.batch(state.step * settings.accumulate + i)
            loss = trainer.losses(state.network, batch).total(settings)
            _check_finite(float(loss.detach()), state.step)
            (scale * loss / settings.accumulate).backward()
    _clip(state, settings.clip, scale)
    for group in state.optimizer.param_groups:
        group["lr"] = group["highest"] * (1 - state.step / settings.steps)
    state.optimizer.step()
    state.step += 1


def _clip(state: TrainingState, largest: float, scale: float) -> None:
    """Take the loss's factor out of the gradients, and bound their norm."""
    parameters = list(state.network.parameters())
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad /= scale
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, largest))
    if not math.isfinite(norm):
        raise EditError(
            f"the gradient at step {state.step} is {norm}; lower lr or step_size, or load the model in a wider "
            "precision."
        )


def _logprobs(logits: Tensor) -> Tensor:
    return wide(logits).log_softmax(-1)


def _check_finite(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise EditError(f"the loss at step {step} is {loss}; lower lr or step_size.")
