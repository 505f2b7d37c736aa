"""Editing in sequence: each edit is made on the model that the earlier ones left, and stays in it.

What a single edit's scores do not show: whether the earlier edits are still there, and whether the model still speaks.
Under plain ROME a single disabling edit can end both (https://arxiv.org/abs/2403.07175); AlphaEdit
(https://arxiv.org/abs/2410.02355) leaves alone what it wrote before, which `protect` does for any editor that keeps its
keys. Memory: a copy of each parameter that is changed, and with `protect` 8 bytes a past key and feature.
"""

import hashlib
import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from rich.progress import track

from lens_rome._typing import Model
from lens_rome.editing import DisablingEditWarning, Edit
from lens_rome.errors import EditError, FactError, MomentError, NotFiniteError, SurfaceError
from lens_rome.facts import EditRequest, EvalRecord
from lens_rome.moments import SecondMoment, SecondMoments
from lens_rome.studies.changed import Changed, restored
from lens_rome.studies.checks import Moments, check_requests, check_settings
from lens_rome.studies.health import Probes, Said
from lens_rome.studies.sequence_report import Checkpoint, SequenceReport, Skipped
from lens_rome.surface import AbstractSurface, as_surface

_CHECKPOINTS = 20  # about as many, where `every` is not given
# How an editor fails on a model that is broken: nothing finite, no solution.
_COLLAPSE = (MomentError, NotFiniteError, torch.linalg.LinAlgError)  # pyright: ignore[reportPrivateImportUsage]
# How it fails on a request as well: the model's own output tells which it is.
_UNUSABLE = (EditError, FactError, SurfaceError)


@runtime_checkable
class Editor(Protocol):
    """Anything that makes one joint edit of several requests, such as `MEMIT(...)`."""

    def edit(self, model: Model, requests: Sequence[EditRequest], *, moments: Moments = None) -> Edit:
        """One edit that holds all requests."""
        ...


def sequence(
    model: Model,
    records: Iterable[EvalRecord | EditRequest],
    editor: Editor,
    *,
    moments: Moments = None,
    batch: int = 1,
    protect: bool = False,
    every: int | None = None,
    others: Sequence[EvalRecord] = (),
    texts: Sequence[str] = (),
    prompts: Sequence[str] = (),
    tokens: int = 40,
    top_k: int = 5,
    sample: int = 100,
    seed: int = 0,
    label: str = "",
    progress: bool = True,
) -> SequenceReport:
    """Apply edits one after another and measure the model on the way. It comes back bit for bit, also after an
    exception or Ctrl-C.

    All requests are checked before the first edit. A step that the editor refuses while the model's output is finite is
    skipped and recorded, and the run goes on. A model whose output is no longer finite, or an edit that diverges, ends
    the run, which the report then says: a collapse is a result. Failure in the first step is a mistake of the call and
    is raised. Context prefixes are sampled once, from
    the unedited model, as the released codes do.

    Args:
        model: in evaluation mode.
        records: what is edited, in this order; of a record its request. Where several ask for one fact, the newest
            counts from its own step on.
        editor: what makes the edits; with `prepend_bos` of its own, all figures follow that.
        moments: for the editor. They are of the unedited model throughout.
        batch: requests of one step, each of another fact; the last step may have fewer.
        protect: give each step the keys that earlier ones wrote at (`moments.conditioned(edit)`), to leave alone.
        every: edits between two checkpoints; None for about twenty checkpoints in all.
        others: records that are not edited, whose neighbourhood prompts are asked.
        texts: held-out texts for the perplexity.
        prompts: beginnings of texts, which the model continues by `tokens` tokens, drawn from the `top_k` most likely
            (1 for greedy).
        sample: earlier edits that are asked for at a checkpoint, at most.
        seed: of that sample and of the continuations.
        label: what the report calls itself; empty for the editor's name.

    Raises:
        EditError: nothing to edit, settings that are none, `protect` without moments, or two requests of one fact in
            one step.
        FactError: a request that the model's tokenizer or the editor cannot use.
        MomentError, SurfaceError: as the editor's `edit`, in the first step.
    """
    surface = as_surface(model)
    requests = [each.request if isinstance(each, EvalRecord) else each for each in records]
    check_settings(requests, moments, protect, batch=batch, every=1 if every is None else every, sample=sample)
    bos = surface.prepends_bos(getattr(editor, "prepend_bos", None))
    check_requests(surface, requests, batch, bos)
    probes = Probes(tuple(others), tuple(texts), tuple(prompts), tokens, top_k, sample, seed, bos)
    every = math.ceil(len(requests) / _CHECKPOINTS) if every is None else every
    name = label or _name(editor, batch, protect)
    with restored(surface) as changed:
        run = _Run(surface, requests, probes, changed, editor, moments, protect)
        run.measure()
        for start in track(range(0, len(requests), batch), description=name, disable=not progress, transient=True):
            if not run.step(start, min(start + batch, len(requests))):
                break
            if run.seen // every > start // every or run.seen == len(requests):
                run.measure()
        run.measure()
    settings = {"batch": batch, "protect": protect, "every": every, **_described(probes), **run.made_by}
    settings["prepend_bos"] = bos
    settings["requests"] = [asdict(request) for request in requests]
    return SequenceReport(
        name, settings, tuple(run.checkpoints), tuple(run.steps), run.disabling, run.stopped, tuple(run.skipped)
    )


@dataclass(eq=False)
class _Run:
    """The state of one run."""

    surface: AbstractSurface
    requests: list[EditRequest]
    probes: Probes
    changed: Changed
    editor: Any
    moments: Moments
    protect: bool
    seen: int = 0
    """Requests of the steps so far, skipped ones as well."""
    newest: int = 0
    """Index of the first request of the last step that was written."""
    left_out: set[int] = field(default_factory=set)
    """Indices of the requests of skipped steps."""
    skipped: list[Skipped] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    fresh: list[tuple[float, Said]] = field(default_factory=list)
    """Norm of each step since the last checkpoint, and what the model said of its requests right after it."""
    checkpoints: list[Checkpoint] = field(default_factory=list)
    disabling: int = 0
    stopped: str | None = None
    made_by: dict[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> int:
        """Requests written."""
        return self.seen - len(self.left_out)

    def step(self, start: int, stop: int) -> bool:
        """Make one edit of the requests from `start` to `stop` and leave it in the weights, or skip what cannot be
        edited; False if the run is over.
        """
        requests = self.requests[start:stop]
        try:
            edit = self._edit(requests)
            self.changed.keep(edit.deltas)
            edit.apply_(self.surface.model)
        except (*_COLLAPSE, *_UNUSABLE) as error:
            if not self.steps:
                raise
            if isinstance(error, _COLLAPSE) or math.isnan(self._said(requests).prob):
                self.stopped = str(error)
                return False
            self.skipped.append(Skipped(len(self.steps) + len(self.skipped), str(error)))
            self.left_out.update(range(start, stop))
            self.seen = stop
            return True
        if not self.steps:
            self._settle(edit)
        if self.protect:
            assert isinstance(self.moments, SecondMoments)
            self.moments = self.moments.conditioned(edit)
        self.seen, self.newest = stop, start
        self.steps.append(math.hypot(*(norm for norm, _ in edit.norms().values())))
        self.fresh.append((self.steps[-1], self._said(requests)))
        return True

    def _said(self, requests: list[EditRequest]) -> Said:
        return Said.of(self.surface, requests, self.probes.prepend_bos)

    def _edit(self, requests: list[EditRequest]) -> Edit:
        """The editor's edit; its warnings of disabling edits are counted, others are passed on."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if self.steps:  # of moments that were unbound here
                warnings.filterwarnings("ignore", "the moment of layer .* does not say which model it is of")
            edit = self.editor.edit(self.surface.model, requests, moments=self.moments)
        self.disabling += any(issubclass(each.category, DisablingEditWarning) for each in caught)
        for each in caught:
            if not issubclass(each.category, DisablingEditWarning):
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
        return edit

    def _settle(self, edit: Edit) -> None:
        """After the first step: the contexts stay, and the moments no longer ask whether the model is theirs, which
        edits would make them deny.
        """
        left_out = ("requests", "diagnostics", "losses")
        made_with = edit.provenance.get("prepend_bos", self.probes.prepend_bos)
        if made_with != self.probes.prepend_bos:
            raise EditError(
                f"the editor made its edits with prepend_bos={made_with}, the figures would be measured with "
                f"prepend_bos={self.probes.prepend_bos}. Give the editor an attribute prepend_bos that says so."
            )
        self.made_by = {name: value for name, value in edit.provenance.items() if name not in left_out}
        contexts = edit.provenance.get("contexts")
        if contexts and is_dataclass(self.editor) and getattr(self.editor, "contexts", "none of its own") is None:
            self.editor = replace(self.editor, contexts=tuple(contexts))  # pyright: ignore[reportArgumentType]
        if isinstance(self.moments, SecondMoment):
            self.moments = SecondMoments([self.moments])
        if isinstance(self.moments, SecondMoments):
            self.moments = SecondMoments([moment.unbound() for moment in self.moments.values()])

    def measure(self) -> None:
        """A checkpoint of the model as it is now, unless there is one of it already."""
        if self.checkpoints and self.checkpoints[-1].edits == self.done:
            return
        model, probes, norms = self.surface.model, self.probes, self.changed.norms()
        norm = math.hypot(*(change for change, _ in norms.values()))
        whole = math.hypot(*(before for _, before in norms.values()))
        won, compared = (sum(getattr(told, name) for _, told in self.fresh) for name in ("won", "compared"))
        earlier = probes.earlier(self.requests, self.seen, self.seen - self.newest, self.left_out)
        said = self._said(earlier)
        found = Checkpoint(
            edits=self.done,
            norms={place: change for place, (change, _) in norms.items()},
            relative_norms={place: change / before for place, (change, before) in norms.items() if before},
            norm=norm,
            relative_norm=norm / whole if whole else 0.0,
            largest_step=max((step for step, _ in self.fresh), default=0.0),
            efficacy=won / compared if compared else math.nan,
            retention=said.share,
            retention_prob=said.prob,
            asked=len(earlier),
            neighborhood=probes.neighborhood(self.surface, self.requests),
            perplexity=probes.perplexity(model),
            entropy=probes.entropy(model, may_be_broken=self.done > 0),
        )
        self.checkpoints.append(found)
        self.fresh = []


def _name(editor: Any, batch: int, protect: bool) -> str:
    name = str(getattr(editor, "name", type(editor).__name__))
    return name + (" with memory" if protect else "") + (f", {batch} at a time" if batch > 1 else "")


def _described(probes: Probes) -> dict[str, Any]:
    """The probes as settings: numbers as they are, texts as their number and digest."""
    told: dict[str, Any] = {name: getattr(probes, name) for name in ("tokens", "top_k", "sample", "seed")}
    texts = {"texts": probes.texts, "prompts": probes.prompts, "others": [str(each.case_id) for each in probes.others]}
    for name, values in texts.items():
        digest = hashlib.sha256("\x00".join(values).encode()).hexdigest()
        told[name] = {"number": len(values), "sha256": digest}
    return told
