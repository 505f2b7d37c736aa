"""`trace`: where in a model, and at which token, is the recall of a fact decided?"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import SupportsFloat, SupportsIndex, Unpack

import torch

from lens_rome._typing import Activations, Model, Tensor
from lens_rome.errors import TraceError
from lens_rome.facts import Fact
from lens_rome.surface import AbstractSurface, Site, as_surface, owner_hooks
from lens_rome.tracing.clean_cache import clean_states
from lens_rome.tracing.compute import MEMORY, Found, Ways, compute
from lens_rome.tracing.corruption import AbstractCorruption
from lens_rome.tracing.metrics import check_metric
from lens_rome.tracing.options import TraceOptions, check_fact, check_kinds, check_options
from lens_rome.tracing.original import check_original, original_window
from lens_rome.tracing.parse import parse_corruption
from lens_rome.tracing.places import Positions, Spans
from lens_rome.tracing.plan import Batch, KindPlan, Question, check_ways, plan_kind, pose
from lens_rome.tracing.result import TraceResult, TraceSettings


def trace(
    model: Model,
    fact: Fact,
    kind: str = "resid",
    *,
    noise: SupportsFloat | str | AbstractCorruption = "3σ",
    samples: SupportsIndex = 10,
    window: SupportsIndex | None = None,
    positions: Positions | None = None,
    layers: SupportsIndex | Iterable[SupportsIndex] | None = None,
    head: SupportsIndex | None = None,
    together: bool = False,
    answer: str | None = None,
    metric: str = "prob",
    against: str | None = None,
    direction: str = "denoise",
    corrupt: Spans | None = None,
    severed: str | None = None,
    original: bool = False,
    clean_cache: Activations | None = None,
    seed: SupportsIndex = 1,
    prepend_bos: bool | None = None,
    memory: SupportsFloat = MEMORY,
) -> TraceResult:
    """Causal trace of one fact: corrupt the subject, restore one site at one position, see how much of the answer
    comes back.

    Every cell equals the plain loop over full runs; the work is shared (see `tracing.grid`). The model is not
    changed. Hooks that its owner attached take part; unless they are marked by `position_free` (as the hooks of an
    `Edit` are), runs are then full length and slower.

    Args:
        kind: `"resid"` (residual after a block), `"mlp"` or `"attn"` (their outputs), `"resid_pre"`, `"resid_mid"`,
            `"head"` (one attention head's output before `W_O`), `"post"` (the MLP's neurons).
        noise: how the subject is corrupted. A number for normal noise of a fixed level, `"3σ"` for three standard
            deviations of the subject's token embeddings, or any corruption such as `SwapSubject("Space Needle")`.
        samples: noise samples to average over.
        window: layers restored together, centred on the cell's layer; None for 1 (residuals, heads, neurons), 10 from
            24 layers up, else a fifth of the depth.
        positions: positions to trace: indices (BOS counts), slices, compiled patterns (the tokens that a match
            touches) or the names `"subject_first"`, `"subject_last"`, `"subject"`, `"last"`; None for all. Other cells
            are NaN, as are those of layers not in `layers`.
        head: the head, for the kind `"head"`.
        together: restore all `positions` at once instead of one by one.
        answer: text whose score is traced, of any number of tokens; None for the model's own top token.
        metric: `"prob"` (joint over the answer's tokens), `"logprob"`, `"prob_per_token"` (geometric mean),
            `"logprob_per_token"`, `"logit"`, `"logit_diff"` (first tokens of the answer and of `against`), `"kl"`
            (divergence of the next token from the clean run). Logarithms in nats.
        against: the second answer of a logit difference.
        direction: `"denoise"` puts clean states into the corrupted run (which state suffices?), `"noise"` corrupted
            states into the clean run (which state is needed?), `"zero"` zeros into the clean run.
        corrupt: what is corrupted instead of the subject: ranges of positions, or texts (all occurrences).
        severed: `"mlp"` or `"attn"` to hold that path's outputs at the restored position at their corrupted values
            (ROME, figure 3): the effect that is left went another way. For residuals.
        original: follow the released code in all that changes numbers: no BOS, the model's top token, windows of 10 (1
            for residuals), the first occurrence of the subject, severed paths frozen to the values of another noise
            draw, and the baseline of replaced embeddings measured with added noise.
        clean_cache: activations of the clean run that you have already, an `ActivationCache` of this very prompt.
        seed: of the noise, drawn from NumPy's legacy generator as in the released code.
        memory: bytes that the activations of one batch of cells may take, roughly; a smaller number makes smaller
            batches. The corrupted run itself holds all samples at once.

    Raises:
        TraceError: unknown kind, layer, position, corruption, metric or direction; what does not fit together.
        SurfaceError: unsupported model, training mode, or weights that are not finite.
        SubjectSpanError: the subject or the answer has no tokens of its own.

    Reference: ROME, https://arxiv.org/abs/2202.05262, §2; `docs/fidelity.md` lists where the paper and its code differ.
    """
    options: TraceOptions = {
        "noise": noise,
        "samples": samples,
        "window": window,
        "positions": positions,
        "layers": layers,
        "head": head,
        "together": together,
        "answer": answer,
        "metric": metric,
        "against": against,
        "direction": direction,
        "corrupt": corrupt,
        "severed": severed,
        "original": original,
        "seed": seed,
        "prepend_bos": prepend_bos,
        "memory": memory,
    }
    return _trace(model, check_fact(fact), [kind], options, clean_cache)[kind]


def trace_kinds(
    model: Model, fact: Fact, kinds: Sequence[str] = ("resid", "mlp", "attn"), **options: Unpack[TraceOptions]
) -> dict[str, TraceResult]:
    """`trace` for several kinds at once, which share the clean and the corrupted run; by kind.

    Options are those of `trace`; `window` is that of the kinds `mlp` and `attn`, and of any kind that is traced alone.
    """
    return _trace(model, check_fact(fact), kinds, options)


@torch.no_grad()
def _trace(
    model: Model,
    fact: Fact,
    kinds: Iterable[object],
    options: TraceOptions,
    cache: Activations | None = None,
) -> dict[str, TraceResult]:
    tracer = Tracer.make(model, kinds, options, [fact.subject])
    question = tracer.pose(fact)
    states = None
    if cache is not None:
        if tracer.ways.direction != "denoise":
            raise TraceError(
                f"a clean cache is of use only where clean states are restored, not for {tracer.ways.direction!r}."
            )
        sites = list(dict.fromkeys(Site(layer, plan.site_kind) for plan in tracer.plans for layer in plan.layers))
        states = clean_states(tracer.surface, cache, sites, len(question.prompt))
    (results,) = tracer.results(Batch((question,)), states)
    return {kind: result.warn_if_weak() for kind, result in results.items()}


@dataclass(frozen=True, eq=False)
class Tracer:
    """The settings of one call, checked, for any number of facts."""

    surface: AbstractSurface
    plans: tuple[KindPlan, ...]
    ways: Ways
    corruption: AbstractCorruption
    asked: str
    """The corruption as it was asked for."""
    options: TraceOptions
    """All of them, those not given at their defaults."""
    notes: tuple[str, ...]

    @classmethod
    def make(
        cls, model: Model, kinds: Iterable[object], options: TraceOptions, subjects: Sequence[str] = ()
    ) -> "Tracer":
        """Check all options that do not depend on a fact; `subjects` set the size of noise given in deviations."""
        kinds, options = check_kinds(kinds), check_options(options)
        surface = as_surface(model)
        corruption = parse_corruption(options.get("noise", "3σ"))
        original = options.get("original", False)
        if original:
            check_original(options, kinds, corruption)
            options = {**options, "prepend_bos": False}
        direction, severed = options.get("direction", "denoise"), options.get("severed")
        window, head = (None if value is None else int(value) for value in map(options.get, ("window", "head")))
        plans = []
        for kind in kinds:
            width = window if len(kinds) == 1 or kind in ("mlp", "attn") else None
            width = original_window(kind, width) if original else width
            plans.append(plan_kind(surface, kind, width, options.get("layers"), head))
        check_ways(direction, severed, kinds)
        check_metric(options.get("metric", "prob"), options.get("against"))
        foreign = owner_hooks(model)
        ways = Ways(
            direction,
            severed,
            options.get("together", False),
            options.get("metric", "prob"),
            original,
            float(options.get("memory", MEMORY)),
            bool(foreign),
        )
        fitted = corruption.fitted(surface, subjects) if subjects else corruption
        notes = (f"runs were full length: hooks at {', '.join(foreign[:3])}",) if foreign else ()
        return cls(surface, tuple(plans), ways, fitted, str(corruption), options, notes)

    def pose(self, fact: Fact, answer: str | None = None, against: str | None = None) -> Question:
        """The question that a fact asks, about `answer` and `against` if they are given; see `plan.pose`."""
        options = self.options
        if self.ways.original:
            fact = Fact.from_prompt(fact.prompt, fact.subject, fact.target, fact.relation)
        corruption = self.corruption.fitted(self.surface, [fact.subject])
        return pose(
            self.surface,
            fact,
            None if self.ways.direction == "zero" else corruption,
            samples=int(options.get("samples", 10)),
            seed=int(options.get("seed", 1)),
            positions=options.get("positions"),
            corrupt=options.get("corrupt"),
            answer=answer if answer is not None else options.get("answer"),
            against=against if against is not None else options.get("against"),
            prepend_bos=options.get("prepend_bos"),
            two_draws=self.ways.original and self.ways.severed is not None,
        )

    def results(self, batch: Batch, states: Mapping[Site, Tensor] | None = None) -> list[dict[str, TraceResult]]:
        """The traces of a batch of questions, each by kind."""
        found = compute(self.surface, batch, self.plans, self.ways, states)
        return [
            {plan.kind: self.result(question, plan, each, index) for plan, each in zip(self.plans, found, strict=True)}
            for index, question in enumerate(batch.questions)
        ]

    def result(self, question: Question, plan: KindPlan, found: Found, index: int) -> TraceResult:
        """What was found for one kind of the question at `index` of its batch, with its labels."""
        prompt = question.prompt
        own = (prompt.subject_span,)
        return TraceResult(
            found.scores[index],
            found.corrupted[index],
            float(found.clean[index]),
            prompt.text,
            question.fact.subject,
            prompt.tokens,
            prompt.token_strings,
            prompt.subject_span,
            question.answer,
            question.ids,
            question.fact.target,
            self._settings(question, plan),
            self.notes,
            () if question.spans == own or self.ways.direction == "zero" else question.spans,
        )

    def _settings(self, question: Question, plan: KindPlan) -> TraceSettings:
        surface, ways = self.surface, self.ways
        zero = ways.direction == "zero"
        return TraceSettings(
            kind=plan.kind,
            window=plan.window,
            noise="none" if zero else self.asked,
            noise_level=None if zero else self.corruption.fitted(surface, [question.fact.subject]).size,
            samples=question.samples,
            seed=int(self.options.get("seed", 1)),
            prepend_bos=question.prompt.prepend_bos,
            model=surface.model_name,
            surface=surface.name,
            full_length=ways.full_length,
            precision=str(surface.dtype),
            metric=ways.metric,
            against=self.options.get("against") or "",
            direction=ways.direction,
            severed=ways.severed or "",
            together=ways.together,
            head=plan.head,
            original=ways.original,
        )
