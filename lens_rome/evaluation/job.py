"""An evaluation as a job: what it depends on, and the rows of any of its records."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from rich.console import Console
from rich.progress import track

from lens_rome._typing import Model
from lens_rome.editing import Edit
from lens_rome.editing.row_hooks import check_edits
from lens_rome.errors import EditError
from lens_rome.evaluation import identity
from lens_rome.evaluation.asked import Asked
from lens_rome.evaluation.case_rows import record_case, relative_norm
from lens_rome.evaluation.divergence import DIVERGING_GROUPS, Divergences, divergences
from lens_rome.evaluation.essence import Essence
from lens_rome.evaluation.making import Edits, Made, Maker, Moments, check_given
from lens_rome.evaluation.noised import Noised, noised_scores, posed
from lens_rome.evaluation.provenance import Provenance
from lens_rome.evaluation.questions import asked_prompts, expected_targets
from lens_rome.evaluation.report import EvalReport
from lens_rome.evaluation.row_lines import to_line
from lens_rome.evaluation.rows import PromptScore, RecordCase, RecordTexts
from lens_rome.evaluation.scorer import Found, Job, Scorer
from lens_rome.evaluation.text_scorer import TextScorer
from lens_rome.facts import EvalRecord
from lens_rome.surface import as_surface
from lens_rome.surface.digest import model_digest

CHUNK_SIZE = 32
"""Records that a run computes and writes together."""


@dataclass(frozen=True)
class Memory:
    """What the unedited model has said, for several evaluations of one model that share it. It grows as they go."""

    plain: Found = field(default_factory=dict)
    noised: Noised = field(default_factory=dict)
    essences: dict[bool, dict[str, Essence]] = field(default_factory=dict)


@dataclass(frozen=True)
class Scored:
    """A record's rows but for its texts."""

    case: RecordCase
    scores: Sequence[PromptScore]


class Evaluation:
    """Records, the model, and everything that is asked; an engine needs no more than `ids`, `settings` and `rows`.

    What the unedited model said is remembered, so the model must stay as it is meanwhile.

    Args:
        edits: as of `evaluate`.
        memory: what the unedited model has said in other evaluations with the same text settings; None for nothing.

    Raises:
        EditError: as `evaluate`, before an edit is made.  DatasetError: no reference texts for a record.
    """

    def __init__(
        self,
        model: Model,
        records: Sequence[EvalRecord],
        edits: Edits = None,
        *,
        moments: Moments = None,
        asked: Asked | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.model, self.records, self.edits, self.moments = model, list(records), edits, moments
        self.asked, self.surface = asked or Asked(), as_surface(model)
        self.memory = memory or Memory()
        self.asked.check(self.records)
        check_given(edits, self.records)
        self.how = Provenance(self.surface)

    # -- a run -------------------------------------------------------------------------------------------------------

    @property
    def ids(self) -> list[str]:
        """The case ids as texts, in the order of the records."""
        return [str(record.case_id) for record in self.records]

    @property
    def contexts(self) -> tuple[str, ...] | None:
        """The context prefixes that all edits are made with; None where the editor has none or samples its own."""
        found = None if self._maker.given else getattr(self._editor, "contexts", None)
        return None if found is None else tuple(found)

    def settings(self, chunk_size: int = CHUNK_SIZE) -> dict[str, Any]:
        """Everything that the rows depend on, but for rounding: what is not here may differ between two starts.

        Raises:
            EditError: an editor or references of which nobody could tell whether they are the same.
            EditMismatchError: given edits were made for other weights.
        """
        how, asked = Provenance(self.surface), self.asked
        given: dict[str, Any] = {}
        if self._maker.given:
            edits = [made.edit for some in self._maker.of(self.records) for made in some]
            check_edits(self.surface, list({id(edit): edit for edit in edits if edit is not None}.values()))
            for edit in edits:
                how.add(edit, self._bos(edit))
            given = {} if self.edits is None else {"given_edits": identity.edits_digest(edits)}
        else:
            how.add(None, self._bos(None))
        told = self.told_by(how)
        told.pop("versions")
        if not self._maker.given:
            told["edits"] = [identity.describe_editor(self._editor)]
            told["moments"] = identity.describe_moments(self.moments)
        if asked.references is not None:
            given["references"] = identity.digest(asked.references)
        digests = {"weights_digest": model_digest(self.surface), "records": identity.records_digest(self.records)}
        return told | given | digests | {"chunk_size": chunk_size}

    def rows(self, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        """A row for each id: its place among the records, and the lines of its rows in a report."""
        writer = self.writer()
        scored = self.scored([self.records[self._places[name]] for name in ids], writer)
        texts: dict[int, RecordTexts] = {}
        if writer:
            # The texts of the unedited model are written when all edited ones are.
            scored = iter(list(scored))
            texts = {row.case_id: row for row in writer.rows(before=self.asked.before)}
        for name, each in zip(ids, scored, strict=True):
            rows = [each.case, *each.scores, *([texts[each.case.case_id]] if each.case.case_id in texts else [])]
            yield {"id": name, "place": self._places[name], "rows": [to_line(row) for row in rows]}

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.ids)}

    def told_by(self, how: Provenance) -> dict[str, Any]:
        """The settings of a report, with what the edits told."""
        asked = self.asked
        return how.settings(
            before=asked.before,
            groups=asked.groups,
            weights=asked.weights,
            texts=asked.texts,
            essence=asked.essence,
            metrics=asked.metrics,
            problem=asked.problem,
        )

    # -- in memory ---------------------------------------------------------------------------------------------------

    def report(self, label: str = "", *, progress: bool = False) -> EvalReport:
        """All records, at once and in memory. Raises as `evaluate`."""
        writer = self.writer()
        told = track(
            self.scored(self.records, writer),
            total=len(self.records),
            description=label or "evaluating",
            console=Console(stderr=True),
            disable=not progress,
            transient=True,
        )
        scored = list(told)
        return EvalReport(
            tuple(score for each in scored for score in each.scores),
            label or ("" if self._maker.given else identity.editor_name(self.edits)),
            writer.rows(before=self.asked.before) if writer else (),
            self.told_by(self.how),
            tuple(each.case for each in scored),
        )

    # -- scores ------------------------------------------------------------------------------------------------------

    def writer(self) -> TextScorer | None:
        """What writes the texts of records that are scored together; None where none are asked for."""
        asked = self.asked
        return asked.texts and TextScorer(
            self.surface,
            asked.texts,
            asked.references,
            essence=asked.essence,
            weights=asked.weights,
            essences=self.memory.essences,
        )

    def scored(self, records: Sequence[EvalRecord], writer: TextScorer | None) -> Iterator[Scored]:
        """The rows of some records in their order; `writer` has their texts when all have come."""
        for some in self._maker.of([self._posed(record) for record in records]):
            jobs = [self._job(made) for made in some]
            for job in jobs:
                self.how.add(job.edit, job.prepend_bos)
            told = self._scores(jobs)
            if writer:
                writer.write(jobs)
            distinct = {id(made.edit): made.edit for made in some}
            changes = {key: None if edit is None else relative_norm(edit) for key, edit in distinct.items()}
            for made, scores in zip(some, told, strict=True):
                name = "" if self._maker.given else identity.editor_name(self.edits)
                yield Scored(record_case(made, name, changes[id(made.edit)]), scores)

    def _posed(self, record: EvalRecord) -> EvalRecord:
        problem = self.asked.problem
        if problem is None:
            return record
        return posed(problem, self.surface, record, self._bos(self._maker.given_to(record)))

    def _scores(self, jobs: Sequence[Job]) -> list[list[PromptScore]]:
        told, asked = self._scorer.score(jobs), self.asked
        if asked.divergence:
            moved = divergences(self.surface, jobs, weights=asked.weights)
            told = [
                [replace(row, divergence=self._divergence(job, row, moved)) for row in rows]
                for job, rows in zip(jobs, told, strict=True)
            ]
        if asked.problem is None or asked.plain_groups == asked.groups:
            return told
        noised = noised_scores(
            self.surface, asked.problem, jobs, asked.groups, before=asked.before, known=self.memory.noised
        )
        return [[*own, *others] for own, others in zip(noised, told, strict=True)]

    def _divergence(self, job: Job, row: PromptScore, moved: Divergences) -> float | None:
        """Of a neighbour's prompt: none of the unedited model by itself, nothing of a record that is left as it is."""
        if row.group not in DIVERGING_GROUPS or self.edits is None:
            return None
        return 0.0 if job.edit is None else moved[id(job.edit), row.prompt]

    @cached_property
    def _scorer(self) -> Scorer:
        asked = self.asked
        wanted = (asked.before or self.edits is None) and asked.problem is None
        expected = expected_targets(self.records, asked.groups) if wanted else {}
        return Scorer(
            self.surface,
            expected,
            before=asked.before,
            weights=asked.weights,
            batch_tokens=asked.batch_tokens,
            unedited=self.memory.plain,
        )

    @cached_property
    def _editor(self) -> Any:
        problem = self.asked.problem
        return identity.with_contexts(problem.adapt(self.edits) if problem else self.edits, self.surface)

    @cached_property
    def _maker(self) -> Maker:
        given = Maker(self.model, self.edits, self.moments, False)
        return given if given.given else Maker(self.model, self._editor, self.moments, self.asked.refused == "unedited")

    def _job(self, made: Made) -> Job:
        bos = self._bos(made.edit)
        return Job(made.record, asked_prompts(made.record, bos, self.asked.plain_groups), made.edit, bos)

    def _bos(self, edit: Edit | None) -> bool:
        """The BOS setting to score with: the one that the edit was made with, or the editor makes its edits with."""
        asked = self.asked.prepend_bos
        if edit is not None:
            made_with = edit.provenance.get("prepend_bos")
        else:
            made_with = None if self._maker.given else getattr(self.edits, "prepend_bos", None)
        if asked is not None and made_with is not None and made_with != asked:
            raise EditError(f"the edit was made with prepend_bos={made_with}; score it so, or leave prepend_bos out.")
        return self.surface.prepends_bos(asked if made_with is None else made_with)
