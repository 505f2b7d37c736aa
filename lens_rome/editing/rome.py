"""ROME and its corrected forms: one fact, one layer, one rank-one change of `W_out`.

ROME: https://arxiv.org/abs/2202.05262. The released code takes the update's direction from keys averaged over context
    prefixes, and its scale from the key of the bare prompt; where these two differ much, the update explodes. R-ROME
    (https://arxiv.org/abs/2403.07175) uses the averaged key throughout.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from lens_rome._typing import Model, Tensor
from lens_rome._warnings import warn_caller
from lens_rome.editing.closed_form import closed_form
from lens_rome.editing.delta import LowRankDelta
from lens_rome.editing.edit import Edit
from lens_rome.editing.key import KeyValues, read_keys
from lens_rome.editing.metric import InverseMoment, Metric, with_memory
from lens_rome.editing.objective import Objective
from lens_rome.editing.requests import as_requests, chain, refuse_same_fact, target_probabilities
from lens_rome.editing.rows import check_context_lengths, check_contexts, check_lookup, prompt_rows
from lens_rome.editing.search import Search, differentiable, find_values
from lens_rome.editing.value import Value, ValueSettings
from lens_rome.errors import EditError
from lens_rome.facts import EditRequest, sample_contexts
from lens_rome.moments import SecondMoment, SecondMoments, moment_for
from lens_rome.surface import AbstractSurface, Site, as_surface, check_layer


class DisablingEditWarning(UserWarning):
    """An edit so large that it is likely to ruin the model."""


Moments = SecondMoments | SecondMoment | str | None
"""What editors take: moments of the edited layer, or the word "identity"."""

# An edit is suspected of ruining the model when the new value at the averaged key overshoots by this factor, or the
# change is this share of the weight.
_OVERSHOOT, _SHARE = 5.0, 1.0


@dataclass(frozen=True)
class _RankOneEditor:
    """Settings shared by ROME and R-ROME. Defaults are the published ones for GPT-2 XL but for the layer."""

    layer: int
    """The block whose `W_out` is changed, from 0."""
    value: ValueSettings = field(default_factory=ValueSettings)
    """Settings of the search for v*."""
    lookup: str = "subject_last"
    """Token at which the fact is looked up (fact_token)."""
    context_lengths: tuple[tuple[int, int], ...] = ((5, 10), (10, 10))
    """Lengths in tokens and numbers of sampled context prefixes; the bare prompt comes in addition."""
    contexts: tuple[str, ...] | None = None
    """Context prefixes to use instead of sampling; the first must be empty (the bare prompt)."""
    seed: int = 0
    """Of the sampling."""
    prepend_bos: bool | None = None
    """None follows the model."""
    objective: Objective = field(default_factory=Objective)
    """What the value is searched for."""

    @property
    def name(self) -> str:
        """What the method is called in messages, files and tables."""
        raise NotImplementedError

    def __post_init__(self) -> None:
        if not isinstance(self.layer, int) or isinstance(self.layer, bool) or self.layer < 0:
            raise EditError(f"layer must be a whole number from 0, got {self.layer!r}.")
        check_lookup(self.lookup)
        if self.contexts is not None:
            check_contexts(self.contexts)
        check_context_lengths(self.context_lengths)

    @property
    def advice(self) -> str:
        """What to do where an edit may disable the model."""
        return "Try another layer, a smaller ValueSettings(clamp=...), or moments of more tokens."

    def edit(self, model: Model, requests: EditRequest | Sequence[EditRequest], *, moments: Moments = None) -> Edit:
        """One edit that holds all requests, made one after another, each on the model with the earlier ones in it.

        The model is unchanged afterwards.

        Args:
            model: in evaluation mode.
            requests: one or several, each of another fact.
            moments: second moments that hold the edited layer, or `"identity"` to edit without.

        Raises:
            MomentError: no moment, or one of another model, layer or BOS setting.
            SingularSystemError: two requests of the same fact, of which the second would undo the first.
            SurfaceError, FactError, EditError: unsupported model, unusable request, failed optimisation.
        """
        wanted, surface = as_requests(requests), as_surface(model)
        refuse_same_fact(wanted, self.name, "make the second edit on the model with the first in it")
        with differentiable(surface):
            plan = _Plan.make(self, surface, moments)
            (total,) = self._several(plan, wanted[:1])
            for request in wanted[1:]:
                with total.applied(model):
                    (step,) = self._several(plan, [request])
                total = chain(model, total, step)
        return total

    def edit_each(self, model: Model, requests: Sequence[EditRequest], *, moments: Moments = None) -> list[Edit]:
        """An independent edit for each request; contexts, moment and its factor are shared. Raises as `edit`."""
        wanted, surface = as_requests(requests), as_surface(model)
        with differentiable(surface):
            plan = _Plan.make(self, surface, moments)
            return self._several(plan, wanted)

    def _several(self, plan: "_Plan", requests: Sequence[EditRequest]) -> list[Edit]:
        site = Site(self.layer, "value")
        search = Search(site, plan.contexts, self.value, self.lookup, plan.prepend_bos, self.objective)
        values = find_values(plan.surface, requests, search)
        rows = [
            prompt_rows(plan.surface, request, plan.contexts, self.lookup, plan.prepend_bos, self.objective)
            for request in requests
        ]
        keys = read_keys(plan.surface, rows, self.layer)
        return [self._one(plan, *each) for each in zip(requests, keys, values, strict=True)]

    def _one(self, plan: "_Plan", request: EditRequest, found: KeyValues, value: Value) -> Edit:
        surface = plan.surface
        with torch.no_grad():
            direction, key, current = self._slots(found)
            residual = value.target.cpu().double() - current
            delta = closed_form(residual[None], key[None], metric=plan.metric, direction_keys=direction[None])
        edit = Edit.made_for(surface, {(self.layer, "W_out"): delta}, {})
        report = _diagnose(plan, request, found, value, edit, self.advice)
        provenance = {
            "editor": self.name,
            "settings": _jsonable(self),
            "model": surface.model_name,
            "surface": surface.name,
            "prepend_bos": plan.prepend_bos,
            "contexts": list(plan.contexts),
            "moment": {**asdict(plan.moment.origin), "count": plan.moment.count},
            "requests": [asdict(request)],
            "diagnostics": [report],
            "losses": [list(value.losses)],
        }
        return Edit(edit.deltas, edit.bases, provenance, {self.layer: key[None]})

    def _slots(self, found: KeyValues) -> tuple[Tensor, Tensor, Tensor]:
        """The key of the direction, the key of the constraint, and the present value at the latter; float64."""
        raise NotImplementedError


@dataclass(frozen=True)
class ROME(_RankOneEditor):
    """ROME as released: direction from the averaged key, scale from the bare prompt's. Maps the bare prompt's key
    exactly to v*.
    """

    bare: bool = False
    """Take the direction from the bare prompt's key as well (p-ROME): consistent, but blind to contexts."""

    @property
    def name(self) -> str:
        """`"ROME"`, or `"p-ROME"` with the bare prompt's key alone."""
        return "p-ROME" if self.bare else "ROME"

    @property
    def advice(self) -> str:
        """The editor with one key, for the one whose two keys may be far apart."""
        return super().advice if self.bare else "RROME uses one key throughout and avoids this."

    def _slots(self, found: KeyValues) -> tuple[Tensor, Tensor, Tensor]:
        keys, values = found.keys.cpu().double(), found.values.cpu().double()
        return keys[0] if self.bare else keys.mean(0), keys[0], values[0]


@dataclass(frozen=True)
class RROME(_RankOneEditor):
    """R-ROME: the averaged key in both places, so the update's scale is always positive. Maps the averaged key
    exactly to v*.
    """

    @property
    def name(self) -> str:
        """`"R-ROME"`."""
        return "R-ROME"

    def _slots(self, found: KeyValues) -> tuple[Tensor, Tensor, Tensor]:
        key = found.keys.cpu().double().mean(0)
        return key, key, found.values.cpu().double().mean(0)


@dataclass(frozen=True, eq=False)
class _Plan:
    """What all requests of one call share."""

    surface: AbstractSurface
    moment: SecondMoment
    metric: Metric
    contexts: tuple[str, ...]
    prepend_bos: bool
    objective: Objective

    @classmethod
    def make(cls, editor: _RankOneEditor, surface: AbstractSurface, moments: Moments) -> "_Plan":
        check_layer(surface, editor.layer)
        bos = surface.prepends_bos(editor.prepend_bos)
        moment = moment_for(surface, editor.layer, moments, bos)
        contexts = (
            editor.contexts
            if editor.contexts is not None
            else sample_contexts(surface, editor.context_lengths, editor.seed)
        )
        return cls(surface, moment, with_memory(InverseMoment(moment), moment), contexts, bos, editor.objective)


@torch.no_grad()
def _diagnose(
    plan: _Plan, request: EditRequest, found: KeyValues, value: Value, edit: Edit, advice: str
) -> dict[str, float]:
    """Figures of one edit: probabilities, sizes, and how far the two keys are apart (reference: R-ROME)."""
    with edit.hooked(plan.surface.model):
        (prob_after,) = target_probabilities(plan.surface, [request], plan.prepend_bos, plan.objective)
    keys = found.keys.cpu().double()
    mean, bare = keys.mean(0), keys[0]
    white_mean, white_bare = plan.metric.whiten(torch.stack([mean, bare]))
    length_mean, length_bare = float(white_mean.norm()), float(white_bare.norm())
    cosine = float(white_mean @ white_bare) / (length_mean * length_bare)
    ((_, share),) = edit.norms().values()
    delta = next(iter(edit.deltas.values()))
    assert isinstance(delta, LowRankDelta)
    moved = float((mean @ delta.left @ delta.right).norm()) / max(float(value.delta.norm()), 1e-12)
    turned = float(mean @ delta.left @ (delta.right @ value.delta.cpu().double()))
    report = {
        "prob_before": value.prob_before,
        "prob_after": prob_after,
        "delta_norm": float(value.delta.norm()),
        "relative_norm": share,
        "key_energy": length_mean**2,
        "key_angle_degrees": math.degrees(math.acos(max(-1.0, min(1.0, cosine)))),
        "overshoot": moved,
        "condition": plan.moment.condition,
    }
    if moved > _OVERSHOOT or share > _SHARE or turned < 0:
        warn_caller(
            f"this edit may disable the model ({request}): its change is {share:.0%} of the weight's norm and "
            f"overshoots {moved:.1f}-fold at the averaged key "
            f"({report['key_angle_degrees']:.0f}° from the bare prompt's). {advice}",
            DisablingEditWarning,
        )
    return report


def _jsonable(editor: _RankOneEditor) -> dict[str, Any]:
    settings = asdict(editor)
    settings.pop("contexts")
    return settings
