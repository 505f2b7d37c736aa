"""What each edited model writes about its record, beside what the unedited model writes."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch

from lens_rome._typing import FwdHooks, Tensor
from lens_rome.editing import Edit
from lens_rome.editing.hooks import has_hook_form
from lens_rome.editing.row_hooks import row_hooks
from lens_rome.evaluation.essence import Essence, read_essences
from lens_rome.evaluation.generation import HooksFor
from lens_rome.evaluation.rows import RecordTexts
from lens_rome.evaluation.scorer import Job
from lens_rome.evaluation.settings import TextSettings
from lens_rome.evaluation.texts import ReferenceTexts, score_texts
from lens_rome.surface import AbstractSurface, owner_hooks


class TextScorer:
    """Writes the texts of records, each under its own edit; the model must stay as it is meanwhile.

    Texts of many edited models are written together, each row with its own edit as hooks. An edit without hook form,
    and every edit of a model with hooks of its owner (whose order among ours matters), is written into the weights.

    Args:
        essence: measure too how much less likely the unedited model's texts about a subject have become.
        weights: write every edit into the weights.
        essences: those that are known already, by BOS setting and subject; new ones are added.
    """

    def __init__(
        self,
        surface: AbstractSurface,
        settings: TextSettings,
        references: ReferenceTexts | None,
        *,
        essence: bool,
        weights: bool,
        essences: dict[bool, dict[str, Essence]] | None = None,
    ) -> None:
        self.surface, self.settings, self.references = surface, settings, references
        self.essence, self.weights = essence, weights or bool(owner_hooks(surface.model))
        self._essences: dict[bool, dict[str, Essence]] = {} if essences is None else essences
        self._written: list[tuple[Job, RecordTexts]] = []

    def write(self, jobs: Sequence[Job]) -> None:
        """Write and score the texts of some records; those without generation prompts have some only for the essence.

        Args:
            jobs: their edits fit the model's weights, which `Scorer.score` has seen to.
        """
        jobs = [job for job in jobs if self.essence or job.record.generation_prompts]
        if self.essence:
            self._read_essences(jobs)
        found: dict[int, RecordTexts] = {}
        for bos in dict.fromkeys(job.prepend_bos for job in jobs):
            own = [i for i, job in enumerate(jobs) if job.prepend_bos == bos]
            together = [i for i in own if self._hooked(jobs[i].edit)]
            found |= self._score(jobs, together, bos, self._hooks_for([jobs[i].edit for i in together]))
            for edit in {id(jobs[i].edit): jobs[i].edit for i in own if i not in together}.values():
                if edit is not None:
                    with edit.applied(self.surface.model):
                        found |= self._score(jobs, [i for i in own if jobs[i].edit is edit], bos)
        self._written += [(job, found[i]) for i, job in enumerate(jobs)]

    def rows(self, *, before: bool) -> tuple[RecordTexts, ...]:
        """Of all records so far, in their order.

        Args:
            before: with the texts of the unedited model, which are written now, many together: they need no edit.
        """
        if not before:
            return tuple(row for _, row in self._written)
        found = {i: row for i, (job, row) in enumerate(self._written) if job.edit is None}
        jobs = [job for job, _ in self._written]
        for bos in dict.fromkeys(job.prepend_bos for job in jobs):
            missing = [i for i, job in enumerate(jobs) if i not in found and job.prepend_bos == bos]
            for i, row in self._score(jobs, missing, bos, essence=False).items():
                known = self._essences[bos][jobs[i].record.request.subject].perplexity if self.essence else None
                found[i] = replace(row, perplexity=known)
        return tuple(row.with_before(found[i]) for i, (_, row) in enumerate(self._written))

    def _hooked(self, edit: Edit | None) -> bool:
        return edit is None or (not self.weights and has_hook_form(self.surface, edit.deltas))

    def _hooks_for(self, edits: Sequence[Edit | None]) -> HooksFor | None:
        """Hooks for rows that are of these edits."""
        distinct = list({id(edit): edit for edit in edits if edit is not None}.values())
        if not distinct:
            return None
        place = {id(edit): i for i, edit in enumerate(distinct)} | {id(None): -1}
        owners = torch.tensor([place[id(edit)] for edit in edits])

        def hooks(rows: Tensor) -> FwdHooks:
            return row_hooks(self.surface, distinct, owners[rows], checked=True)

        return hooks

    def _score(
        self,
        jobs: Sequence[Job],
        some: Sequence[int],
        bos: bool,
        hooks: HooksFor | None = None,
        *,
        essence: bool = True,
    ) -> dict[int, RecordTexts]:
        """The texts of some of the jobs, by their indices."""
        if not some:
            return {}
        told = score_texts(
            self.surface,
            [jobs[i].record for i in some],
            settings=self.settings,
            references=self.references,
            essences=self._essences[bos] if self.essence and essence else None,
            prepend_bos=bos,
            hooks_for=hooks,
        )
        return dict(zip(some, told, strict=True))

    def _read_essences(self, jobs: Iterable[Job]) -> None:
        """Those of subjects that were not there yet, from the unedited model."""
        new: dict[bool, list[str]] = {}
        for job in jobs:
            known = self._essences.setdefault(job.prepend_bos, {})
            if job.record.request.subject not in known:
                new.setdefault(job.prepend_bos, []).append(job.record.request.subject)
        for bos, subjects in new.items():
            self._essences[bos] |= read_essences(self.surface, subjects, settings=self.settings, prepend_bos=bos)
