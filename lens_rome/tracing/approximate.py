"""A quick look: every cell of a trace estimated at once, from one backward pass. Approximate, and labelled so.

The metric after putting a state into a run is taken to first order in the change of the state: its gradient times the
difference of the states of the two runs ("attribution patching", Nanda 2023,
https://www.neelnanda.io/mechanistic-interpretability/attribution-patching; Syed et al.,
https://arxiv.org/abs/2310.10348). It costs a clean run and a run of all samples forward and
backward, however many cells there are.

Use it to choose where to run `trace`, not instead of it. `docs/quick_look.md` measures how far it can be trusted:
probabilities saturate, so that their estimates are too small; residuals lie far apart in the two runs, so that their
estimates can be too large. Memory: the activations of all layers are kept for the backward pass; samples run in parts
if they are too many for `memory`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Unpack

import torch
from jaxtyping import Float

from lens_rome._typing import FwdHooks, HookFunction, Model, Tensor, Tokens
from lens_rome.errors import SurfaceError, TraceError
from lens_rome.facts import Fact
from lens_rome.surface import AbstractSurface, Site, check_finite, frozen_parameters
from lens_rome.tracing.compute import Found, Ways
from lens_rome.tracing.metrics import Measure
from lens_rome.tracing.options import TraceOptions, check_fact, check_kinds
from lens_rome.tracing.plan import Batch, KindPlan
from lens_rome.tracing.result import TraceResult
from lens_rome.tracing.trace import Tracer
from lens_rome.tracing.window import RESIDUALS

States = Mapping[Site, Tensor]


def approximate_trace(model: Model, fact: Fact, kind: str = "resid", **options: Unpack[TraceOptions]) -> TraceResult:
    """First-order estimate of `trace(model, fact, kind, **options)`: same cells, same noise samples, no cell run.

    The score of a cell is the metric of the run that states are put into, plus the gradient of the metric there times
    the change of the state, for each sample. In a window (and for positions together) the estimates of its layers are
    added as if each were restored alone: what a restored layer would give to the next one counts twice.

    `settings.approximate` of the result is True. The clean and the corrupted scores in it are exact. The model is not
    changed, gradient flags included; hooks that its owner attached take part.

    Args:
        kind: as in `trace`, without `"resid_mid"`.
        options: as in `trace`, without `severed` and `original`. `memory` bounds the samples that run at once.

    Raises:
        TraceError: as `trace`; an option of which there is no estimate.
        SurfaceError, SubjectSpanError: as `trace`.
    """
    return approximate_kinds(model, fact, (kind,), **options)[kind]


def approximate_kinds(
    model: Model, fact: Fact, kinds: Sequence[str] = ("resid", "mlp", "attn"), **options: Unpack[TraceOptions]
) -> dict[str, TraceResult]:
    """`approximate_trace` for several kinds at once, from the same two runs and one backward pass; by kind."""
    kinds = check_kinds(kinds)
    _check(kinds, options)
    # A caller in inference mode could not differentiate; gradients are switched on where they are needed.
    with torch.inference_mode(False), torch.no_grad():
        tracer = Tracer.make(model, kinds, options, [check_fact(fact).subject])
        _check_windows(tracer.plans)
        batch = Batch((tracer.pose(fact),))
        found = _estimates(tracer.surface, batch, tracer.plans, tracer.ways)
    results = {}
    for plan, each in zip(tracer.plans, found, strict=True):
        result = tracer.result(batch.questions[0], plan, each, 0)
        settings = replace(result.settings, approximate=True)
        results[plan.kind] = replace(result, settings=settings).warn_if_weak()
    return results


def _check(kinds: Sequence[str], options: TraceOptions) -> None:
    """Raise `TraceError` for what has no first-order estimate."""
    if "resid_mid" in kinds:
        raise TraceError(
            "there is no estimate for resid_mid: on a bridge its hook sees only the branch into the MLP, so the "
            "gradient lacks the stream that passes by. Estimate resid or resid_pre, or use `trace`."
        )
    if options.get("severed") is not None:
        raise TraceError("there is no estimate with a severed path, which needs runs of its own. Use `trace`.")
    if options.get("original"):
        raise TraceError("original=True follows the released code, which measures every cell. Use `trace`.")
    direction = options.get("direction", "denoise")
    if options.get("metric") == "kl" and direction != "denoise":
        raise TraceError(
            f"the divergence from the clean run has no slope at the clean run, where the direction {direction!r} "
            "starts: every estimate would be 0. Use another metric, or `trace`."
        )


def _check_windows(plans: Sequence[KindPlan]) -> None:
    for plan in plans:
        if plan.kind in RESIDUALS and plan.window > 1:
            raise TraceError(
                f"there is no estimate for {plan.kind!r} in a window of {plan.window}: neighbouring residuals carry "
                "the same, and adding their estimates would count it again. Use window=1, or `trace`."
            )


@dataclass(frozen=True, eq=False)
class _Run:
    """One run at the sites of all kinds; its metric, states and (where asked for) gradients of the metric."""

    scores: Float[Tensor, " row"]
    states: States
    slopes: States


class _Points:
    """Keeps activations as points of a run at which it can be differentiated."""

    def __init__(self, surface: AbstractSurface, sites: Sequence[Site]) -> None:
        self.states: dict[Site, Tensor] = {}
        self.hooks: FwdHooks = [(surface.hook_name(site), self._keeping(site)) for site in sites]

    def _keeping(self, site: Site) -> HookFunction:
        def keep(activation: Tensor, hook: object = None) -> Tensor:  # noqa: ARG001 - TransformerLens's signature
            # The first point of a run has nothing before it that asks for gradients.
            kept = activation if activation.requires_grad else activation.detach().requires_grad_()
            self.states[site] = kept
            # A copy goes on: an owner's hook further on may write into it.
            return kept.clone()

        return keep

    def at(self, sites: Sequence[Site]) -> dict[Site, Tensor]:
        """The states that were kept; `SurfaceError` for a hook point that did not fire."""
        for site in sites:
            if site not in self.states:
                raise SurfaceError(f"the hook point of {site} did not fire in the run; the model computes without it.")
        return {site: self.states[site] for site in sites}


def _estimates(surface: AbstractSurface, batch: Batch, plans: Sequence[KindPlan], ways: Ways) -> list[Found]:
    """The cells of all kinds, for a batch of one question."""
    tokens, first_read = batch.tokens.to(surface.device), batch.length - 1
    sites = list(dict.fromkeys(Site(layer, plan.site_kind) for plan in plans for layer in plan.layers))
    logits = surface.run(tokens)[:, first_read:]
    check_finite(surface, logits)
    reference = logits[:, 0].to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
    measure = Measure(ways.metric, batch.answers, batch.against, reference)

    def run(rows: Tokens, hooks: FwdHooks, *, slopes: bool) -> _Run:
        return _run(surface, rows, hooks, sites, lambda found: measure(found[:, first_read:]), slopes=slopes)

    upwards = ways.direction == "denoise"
    clean = run(tokens, [], slopes=not upwards)
    corrupted: list[Tensor] = []
    effects: list[list[Tensor]] = []
    for rows, hooks in _parts(surface, batch, tokens, ways):
        other = clean if ways.direction == "zero" else run(rows, hooks, slopes=upwards)
        base, donor = (other, clean.states) if upwards else (clean, other.states)
        if ways.direction == "zero":
            donor = {site: torch.zeros_like(state) for site, state in donor.items()}
        corrupted.append(other.scores.cpu().double())
        shape = (surface.n_layers, batch.length, len(rows))
        effects.append([_effects(surface, plan, base, donor, shape) for plan in plans])
    clean_score, corrupted_scores = clean.scores.cpu().double(), torch.cat(corrupted)
    base_scores = corrupted_scores if upwards else clean_score.repeat(batch.samples)
    joined = [torch.cat(parts, -1) for parts in zip(*effects, strict=True)]
    return [
        Found(clean_score, corrupted_scores[None], _cells(batch, plan, ways, base_scores, each)[None])
        for plan, each in zip(plans, joined, strict=True)
    ]


def _parts(surface: AbstractSurface, batch: Batch, tokens: Tokens, ways: Ways) -> Iterator[tuple[Tokens, FwdHooks]]:
    """Corrupted rows with their hook, no more samples at once than `memory` allows."""
    question = batch.questions[0]
    if question.values is None:
        yield tokens, []
        return
    # All layers are kept for the backward pass, each about six of its neurons' size.
    bytes_a_sample = 6 * surface.n_layers * tokens.numel() * surface.d_mlp * surface.dtype.itemsize
    for values in question.values.split(max(1, int(ways.memory / bytes_a_sample))):
        part = replace(question, values=values)
        yield tokens.repeat(len(values), 1), [("hook_embed", part.hook())]


def _run(
    surface: AbstractSurface,
    rows: Tokens,
    hooks: FwdHooks,
    sites: Sequence[Site],
    score: Callable[[Tensor], Tensor],
    *,
    slopes: bool,
) -> _Run:
    """A full run with the states of `sites` and, if asked for, the gradient of each row's metric with respect to them.

    Rows do not see each other, so the gradient of the sum over rows is each row's own.
    """
    points = _Points(surface, sites)
    if not slopes:
        scores, gradients = score(surface.run(rows, [*hooks, *points.hooks])), ()
    else:
        with frozen_parameters(surface.model):
            scores = score(surface.run(rows, [*hooks, *points.hooks]))
            states = list(points.at(sites).values())
            # An owner's hook may cut a path: what the metric does not depend on has gradient 0.
            gradients = (
                torch.autograd.grad(scores.sum(), states, allow_unused=True, materialize_grads=True)
                if scores.requires_grad and states
                else [torch.zeros_like(state) for state in states]
            )
    kept = {site: state.detach() for site, state in points.at(sites).items()}
    return _Run(scores.detach(), kept, dict(zip(sites, gradients, strict=True)) if slopes else {})


def _effects(
    surface: AbstractSurface, plan: KindPlan, base: _Run, donor: States, shape: tuple[int, int, int]
) -> Float[Tensor, "layer pos row"]:
    """Change of the metric for each layer's state alone; 0 for layers that no window restores."""
    effects = torch.zeros(shape, dtype=torch.float64)
    for layer in plan.layers:
        site = Site(layer, plan.site_kind)
        change = (donor[site] - base.states[site]) * base.slopes[site]
        if plan.head is not None:
            # A raw bridge shows all heads flat.
            change = change.view(*change.shape[:2], surface.n_heads, -1)[:, :, plan.head]
        wide = change.to(torch.promote_types(change.dtype, torch.float32))
        effects[layer] = wide.flatten(2).sum(-1)[:, : shape[1]].T.cpu()
    return effects


def _cells(
    batch: Batch, plan: KindPlan, ways: Ways, base: Float[Tensor, " sample"], effects: Float[Tensor, "layer pos sample"]
) -> Float[Tensor, "layer pos sample"]:
    """Scores of the cells that were asked for; the others are NaN."""
    scores = torch.full_like(effects, torch.nan)
    positions = list(batch.positions)
    for layer, (first, last) in plan.windows.items():
        window = effects[first:last, positions].sum(0)
        scores[layer, positions] = base + (window.sum(0, keepdim=True) if ways.together else window)
    return scores
