"""Knowledge neurons: find the hidden units that carry a fact, and write the new object into their rows of `W_out`.

Dai et al. 2022, https://arxiv.org/abs/2104.08696. The units with a large share of p(old object), in enough of several
prompts, are the fact's neurons. From their rows a multiple of the old object's embedding is taken away and one of the
new object's is added: a change of rank one in each layer that has such a neuron. There is no term that protects other
facts, and no moment is needed. With `faithful=True` this is the baseline of the ROME paper's released code.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace

import torch
from jaxtyping import Bool, Float

from lens_rome._typing import Model, Tensor
from lens_rome._warnings import warn_caller
from lens_rome.editing.attribution import AttributionSettings, answer_ids
from lens_rome.editing.delta import LowRankDelta, Place
from lens_rome.editing.edit import Edit
from lens_rome.editing.neuron_sets import NeuronSets, find_sets, shared_by
from lens_rome.editing.requests import as_requests, chain, target_probabilities, warn_of_same_fact
from lens_rome.editing.rome import DisablingEditWarning, Moments
from lens_rome.editing.rows import check_context_lengths, check_contexts
from lens_rome.editing.search import differentiable
from lens_rome.errors import EditError
from lens_rome.facts import EditRequest, sample_contexts, tokenize_prompt
from lens_rome.surface import AbstractSurface, as_surface, check_layer

ANSWERS = ("target_true", "predicted")
_NOT_FAITHFUL = ("rule", "suppress", "promote", "share", "paraphrases", "context_lengths", "contexts")


@dataclass(frozen=True)
class KnowledgeNeurons:
    """Rewrites facts through the hidden units that carry them; settings only."""

    steps: int = 20
    """Points of the integral; more are more exact and cost in proportion."""
    rule: str = "midpoint"
    """Where they lie, one of `midpoint`, `right`, `left`, `inclusive`; see `AttributionSettings`."""
    threshold: float = 0.2
    """A neuron belongs to a prompt's set if its attribution is above this share of the largest (adaptive_threshold).
    Raising it leaves fewer.
    """
    share: float = 0.4
    """A neuron belongs to the fact if it is in more than this share of the prompts' sets (p). Raising it leaves fewer.
    """
    suppress: float = 1.0
    """λ1: the old object's embedding taken away, in norms of the row."""
    promote: float = 8.0
    """λ2: the new object's embedding added, in norms of the row. 8 is the paper's value; its code has 1 by default.
    One vector is written whatever the position: an object of several tokens is seldom said.
    """
    answer: str = "target_true"
    """The old object: the request's `target_true`, or `"predicted"`, the token that the model says now. Requests of
    zsRE have no true target of their own; use the second there.
    """
    paraphrases: tuple[str, ...] = ()
    """Templates that say the same as the requests' with a `{}` for the subject, all ending right before the object."""
    context_lengths: tuple[tuple[int, int], ...] = ((5, 2), (10, 2))
    """Without paraphrases: lengths in tokens and numbers of sampled prefixes; the bare prompt comes in addition."""
    contexts: tuple[str, ...] | None = None
    """Prefixes to use instead of sampling, before every wording; the first must be empty (the bare prompt)."""
    seed: int = 0
    """Of the sampling."""
    faithful: bool = False
    """Compute what the ROME paper's baseline computes: one prompt, values before the nonlinearity, no leading space,
    all of the object's tokens after the same prompt, and Σ e(new object) - 2 e(predicted) added to each row.
    Not for gated MLPs. The baseline has no BOS: pass `prepend_bos=False` too.
    """
    prepend_bos: bool | None = None
    """None follows the model."""
    rows: int = 160
    """How many runs go into one batch; memory only."""

    def __post_init__(self) -> None:
        _ = self.attribution  # checks steps, rule and rows
        _check_numbers(self)
        if self.answer not in ANSWERS:
            raise EditError(f"unknown answer {self.answer!r}; choose one of {', '.join(ANSWERS)}.")
        for template in self.paraphrases:
            if template.count("{}") != 1:
                raise EditError(f"the paraphrase {template!r} needs exactly one '{{}}' for the subject.")
        if self.contexts is not None:
            check_contexts(self.contexts)
        if self.faithful:
            defaults = {each.name: each.default for each in fields(self)}
            moot = [name for name in _NOT_FAITHFUL if getattr(self, name) != defaults[name]]
            if moot:
                raise EditError(f"faithful=True has no use for {', '.join(moot)}; leave them out.")

    @property
    def name(self) -> str:
        """`"KN"`, or `"KN (as released)"` with `faithful`."""
        return "KN (as released)" if self.faithful else "KN"

    @property
    def attribution(self) -> AttributionSettings:
        """How neurons are attributed."""
        if self.faithful:
            return replace(AttributionSettings.released(self.steps), rows=self.rows)
        return AttributionSettings(self.steps, self.rule, rows=self.rows)

    def edit(
        self,
        model: Model,
        requests: EditRequest | Sequence[EditRequest],
        *,
        moments: Moments = None,  # noqa: ARG002 - all editors have one signature
    ) -> Edit:
        """One edit that holds all requests, made one after another, each on the model with the earlier ones in it.

        The model is unchanged afterwards.

        Args:
            model: in evaluation mode.
            requests: one or several. Of two of the same fact the second is written over the first, with a
                `SameFactWarning`.
            moments: not used.

        Raises:
            EditError: no request, no true target, or no neuron that passes.
            SurfaceError, FactError: unsupported model, unusable request.
        """
        wanted, surface = as_requests(requests), as_surface(model)
        warn_of_same_fact(wanted, self.name, "writes the second over the first")
        with differentiable(surface):
            plan = _Plan.make(self, surface, wanted)
            total = self._one(plan, wanted[0])
            for request in wanted[1:]:
                with total.applied(model):
                    step = self._one(plan, request)
                total = chain(model, total, step)
        return total

    def edit_each(
        self,
        model: Model,
        requests: Sequence[EditRequest],
        *,
        moments: Moments = None,  # noqa: ARG002 - all editors have one signature
    ) -> list[Edit]:
        """An independent edit for each request; contexts are shared. Raises as `edit`."""
        wanted, surface = as_requests(requests), as_surface(model)
        with differentiable(surface):
            plan = _Plan.make(self, surface, wanted)
            return [self._one(plan, request) for request in wanted]

    def _one(self, plan: "_Plan", request: EditRequest) -> Edit:
        surface = plan.surface
        wordings = [request, *(replace(request, template=template) for template in self.paraphrases)]
        prompts = [(wording, before) for wording in wordings for before in plan.contexts]
        old = (_predicted(plan, request),) if self.answer == "predicted" else None
        found = find_sets(surface, prompts, old, self.threshold, self.attribution, plan.prepend_bos)
        neurons = shared_by(found.sets, self.share)
        if not neurons.any():
            raise EditError(self._nobody(request, found))
        with torch.no_grad():
            vector = self._vector(plan, request, found.old)
            edit = Edit.made_for(surface, self._deltas(surface, neurons, vector), {})
            report = self._diagnose(plan, request, found, neurons, edit)
        provenance = {
            "editor": self.name,
            "settings": {name: value for name, value in asdict(self).items() if name != "contexts"},
            "model": surface.model_name,
            "surface": surface.name,
            "prepend_bos": plan.prepend_bos,
            "contexts": list(plan.contexts),
            "requests": [asdict(request)],
            "diagnostics": [report],
            "neurons": [neurons.nonzero().tolist()],
        }
        return Edit(edit.deltas, edit.bases, provenance)

    def _vector(self, plan: "_Plan", request: EditRequest, old: tuple[int, ...]) -> Float[Tensor, " d_model"]:
        """What is added to a neuron's row, in norms of the row (as released: as it is); float64."""
        surface = plan.surface
        new = answer_ids(surface, request.prompt, request.target_new, self.attribution, plan.prepend_bos)
        if self.faithful:
            return _embedding(surface, new) - 2 * _embedding(surface, (_predicted(plan, request),))
        taken, added = (_embedding(surface, tokens) for tokens in (old, new))
        return self.promote * added / added.norm() - self.suppress * taken / taken.norm()

    def _deltas(
        self, surface: AbstractSurface, neurons: Bool[Tensor, "layer d_mlp"], vector: Float[Tensor, " d_model"]
    ) -> dict[Place, LowRankDelta]:
        """Rank one in each layer with a neuron: the rows' norms there, 0 elsewhere, times the vector."""
        deltas: dict[Place, LowRankDelta] = {}
        for layer in neurons.any(1).nonzero().flatten().tolist():
            check_layer(surface, layer)
            lengths = surface.weight(layer).detach().cpu().double().norm(dim=1)
            left = neurons[layer].double() if self.faithful else lengths * neurons[layer]
            deltas[layer, "W_out"] = LowRankDelta(left[:, None], vector[None].clone())  # files cannot share
        return deltas

    def _diagnose(
        self, plan: "_Plan", request: EditRequest, found: NeuronSets, neurons: Tensor, edit: Edit
    ) -> dict[str, float]:
        """Figures of one edit; warns of one that is larger than a weight."""
        surface, bos = plan.surface, plan.prepend_bos
        (before,) = target_probabilities(surface, [request], bos)
        with edit.hooked(surface.model):
            (after,) = target_probabilities(surface, [request], bos)
        share = max(relative for _, relative in edit.norms().values())
        if share > 1:
            warn_caller(
                f"this edit may disable the model ({request}): it changes {int(neurons.sum())} neurons, and one weight "
                f"by {share:.0%} of its norm. Raise threshold or share, or lower promote.",
                DisablingEditWarning,
            )
        return {
            "prob_before": before,
            "prob_after": after,
            "relative_norm": share,
            "n_neurons": float(neurons.sum()),
            "n_layers": float(len(edit.deltas)),
            "n_prompts": float(len(found.sets)),
            "coarse_neurons": sum(found.sizes()) / len(found.sets),
            "largest_attribution": found.largest[0],
            "threshold": self.threshold * found.largest[0],
        }

    def _nobody(self, request: EditRequest, found: NeuronSets) -> str:
        sizes = ", ".join(map(str, found.sizes()))
        return (
            f"{request}: no neuron is in more than {self.share:.0%} of the {len(found.sets)} prompts' sets (sizes "
            f"{sizes}; largest attribution {max(found.largest):.1e}). Lower share or threshold, give paraphrases that "
            "the model answers alike, or choose answer='predicted' if it does not know the fact."
        )


@dataclass(frozen=True, eq=False)
class _Plan:
    """What all requests of one call share."""

    surface: AbstractSurface
    contexts: tuple[str, ...]
    prepend_bos: bool

    @classmethod
    def make(cls, editor: KnowledgeNeurons, surface: AbstractSurface, requests: Sequence[EditRequest]) -> "_Plan":
        """Refuses all requests before any is begun, and samples contexts."""
        if editor.answer == "target_true":
            for request in requests:
                if not request.target_true:
                    raise EditError(
                        f"{request}: knowledge neurons are those of the old object, and target_true is empty. Make "
                        "the request with Fact(...).rewrite(...), or choose answer='predicted'."
                    )
        contexts: tuple[str, ...] = ("",)
        if editor.contexts is not None:
            contexts = editor.contexts
        elif not editor.paraphrases and not editor.faithful:
            contexts = sample_contexts(surface, editor.context_lengths, editor.seed)
        return cls(surface, contexts, surface.prepends_bos(editor.prepend_bos))


def _check_numbers(editor: KnowledgeNeurons) -> None:
    """Raise `EditError` for shares that are none and for factors that are negative or not finite."""
    for name in ("threshold", "share"):
        if not 0 <= getattr(editor, name) < 1:
            raise EditError(f"{name} must be at least 0 and below 1, got {getattr(editor, name)!r}.")
    for name in ("suppress", "promote"):
        if not (math.isfinite(getattr(editor, name)) and getattr(editor, name) >= 0):
            raise EditError(f"{name} must be a number from 0, got {getattr(editor, name)!r}.")
    check_context_lengths(editor.context_lengths)


def _embedding(surface: AbstractSurface, tokens: tuple[int, ...]) -> Float[Tensor, " d_model"]:
    """The sum of the tokens' input embeddings; float64."""
    return surface.embeddings(torch.tensor(tokens)).cpu().double().sum(0)


@torch.no_grad()
def _predicted(plan: _Plan, request: EditRequest) -> int:
    """The model's own next token after the bare prompt."""
    tokens = tokenize_prompt(plan.surface, request, plan.prepend_bos).tokens
    return int(plan.surface.run(torch.tensor([tokens]))[0, -1].argmax())
