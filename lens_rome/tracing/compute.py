"""A batch of questions and several kinds, from two base runs: clean and corrupted. Exact."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float

from lens_rome._typing import FwdHooks, Residual, Tensor
from lens_rome.surface import AbstractSurface, BaseRun, Site, check_finite, check_logits
from lens_rome.tracing.clean_cache import check_same_states
from lens_rome.tracing.corruption import CorruptAll
from lens_rome.tracing.full_length import full_length_scores
from lens_rome.tracing.grid import GridRuns, Patch, position_scores
from lens_rome.tracing.metrics import Measure
from lens_rome.tracing.plan import SEVERABLE, Batch, KindPlan
from lens_rome.tracing.states import freeze_hooks

MEMORY = 2**30
"""Bytes that the activations of one batch may take if nobody says otherwise."""


@dataclass(frozen=True)
class Ways:
    """How states are moved, the same for all questions of a call."""

    direction: str = "denoise"
    severed: str | None = None
    together: bool = False
    metric: str = "prob"
    original: bool = False
    """Follow the released code where it differs: see `trace`."""
    memory: float = MEMORY
    full_length: bool = False


@dataclass(frozen=True, eq=False)
class Found:
    """What was measured for one kind, float64 on the CPU."""

    clean: Float[Tensor, " prompt"]
    corrupted: Float[Tensor, "prompt sample"]
    scores: Float[Tensor, "prompt layer pos sample"]


def compute(
    surface: AbstractSurface,
    batch: Batch,
    plans: Sequence[KindPlan],
    ways: Ways,
    clean_states: Mapping[Site, Tensor] | None = None,
) -> list[Found]:
    """The cells of all kinds; row order of every run is samples outermost, prompts innermost.

    Args:
        clean_states: activations of the clean run that somebody else has; None to read them here.
    """
    job = _Job(surface, batch, plans, ways, clean_states)
    return [job.found(plan) for plan in plans]


class _Job:
    """The runs that all kinds of one batch share."""

    def __init__(
        self,
        surface: AbstractSurface,
        batch: Batch,
        plans: Sequence[KindPlan],
        ways: Ways,
        clean_states: Mapping[Site, Tensor] | None,
    ) -> None:
        self.surface, self.batch, self.ways = surface, batch, ways
        self.tokens = batch.tokens.to(surface.device)
        self.read_from = batch.length - 1
        self.prompts, self.samples = len(batch.questions), batch.samples
        self.rows = self.prompts * self.samples
        sites = [Site(layer, plan.site_kind) for plan in plans for layer in plan.layers]
        severed = [Site(layer, SEVERABLE[ways.severed]) for layer in range(surface.n_layers)] if ways.severed else []
        self.sites, self.severed = list(dict.fromkeys(sites)), severed
        full = surface.run(self.tokens)[:, self.read_from :]
        check_finite(surface, full)
        logprobs = full[:, 0].to(torch.promote_types(full.dtype, torch.float32)).log_softmax(-1)
        against = None if batch.against is None else batch.against.to(surface.device)
        # On the device at once: nothing waits for it later.
        self.measure = Measure(ways.metric, batch.answers.to(full.device), against, logprobs)
        self.clean_score = self.measure(full)
        self.many = self.tokens.repeat(self.samples, 1)
        self._run_clean(full, clean_states)
        self._run_corrupted()

    def _run_clean(self, full: Tensor, given: Mapping[Site, Tensor] | None) -> None:
        self.clean: BaseRun | None = None
        if self.ways.full_length:
            states = self.surface.read(self.tokens, self.sites)
        else:
            # What is put in, or what the run needs as a base; never more.
            sites = self._base_sites() if self.ways.direction == "noise" else self.sites
            self.clean = self.surface.base_run(self.tokens, keep=_kept(sites))
            check_logits(self.surface, self.surface.logits(self.clean.resid[-1][:, self.read_from :]), full)
            states = _states(self.clean, sites)
        if given is not None:
            check_same_states(self.surface, states, given, self.batch.length)
        self.clean_states: Mapping[Site, Tensor] = given if given is not None else states

    def _base_sites(self) -> list[Site]:
        """Sites that the base run must keep: those whose restoration is an addition to its residual."""
        return [site for site in self.sites if site.kind in ("mlp_out", "attn_out")]

    def _run_corrupted(self) -> None:
        self.corrupted: BaseRun | None = None
        self.corrupted_states: Mapping[Site, Tensor] = {}
        if self.ways.direction == "zero":
            self.unpatched = self.corrupted_score = self.clean_score
            return
        hooks = self._corruption()
        needed = self.sites if self.ways.direction == "noise" else [] if self.ways.full_length else self._base_sites()
        sites = list(dict.fromkeys([*needed, *self.severed]))
        if self.ways.full_length:
            self.unpatched = self._full_score(hooks)
            self.corrupted_states = self.surface.read(self.many, sites, hooks)
        else:
            self.corrupted = self.surface.base_run(self.many, hooks, _kept(sites))
            self.unpatched = self.read(self.corrupted.resid[-1][:, self.read_from :])
            self.corrupted_states = _states(self.corrupted, sites)
        self.corrupted_score = self.unpatched
        if self.ways.original and any(question.replace for question in self.batch.questions):
            # The released code forgets the replacement in its baseline only: cells that restore nothing still equal
            # the run with replaced embeddings.
            self.corrupted_score = self._full_score(self._corruption(additive=True))

    def _corruption(self, *, additive: bool = False, second: bool = False) -> FwdHooks:
        if self.ways.direction == "zero":
            return []
        hooks = [
            question.hook(index, self.prompts, additive=additive, second=second)
            for index, question in enumerate(self.batch.questions)
        ]
        return [("hook_embed", CorruptAll(hooks))]

    def _full_score(self, hooks: FwdHooks) -> Tensor:
        return self.measure(self.surface.run(self.many, hooks)[:, self.read_from :])

    def read(self, resid: Residual) -> Tensor:
        """The metric from the residual that leaves the last block, at the positions that are read."""
        return self.measure(self.surface.logits(resid))

    def found(self, plan: KindPlan) -> Found:
        """All cells of one kind."""
        shape = (self.samples, self.prompts)
        cells: list[tuple[int, list[int], Tensor]] = []
        positions = list(self.batch.positions)
        for group in [positions] if self.ways.together and positions else [[position] for position in positions]:
            cells += [(layer, group, score.view(shape)) for layer, score in self._column(plan, group).items()]
        scores = torch.full(
            (self.prompts, self.surface.n_layers, self.batch.length, self.samples), torch.nan, dtype=torch.float64
        )
        # One transfer for all cells: the loop above never waits for the device.
        measured = torch.stack([score for _, _, score in cells]).cpu().double() if cells else []
        for (layer, group, _), score in zip(cells, measured, strict=True):
            for position in group:
                scores[:, layer, position] = score.T
        corrupted = self.corrupted_score.view(shape).T.cpu().double()
        return Found(self.clean_score.cpu().double(), corrupted, scores)

    def _column(self, plan: KindPlan, group: Sequence[int]) -> dict[int, Tensor]:
        """The metric in each row, by layer, of states put in at the positions of `group` together."""
        frozen = {site: self.corrupted_states[site] for site in self.severed}
        donor = self._donor(plan)
        patch = Patch(plan.site_kind, donor, plan.head, frozen)
        base, hooks, unpatched = self._base(patch, group)
        # Before the first corrupted position both runs are one run: putting a state in changes nothing.
        same = self.ways.direction != "zero" and max(group) < self.batch.first_corrupted
        windows = [] if same else list(plan.windows.values())
        if base is None:
            read = lambda logits: self.measure(logits[:, self.read_from :])  # noqa: E731
            found = full_length_scores(self.surface, self.many, hooks, patch, group, windows, read, self.ways.memory)
        else:
            runs = GridRuns(base, self.rows, self.read_from, self.ways.memory)
            found = position_scores(self.surface, runs, patch, group, windows, self.read) if windows else {}
        return {layer: found.get(window, unpatched) for layer, window in plan.windows.items()}

    def _donor(self, plan: KindPlan) -> Mapping[Site, Tensor]:
        sites = [Site(layer, plan.site_kind) for layer in plan.layers]
        states = self.corrupted_states if self.ways.direction == "noise" else self.clean_states
        if self.ways.direction == "zero":
            return {site: torch.zeros_like(states[site]) for site in sites}
        return {site: states[site] for site in sites}

    def _base(self, patch: Patch, group: Sequence[int]) -> tuple[BaseRun | None, FwdHooks, Tensor]:
        """The run that states are put into, its hooks, and its score without them; None for full-length runs."""
        if self.ways.direction != "denoise":
            return self.clean, [], self.clean_score.repeat(self.samples)
        if not (self.ways.original and patch.frozen):
            return self.corrupted, self._corruption(), self.unpatched
        # As released: the run has other noise than the run that the frozen states come from.
        hooks = self._corruption(second=True)
        if self.corrupted is None:
            return None, hooks, self._full_score([*hooks, *freeze_hooks(self.surface, patch.frozen, group)])
        held = [*hooks, *freeze_hooks(self.surface, patch.frozen, group)]
        base = self.surface.base_run(self.many, held, _kept(list(patch.donor)))
        return base, hooks, self.read(base.resid[-1][:, self.read_from :])


def _kept(sites: Sequence[Site]) -> list[Site]:
    """What a base run must keep besides the residuals between blocks."""
    return [site for site in sites if site.kind != "resid_post"]


def _states(run: BaseRun, sites: Sequence[Site]) -> dict[Site, Tensor]:
    return {site: run.resid[site.layer + 1] if site.kind == "resid_post" else run[site] for site in sites}
