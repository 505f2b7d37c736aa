"""The value that makes a model say the new object: v* = v0 + δ, δ found by gradient descent (ROME, §3.1 step 2; MEMIT's
z* is the same search at the output of a block).

Many requests are searched for in one batch. They share no number: each has its own δ, Adam state, ball and stop.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float

from lens_rome._typing import Model, Tensor
from lens_rome.editing.objective import Objective
from lens_rome.editing.row_groups import Readings, SearchRow, group_rows
from lens_rome.editing.rows import check_contexts, prompt_rows, target_rows
from lens_rome.editing.value import Value, ValueSettings
from lens_rome.errors import EditError, NotFiniteError
from lens_rome.facts import EditRequest
from lens_rome.surface import AbstractSurface, Site, as_surface, check_layer, frozen_parameters

_MEMORY = 2e9
"""Bytes that the kept activations of one batch of requests may take; the gradients take about as much again."""


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
    search = Search(Site(layer, "value"), contexts, settings or ValueSettings(), lookup, prepend_bos)
    return find_values(surface, [request], search)[0]


@dataclass(frozen=True)
class Search:
    """All that a search needs beside model and requests."""

    site: Site
    """Where δ is added: `value` (the output of `W_out`, ROME) or `resid_post` (of the block, MEMIT)."""
    contexts: Sequence[str]
    settings: ValueSettings
    lookup: str = "subject_last"
    prepend_bos: bool | None = None
    objective: Objective = field(default_factory=Objective)


def find_values(surface: AbstractSurface, requests: Sequence[EditRequest], search: Search) -> list[Value]:
    """The value of each request, independent of the others, in batches that fit into memory.

    Raises:
        SubjectSpanError, EditError: as `compute_value`.
    """
    with differentiable(surface):
        rows = [_rows(surface, request, search) for request in requests]
        values: list[Value] = []
        with frozen_parameters(surface.model):
            for batch in _batches(surface, rows):
                values += _descend(_Problem(surface, batch, search), search)
        return values


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


def _rows(surface: AbstractSurface, request: EditRequest, search: Search) -> list[SearchRow]:
    """The rows of one request: one a context with the target, then "{subject} is a", whose prediction at the lookup
    token is to stay as it is.
    """
    spoken = target_rows(surface, request, search.contexts, search.lookup, search.prepend_bos, search.objective)
    if search.site.layer == surface.n_layers - 1 and any(row.lookup < row.end for row in spoken):
        raise EditError(
            f"layer {search.site.layer} is the last: what it writes at the token {search.lookup!r} reaches no later "
            "token, so it cannot change what the model says. Edit a lower layer, or look up at 'last'."
        )
    essence = EditRequest(request.subject, "{} is a", request.target_new)
    kept = prompt_rows(surface, essence, [""], search.lookup, search.prepend_bos, search.objective)
    bare, *others = [SearchRow(0, row) for row in (*spoken, *kept)]
    return [replace(bare, bare=True), *others]


def _batches(surface: AbstractSurface, rows: list[list[SearchRow]]) -> Iterator[list[list[SearchRow]]]:
    """Requests one after another as many as fit, all rows as long as the longest; one at least."""
    per_token = 3 * surface.n_layers * surface.d_model * surface.dtype.itemsize
    batch: list[list[SearchRow]] = []
    count = longest = 0
    for own in rows:
        count, longest = count + len(own), max(longest, *(len(each.row.tokens) for each in own))
        if batch and per_token * count * longest > _MEMORY:
            yield batch
            batch, count, longest = [], len(own), max(len(each.row.tokens) for each in own)
        batch.append(own)
    if batch:
        yield batch


class _Problem:
    """Loss terms of every request as functions of its δ."""

    def __init__(self, surface: AbstractSurface, rows: list[list[SearchRow]], search: Search) -> None:
        self.count, self.n_contexts = len(rows), len(search.contexts)
        numbered = [replace(each, request=i) for i, own in enumerate(rows) for each in own]
        self.groups = group_rows(surface, search.site, numbered)
        self.initial = self._at_the_bare_prompts()
        self._reference = self.initial.new_zeros(self.count, int(surface.cfg.d_vocab))
        self._bare_logprob = self.initial.new_zeros(self.count)
        self._first = True

    def _at_the_bare_prompts(self) -> Float[Tensor, "request d_model"]:
        """The value to start from; at least float32, also in models of half precision."""
        values = self.groups[0].values
        dtype = torch.promote_types(values.dtype, torch.float32)
        initial = values.new_zeros(self.count, values.shape[-1], dtype=dtype)
        for group in self.groups:
            for each, value in zip(group.rows, group.values, strict=True):
                if each.bare:
                    initial[each.request] = value.to(dtype)
        return initial

    @property
    def prob_before(self) -> Float[Tensor, " request"]:
        """Joint probability of each target after its bare prompt without δ, once the first terms are known."""
        return self._bare_logprob.exp()

    def keep(self, running: Bool[Tensor, " request"]) -> None:
        """Drop the rows of requests that have stopped, once they are half of all: to drop them costs a copy."""
        rows = sum(len(group.rows) for group in self.groups)
        wanted = sum(int(running[group.owners].sum()) for group in self.groups)
        if 2 * wanted <= rows:
            self.groups = [kept for group in self.groups if (kept := group.keep(running)) is not None]

    def terms(
        self, deltas: Float[Tensor, "request d_model"]
    ) -> tuple[Float[Tensor, " request"], Float[Tensor, " request"]]:
        """Negative log-likelihood of the target (nats a token, mean over contexts) and divergence of the "{subject}
        is a" prompt from the unedited model (nats); of requests that were dropped, anything.
        """
        nll, kl = deltas.new_zeros(self.count), deltas.new_zeros(self.count)
        for group in self.groups:
            told = group.read(deltas)
            if self._first:
                self._remember(told)
            nll = nll.index_add(0, told.owners, -told.logprobs * told.shares / self.n_contexts)
            if len(told.kl_owners):
                before = self._reference[told.kl_owners]
                terms = (told.kl_logprobs.exp() * (told.kl_logprobs - before)).sum(-1)
                kl = kl.index_add(0, told.kl_owners, terms)
        self._first = False
        return nll, kl

    def _remember(self, told: Readings) -> None:
        """What the model says before any change."""
        self._reference[told.kl_owners] = told.kl_logprobs.detach()
        self._bare_logprob.index_add_(0, told.owners[told.bare], told.logprobs.detach()[told.bare])


def _descend(problem: _Problem, search: Search) -> list[Value]:
    settings, initial = search.settings, problem.initial
    deltas = torch.zeros_like(initial, requires_grad=True)
    optimizer = torch.optim.Adam([deltas], lr=settings.lr)
    lengths = initial.norm(dim=1)
    running = torch.ones(problem.count, dtype=torch.bool)
    losses: list[list[dict[str, float]]] = [[] for _ in range(problem.count)]
    for step in range(settings.steps):
        nll, divergence = problem.terms(deltas)
        kl = settings.kl_factor * divergence
        decay = settings.weight_decay * deltas.norm(dim=1) / lengths**2
        total = search.objective.loss(nll) + kl + decay
        _check_total(problem, total, running)
        parts = {"total": total, "nll": nll, "kl": kl, "weight_decay": decay}
        found = {name: part.tolist() for name, part in parts.items()}
        for i in running.nonzero().flatten().tolist():
            losses[i].append({name: part[i] for name, part in found.items()})
        if not search.objective.erase:
            running = running & (total.detach().cpu() >= settings.stop_loss)
        if step == settings.steps - 1 or not running.any():
            break
        (deltas.grad,) = torch.autograd.grad(total[running.to(total.device)].sum(), [deltas])
        _step(deltas, optimizer, running.to(deltas.device), settings.clamp * lengths)
        problem.keep(running)
    results = zip(deltas.detach(), initial, losses, problem.prob_before.tolist(), strict=True)
    return [Value(delta, start, tuple(history), prob) for delta, start, history, prob in results]


def _check_total(problem: _Problem, total: Float[Tensor, " request"], running: Bool[Tensor, " request"]) -> None:
    """A loss that is not finite would pass for one that has converged."""
    if bool((problem.initial.norm(dim=1) == 0).any()):
        raise EditError(
            "the output to change has no length at a request's lookup (W_out and b_out of the layer are zero there), "
            "so there is nothing to measure the change against. Edit another layer."
        )
    if not bool(total.detach().cpu()[running].isfinite().all()):
        raise NotFiniteError("the search for a value diverged: its loss is not finite. Lower ValueSettings(lr=...).")


@torch.no_grad()
def _step(deltas: Tensor, optimizer: torch.optim.Optimizer, running: Tensor, radius: Float[Tensor, " request"]) -> None:
    """One update of the running requests' δ, each put back into its ball. Adam knows nothing but single numbers, so
    rows do not mix; those of stopped requests stay as they are.
    """
    before = deltas.clone()
    optimizer.step()
    norms = deltas.norm(dim=1)
    scale = torch.where(norms > radius, radius / norms, torch.ones_like(norms))
    deltas.copy_(torch.where(running[:, None], deltas * scale[:, None], before))
