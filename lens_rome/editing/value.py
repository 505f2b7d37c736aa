"""The value that makes a model say the new object: v* = v0 + δ, δ found by gradient descent (ROME, §3.1 step 2).

Between two steps only δ changes. So nothing at or below the edited layer and no position before the first lookup is
computed again: each step resumes behind the edited layer. Under hooks of the model's owner, runs are full length.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float

from lens_rome._typing import Model, Tensor
from lens_rome.editing.rows import Rows, at_positions, check_contexts, prompt_rows, target_rows
from lens_rome.errors import EditError
from lens_rome.facts import EditRequest
from lens_rome.surface import (
    AbstractSurface,
    Site,
    as_surface,
    attached,
    check_finite,
    check_layer,
    frozen_parameters,
    owner_hooks,
    pad_right,
)


@dataclass(frozen=True)
class ValueSettings:
    """Hyper-parameters of the optimisation, with the released code's names in brackets."""

    steps: int = 20
    """Forward passes at most; one update fewer (v_num_grad_steps)."""
    lr: float = 0.5
    """Adam's learning rate (v_lr)."""
    weight_decay: float = 0.5
    """Weight of ‖δ‖ / ‖v0‖² (v_weight_decay)."""
    kl_factor: float = 0.0625
    """Weight of the divergence of "{subject} is a" from the unedited model."""
    clamp: float = 4.0
    """Largest ‖δ‖, in units of ‖v0‖ (clamp_norm_factor)."""
    stop_loss: float = 0.05
    """Stop when the total loss is below this."""

    def __post_init__(self) -> None:
        positive, others = (self.steps, self.lr, self.clamp), (self.weight_decay, self.kl_factor, self.stop_loss)
        right = all(math.isfinite(number) for number in (*positive, *others)) and isinstance(self.steps, int)
        if not right or min(positive) <= 0 or min(others) < 0:
            raise EditError(f"steps ≥ 1, lr and clamp > 0 and the other settings ≥ 0 are needed, got {self}.")


@dataclass(frozen=True, eq=False)
class Value:
    """The result of the optimisation."""

    delta: Float[Tensor, " d_model"]
    initial: Float[Tensor, " d_model"]
    """v0: the layer's output at the lookup token of the bare prompt."""
    losses: tuple[dict[str, float], ...]
    """Of each step: total, nll (nats per target token, mean over contexts), kl (nats), weight_decay."""
    prob_before: float
    """Probability of the new object after the bare prompt without δ: its joint probability over all tokens."""

    @property
    def target(self) -> Float[Tensor, " d_model"]:
        """v*."""
        return self.initial + self.delta


def compute_value(
    model: Model,
    request: EditRequest,
    layer: int,
    contexts: Sequence[str] = ("",),
    settings: ValueSettings | None = None,
    *,
    lookup: str = "subject_last",
    prepend_bos: bool | None = None,
) -> Value:
    """v*: the output of layer `layer`'s MLP at the subject under which the model says `request.target_new` after
    every context.

    The model is unchanged; its parameters' `requires_grad` are as before.

    Raises:
        SurfaceError, SubjectSpanError, EditError: unsupported model, unusable target, settings out of range.
    """
    surface = as_surface(model)
    check_contexts(contexts)
    check_layer(surface, layer)
    return find_value(surface, request, layer, contexts, settings or ValueSettings(), lookup, prepend_bos)


def find_value(
    surface: AbstractSurface,
    request: EditRequest,
    layer: int,
    contexts: Sequence[str],
    settings: ValueSettings,
    lookup: str,
    prepend_bos: bool | None,
) -> Value:
    """`compute_value` on a surface."""
    with differentiable(surface):
        problem = _Problem(surface, request, layer, contexts, lookup, prepend_bos)
        with frozen_parameters(surface.model):
            return _descend(problem, settings)


@contextmanager
def differentiable(surface: AbstractSurface) -> Iterator[None]:
    """Gradients can be taken inside, also under the caller's `torch.inference_mode()`.

    Raises:
        EditError: the weights themselves were made in inference mode, which bars them from every gradient.
    """
    if any(parameter.is_inference() for parameter in surface.model.parameters()):
        raise EditError(
            "the model was loaded under torch.inference_mode(), so no gradient can pass through its weights. Load it "
            "outside; torch.no_grad() does no harm."
        )
    with torch.inference_mode(False):
        yield


def _descend(problem: "_Problem", settings: ValueSettings) -> Value:
    initial = problem.initial
    delta = torch.zeros_like(initial, requires_grad=True)
    optimizer = torch.optim.Adam([delta], lr=settings.lr)
    radius = settings.clamp * float(initial.norm())
    losses: list[dict[str, float]] = []
    reference, prob_before = None, 0.0
    for step in range(settings.steps):
        logprobs, kl_logprobs = problem.logprobs(delta)
        if reference is None:
            reference, prob_before = kl_logprobs.detach(), float(logprobs[0].detach().sum().exp())
        nll = -logprobs.mean(1).mean()
        kl = settings.kl_factor * (kl_logprobs.exp() * (kl_logprobs - reference)).sum()
        decay = settings.weight_decay * delta.norm() / initial.norm() ** 2
        loss = nll + kl + decay
        losses.append({"total": loss.item(), "nll": nll.item(), "kl": kl.item(), "weight_decay": decay.item()})
        if loss.item() < settings.stop_loss or step == settings.steps - 1:
            break
        (delta.grad,) = torch.autograd.grad(loss, [delta])
        optimizer.step()
        with torch.no_grad():
            norm = float(delta.norm())
            if norm > radius:
                delta *= radius / norm
    return Value(delta.detach(), initial, tuple(losses), prob_before)


class _Problem:
    """Log-probabilities of the target, and of the KL prompt's next token, as a function of δ."""

    def __init__(
        self,
        surface: AbstractSurface,
        request: EditRequest,
        layer: int,
        contexts: Sequence[str],
        lookup: str,
        prepend_bos: bool | None,
    ) -> None:
        self.surface, self.value_site = surface, Site(layer, "value")
        rows, self.targets = target_rows(surface, request, contexts, lookup, prepend_bos)
        if layer == surface.n_layers - 1 and bool((rows.lookup < rows.ends).any()):
            raise EditError(
                f"layer {layer} is the last: what it writes at the token {lookup!r} reaches no later token, so it "
                "cannot change what the model says. Edit a lower layer, or look up at 'last'."
            )
        self.rows = _with_kl_row(surface, request, rows, lookup, prepend_bos)
        # Where each row's target is predicted, then the lookup of the KL row, as flat (row, position) pairs.
        count = self.targets.shape[1]
        predicted = rows.ends[:, None] + torch.arange(count)
        self.read_rows = torch.cat(
            [torch.arange(len(rows.ends)).repeat_interleave(count), torch.tensor([len(rows.ends)])]
        )
        self.read_at = torch.cat([predicted.flatten(), self.rows.lookup[-1:]])
        self._prepare(layer)

    @torch.no_grad()
    def _prepare(self, layer: int) -> None:
        tokens = self.rows.tokens
        self._logits: Callable[[Tensor], Tensor]
        if owner_hooks(self.surface.model):
            values = self.surface.read(tokens, [self.value_site])[self.value_site]
            self._logits = self._full_length
        else:
            self.base = self.surface.base_run(tokens, keep=[self.value_site])
            values, self._logits = self.base[self.value_site], self._resumed
        self.start = int(self.rows.lookup.min())
        self.layer = layer
        # δ and all figures are at least float32, also in models of half precision.
        self.initial = at_positions(values, self.rows.lookup)[0].to(torch.promote_types(values.dtype, torch.float32))

    def logprobs(self, delta: Tensor) -> tuple[Float[Tensor, "context target"], Float[Tensor, " d_vocab"]]:
        """Log-probabilities (nats) of the target's tokens after each context, and of every token at the KL prompt's
        lookup.
        """
        logits = self._logits(delta)
        check_finite(self.surface, logits.detach())
        logprobs = logits.to(delta.dtype).log_softmax(-1)
        targets = self.targets.to(logits.device)
        return logprobs[:-1].gather(-1, targets.reshape(-1, 1)).reshape(targets.shape), logprobs[-1]

    def _resumed(self, delta: Tensor) -> Tensor:
        """Run from the edited block's output on; where a norm follows the MLP, the edited block again with δ added
        inside.
        """
        if self.surface.norm_after_mlp(self.layer):
            with attached(self.surface.model, [self._adding_hook(delta, self.start)]):
                resid = self.surface.block(
                    self.base, self.layer, self.base.resid[self.layer][:, self.start :], self.start
                )
        else:
            resid = self._add(self.base.resid[self.layer + 1][:, self.start :], delta, self.start)
        resid = self.surface.resume(self.base, self.layer + 1, resid, self.start)
        chosen = resid[self.read_rows.to(resid.device), self.read_at.to(resid.device) - self.start]
        return self.surface.logits(chosen[None])[0]

    def _full_length(self, delta: Tensor) -> Tensor:
        logits = self.surface.run(self.rows.tokens, [self._adding_hook(delta, 0)])
        return logits[self.read_rows.to(logits.device), self.read_at.to(logits.device)]

    def _add(self, activation: Tensor, delta: Tensor, start: int) -> Tensor:
        """δ at each row's lookup, for an activation that begins at position `start`."""
        place = torch.zeros(activation.shape[:2], dtype=delta.dtype, device=activation.device)
        place[torch.arange(len(place)), self.rows.lookup.to(place.device) - start] = 1
        return activation + (place[..., None] * delta).to(activation.dtype)

    def _adding_hook(self, delta: Tensor, start: int) -> tuple[str, Callable[..., Tensor]]:
        def add(activation: Tensor, hook: object) -> Tensor:  # noqa: ARG001 - TransformerLens's signature
            return self._add(activation, delta, start)

        return self.surface.hook_name(self.value_site), add


def _with_kl_row(
    surface: AbstractSurface, request: EditRequest, rows: Rows, lookup: str, prepend_bos: bool | None
) -> Rows:
    """Append the row "{subject} is a", whose prediction at the lookup token is to stay as it is."""
    essence = EditRequest(request.subject, "{} is a", request.target_new)
    kl = prompt_rows(surface, essence, [""], lookup, prepend_bos)
    padded = [row.tolist() for row in rows.tokens]  # their padding stays: nothing reads it
    tokens, _ = pad_right([*padded, kl.tokens[0].tolist()])
    return Rows(tokens, torch.cat([rows.lookup, kl.lookup]), torch.cat([rows.ends, kl.ends]))
