"""Editors that write many facts at once, over one or several layers: MEMIT, EMMET and AlphaEdit.

All three search for the outputs z of the last edited block, then go through the layers from below: read the keys, see
what is still missing at the last block, and write an equal share of it with the closed form. They differ in its metric
and its slack alone (https://arxiv.org/abs/2403.14236 shows the first two).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from jaxtyping import Float

from lens_rome._typing import Model, Tensor
from lens_rome.editing.closed_form import closed_form, written_fraction
from lens_rome.editing.delta import Delta, LowRankDelta, Place
from lens_rome.editing.edit import Edit
from lens_rome.editing.hooks import hooks_of
from lens_rome.editing.key import read_at_lookups
from lens_rome.editing.metric import Metric, with_memory
from lens_rome.editing.objective import Objective
from lens_rome.editing.requests import as_requests, refuse_same_fact, target_probabilities, warn_of_same_fact
from lens_rome.editing.rows import Row, check_contexts, check_lookup, check_starts, prompt_rows
from lens_rome.editing.search import Search, differentiable, find_values
from lens_rome.editing.value import Value, ValueSettings
from lens_rome.errors import EditError, SingularSystemError
from lens_rome.facts import EditRequest, sample_started_contexts
from lens_rome.facts.contexts import STARTS
from lens_rome.moments import SecondMoment, SecondMoments, moment_for
from lens_rome.surface import AbstractSurface, Site, as_surface, attached, check_layer

Moments = SecondMoments | SecondMoment | str | None


@dataclass(frozen=True)
class SpreadEditor(ABC):
    """What MEMIT, EMMET and AlphaEdit share. Defaults are the published ones for GPT-2 XL but for the layers."""

    layers: tuple[int, ...]
    """Blocks whose `W_out` is changed, from 0, in ascending order; z is searched for at the output of the last."""
    value: ValueSettings = field(default_factory=lambda: ValueSettings(clamp=0.75))
    """Settings of the search for z."""
    lookup: str = "subject_last"
    """Token at which the fact is looked up (fact_token)."""
    starts: tuple[str, ...] = STARTS
    """Words that the sampled context prefixes begin with; the bare prompt comes in addition."""
    context_length: int = 10
    """Tokens of each sampled prefix."""
    contexts: tuple[str, ...] | None = None
    """Context prefixes to use instead of sampling; the first must be empty (the bare prompt)."""
    seed: int = 0
    """Of the sampling."""
    residual_at: str = "bare"
    """What is still missing of z is measured after the `"bare"` prompt, as published, or in the `"mean"` that the keys
    take, which is consistent with them."""
    prepend_bos: bool | None = None
    """None follows the model."""
    objective: Objective = field(default_factory=Objective)
    """What the outputs are searched for."""

    def __post_init__(self) -> None:
        several = isinstance(self.layers, tuple | list) and bool(self.layers)
        whole = several and all(isinstance(each, int) and not isinstance(each, bool) for each in self.layers)
        if not whole or min(self.layers) < 0 or list(self.layers) != sorted(set(self.layers)):
            raise EditError(
                "layers must be different whole numbers from 0 in ascending order, such as (3, 4, 5), got "
                f"{self.layers!r}. The last one is where z is searched for, so their order matters."
            )
        object.__setattr__(self, "layers", tuple(self.layers))
        check_lookup(self.lookup)
        check_starts(self.starts, self.context_length)
        if self.contexts is not None:
            check_contexts(self.contexts)
        if self.residual_at not in ("bare", "mean"):
            raise EditError(f"residual_at is 'bare' or 'mean', got {self.residual_at!r}.")

    @property
    @abstractmethod
    def name(self) -> str:
        """What the method is called in messages, files and tables."""

    @abstractmethod
    def slack(self, n: int) -> float:
        """How much of a residual may be missing where `n` requests are written at once; 0 for none."""

    @abstractmethod
    def metric(self, moment: SecondMoment) -> Metric:
        """What is left alone in one layer."""

    def edit(self, model: Model, requests: EditRequest | Sequence[EditRequest], *, moments: Moments = None) -> Edit:
        """One edit that writes all requests at once. The model is unchanged afterwards.

        Args:
            model: in evaluation mode.
            requests: one or several; their order does not matter. Two of the same fact get their average where the
                editor has slack, with a `SameFactWarning`.
            moments: second moments that hold the edited layers, or `"identity"` to edit without. What they remember
                of past edits (`moments.conditioned(edit)`) is left alone as well.

        Raises:
            MomentError: no moment, or one of another model, layer or BOS setting.
            SingularSystemError: equality for requests that contradict each other; it names them.
            SurfaceError, FactError, EditError: unsupported model, unusable request, failed optimisation.
        """
        wanted, surface = as_requests(requests), as_surface(model)
        self._check_same(wanted)
        with differentiable(surface):
            plan = _Plan.make(self, surface, moments)
            return _write(plan, wanted, find_values(surface, wanted, plan.search))

    def edit_each(self, model: Model, requests: Sequence[EditRequest], *, moments: Moments = None) -> list[Edit]:
        """An independent edit for each request; contexts, metrics and the search are shared. Raises as `edit`."""
        wanted, surface = as_requests(requests), as_surface(model)
        with differentiable(surface):
            plan = _Plan.make(self, surface, moments)
            values = find_values(surface, wanted, plan.search)
            return [_write(plan, [request], [value]) for request, value in zip(wanted, values, strict=True)]

    def _check_same(self, requests: Sequence[EditRequest]) -> None:
        if self.slack(len(requests)) == 0:
            refuse_same_fact(requests, self.name, "choose an editor that writes their average (MEMIT, AlphaEdit)")
        else:
            warn_of_same_fact(requests, self.name, "writes about their average")


@dataclass(frozen=True, eq=False)
class _Plan:
    """What all requests of one call share."""

    editor: SpreadEditor
    surface: AbstractSurface
    moments: dict[int, SecondMoment]
    metrics: dict[int, Metric]
    search: Search

    @classmethod
    def make(cls, editor: SpreadEditor, surface: AbstractSurface, moments: Moments) -> "_Plan":
        for layer in editor.layers:
            check_layer(surface, layer)
        bos = surface.prepends_bos(editor.prepend_bos)
        found = {layer: moment_for(surface, layer, moments, bos) for layer in editor.layers}
        metrics = {layer: with_memory(editor.metric(moment), moment) for layer, moment in found.items()}
        contexts = editor.contexts
        if contexts is None:
            contexts = sample_started_contexts(surface, editor.starts, editor.context_length, editor.seed, bos)
        site = Site(editor.layers[-1], "resid_post")
        search = Search(site, contexts, editor.value, editor.lookup, bos, editor.objective)
        return cls(editor, surface, found, metrics, search)

    def rows(self, request: EditRequest) -> list[Row]:
        """The bare prompt's row and one for each prefix."""
        search = self.search
        return prompt_rows(self.surface, request, search.contexts, search.lookup, search.prepend_bos, search.objective)


@dataclass(frozen=True)
class _Layer:
    """What was written in one layer, a row for each request."""

    keys: Float[Tensor, "request d_mlp"]
    residuals: Float[Tensor, "request d_model"]
    missing: Float[Tensor, " request"]
    """Distance from z before this layer was written."""
    written: Float[Tensor, " request"]
    """Share of the residual that is written at the request's own key."""


def _write(plan: _Plan, requests: Sequence[EditRequest], values: Sequence[Value]) -> Edit:
    """Go through the layers from below; each writes its share of what is still missing."""
    surface, layers = plan.surface, plan.editor.layers
    rows = [plan.rows(request) for request in requests]
    targets = torch.stack([value.target for value in values]).cpu().double()
    deltas: dict[Place, Delta] = {}
    told: dict[int, _Layer] = {}
    for done, layer in enumerate(layers):
        keys, now = _read(plan, rows, layer, deltas)
        residuals = (targets - now) / (len(layers) - done)
        delta = _solve(plan, requests, layer, residuals, keys)
        deltas[layer, "W_out"] = delta
        written = written_fraction(residuals, keys, delta)
        told[layer] = _Layer(keys, residuals, (targets - now).norm(dim=1), written)
    edit = Edit.made_for(surface, deltas, {})
    with edit.hooked(surface.model):
        after = target_probabilities(surface, requests, plan.search.prepend_bos, plan.search.objective)
    keys = {layer: each.keys for layer, each in told.items()}
    return Edit(edit.deltas, edit.bases, _provenance(plan, requests, values, told, after), keys)


@torch.no_grad()
def _read(
    plan: _Plan, rows: Sequence[Sequence[Row]], layer: int, deltas: dict[Place, Delta]
) -> tuple[Float[Tensor, "request d_mlp"], Float[Tensor, "request d_model"]]:
    """Keys of a layer, and the output of the last edited block, with what has been written below in place."""
    key, output = Site(layer, "key"), plan.search.site
    flat = [row for own in rows for row in own]
    mean = plan.editor.residual_at == "mean"
    adders, readers = hooks_of(plan.surface, deltas)
    with attached(plan.surface.model, adders, first=True), attached(plan.surface.model, readers):
        if mean:
            found = read_at_lookups(plan.surface, flat, [key, output])
            now = found[output]
        else:
            found = read_at_lookups(plan.surface, flat, [key])
            now = read_at_lookups(plan.surface, [own[0] for own in rows], [output])[output]
    keys = _two_level_mean(found[key], len(rows))
    now = now.cpu().double()
    return keys, _two_level_mean(now, len(rows)) if mean else now


def _two_level_mean(found: Tensor, n: int) -> Float[Tensor, "request d"]:
    """Half the bare prompt's, half the mean over the prefixes (the released code averages in two steps)."""
    found = found.cpu().double().reshape(n, -1, found.shape[-1])
    return found[:, 0] if found.shape[1] == 1 else (found[:, 0] + found[:, 1:].mean(1)) / 2


def _solve(plan: _Plan, requests: Sequence[EditRequest], layer: int, residuals: Tensor, keys: Tensor) -> LowRankDelta:
    try:
        return closed_form(residuals, keys, metric=plan.metrics[layer], slack=plan.editor.slack(len(keys)))
    except SingularSystemError as error:
        named = "" if error.pair is None else f" These are: {' and '.join(str(requests[i]) for i in error.pair)}."
        raise SingularSystemError(f"layer {layer}: {error}{named}", error.pair, error.cosine) from error


def _provenance(
    plan: _Plan, requests: Sequence[EditRequest], values: Sequence[Value], told: dict[int, _Layer], after: list[float]
) -> dict[str, Any]:
    editor, surface = plan.editor, plan.surface
    settings = asdict(editor)
    settings.pop("contexts")
    diagnostics = [
        {
            "prob_before": value.prob_before,
            "prob_after": after[i],
            "delta_norm": float(value.delta.norm()),
            "written": {str(layer): float(each.written[i]) for layer, each in told.items()},
            "missing": {str(layer): float(each.missing[i]) for layer, each in told.items()},
        }
        for i, value in enumerate(values)
    ]
    return {
        "editor": editor.name,
        "settings": settings,
        "model": surface.model_name,
        "surface": surface.name,
        "prepend_bos": plan.search.prepend_bos,
        "contexts": list(plan.search.contexts),
        "moment": {str(layer): {**asdict(each.origin), "count": each.count} for layer, each in plan.moments.items()},
        "metric": {str(layer): each.describe() for layer, each in plan.metrics.items()},
        "requests": [asdict(request) for request in requests],
        "diagnostics": diagnostics,
        "losses": [list(value.losses) for value in values],
    }
