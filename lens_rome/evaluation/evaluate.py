"""Score edits on CounterFact-style records."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from rich.progress import track

from lens_rome._typing import Model
from lens_rome.editing import Edit
from lens_rome.errors import EditError
from lens_rome.evaluation.likelihood import likelihoods
from lens_rome.evaluation.provenance import Provenance
from lens_rome.evaluation.questions import asked_prompts, expected_targets
from lens_rome.evaluation.report import EvalReport, PromptScore
from lens_rome.evaluation.scorer import Job, Scorer
from lens_rome.evaluation.settings import TextSettings
from lens_rome.evaluation.text_scorer import TextScorer
from lens_rome.evaluation.texts import ReferenceTexts
from lens_rome.facts import EditRequest, EvalRecord
from lens_rome.moments import SecondMoment, SecondMoments
from lens_rome.surface import AbstractSurface, as_surface

_TOGETHER = 32
"""Edits that are made in one batch and held at a time; editors whose `makes_dense_edits` is True make one at a time."""
_SCORED = 256
"""Records that are scored together where the edits are there already; they are sorted by length among each other."""


@runtime_checkable
class Editor(Protocol):
    """Anything that makes independent edits, such as `ROME(...)`."""

    def edit_each(
        self,
        model: Model,
        requests: Sequence[EditRequest],
        *,
        moments: SecondMoments | SecondMoment | str | None = None,
    ) -> list[Edit]:
        """One edit a request."""
        ...


Edits = Edit | Editor | Mapping[int, Edit] | None


def evaluate(
    model: Model,
    records: Iterable[EvalRecord],
    edits: Edits = None,
    *,
    moments: SecondMoments | SecondMoment | str | None = None,
    prepend_bos: bool | None = None,
    label: str = "",
    progress: bool = False,
    before: bool = False,
    attributes: bool = False,
    weights: bool = False,
    batch_tokens: int | None = None,
    texts: TextSettings | None = None,
    references: ReferenceTexts | None = None,
    essence: bool = False,
) -> EvalReport:
    """Efficacy, paraphrase, neighbourhood and text scores of edits, each record under its own edited model.

    Prompts of many records run together, each row with its own edit as hooks; the values are those of `score_record`
    record by record under `edit.applied(model)`, up to rounding. Edits without hook form (dense changes, rows of
    embeddings) are written into the weights one after the other instead. The model comes back bit for bit.

    `report.settings` tells how it was made: model, editors with their settings, and what was asked.

    Args:
        edits: None for the unedited model; one `Edit` for all records; a mapping from case id to `Edit`; or an
            editor, which then makes one independent edit a record (with `moments`).
        prepend_bos: None for the setting an edit was made with, and the model's own without an edit.
        label: what the report calls itself.
        before: score the unedited model too, into `before_new` and `before_true` of each score. A prompt of several
            records is asked only once.
        attributes: score the attribute prompts too; no published score is made of them.
        weights: write every edit into the weights. It matters in half precision: a weight is stored rounded, a hook
            adds the change as it is, so that an edited checkpoint may score a little differently. Much slower.
        batch_tokens: positions of one forward, padding included; None for 1024 on a CPU and 16384 elsewhere. The
            memory of activations grows with it, the scores do not depend on it.
        texts: let each edited model write after the generation prompts, and score that (GE; `TextSettings()` are the
            papers' settings). It takes much longer than all else. With `before` the unedited model writes too, from
            the same streams of chance.
        references: what the texts are compared with (RS), such as `lens_rome.datasets.References`.
        essence: score too how likely the unedited model's texts about each subject still are (Hase et al.).

    Raises:
        EditError: no records, no edit for one of them, settings out of range, or scores of texts without settings or
            generation prompts.
        DatasetError: no reference texts for a record.
        EditMismatchError: an edit was made for other weights.
        FactError, SubjectSpanError, SurfaceError: a prompt or target that cannot be used, or is too long.
    """
    surface = as_surface(model)
    records = list(records)
    _check(records, edits, batch_tokens)
    _check_texts(records, texts, references, essence)
    expected = expected_targets(records, attributes) if before or edits is None else {}
    scorer = Scorer(surface, expected, before=before, weights=weights, batch_tokens=batch_tokens)

    writer = texts and TextScorer(surface, texts, references, essence=essence, weights=weights)
    how = Provenance(surface)

    def scored() -> Iterator[list[PromptScore]]:
        for some in _edits_of(model, records, edits, moments):
            jobs = [_job(surface, *each, prepend_bos, attributes) for each in some]
            for job in jobs:
                how.add(job.edit, job.prepend_bos)
            told = scorer.score(jobs)
            if writer:
                writer.write(jobs)
            yield from told

    told = track(scored(), total=len(records), description=label or "evaluating", disable=not progress, transient=True)
    scores = tuple(score for scores in told for score in scores)
    settings = how.settings(before=before, attributes=attributes, weights=weights, texts=texts, essence=essence)
    return EvalReport(scores, label, writer.rows(before=before) if writer else (), settings)


def _check(records: Sequence[EvalRecord], edits: Edits, batch_tokens: int | None) -> None:
    if not records:
        raise EditError("no records to evaluate on.")
    if batch_tokens is not None and batch_tokens < 1:
        raise EditError(f"batch_tokens must be a whole number from 1, got {batch_tokens}.")
    if isinstance(edits, Mapping):
        missing = [record.case_id for record in records if record.case_id not in edits]
        if missing:
            raise EditError(f"{len(missing)} records have no edit, the first is case {missing[0]}.")


def _check_texts(
    records: Sequence[EvalRecord], texts: TextSettings | None, references: ReferenceTexts | None, essence: bool
) -> None:
    """Everything that is wrong with what is asked of texts, before an edit is made."""
    if texts is None and (references is not None or essence):
        raise EditError("references and essence score texts; say how they are written: texts=TextSettings().")
    prompted = [record for record in records if record.generation_prompts]
    if texts is not None and not (prompted or essence):
        raise EditError("no record has generation_prompts, so there is nothing to write. Leave texts out.")
    if references is not None:
        references.check([record.reference_group for record in prompted])


def _job(
    surface: AbstractSurface, record: EvalRecord, edit: Edit | None, prepend_bos: bool | None, attributes: bool
) -> Job:
    bos = surface.prepends_bos(prepend_bos if edit is None else _bos_of(edit, prepend_bos))
    return Job(record, asked_prompts(record, bos, attributes), edit, bos)


def _bos_of(edit: Edit, prepend_bos: bool | None) -> bool | None:
    """The BOS setting to score an edit with: the one it was made with."""
    made_with = edit.provenance.get("prepend_bos")
    if prepend_bos is not None and made_with is not None and made_with != prepend_bos:
        raise EditError(f"the edit was made with prepend_bos={made_with}; score it so, or leave prepend_bos out.")
    return made_with if prepend_bos is None else prepend_bos


def _edits_of(
    model: Model,
    records: Sequence[EvalRecord],
    edits: Edits,
    moments: SecondMoments | SecondMoment | str | None,
) -> Iterator[list[tuple[EvalRecord, Edit | None]]]:
    """Records with their edits, some at a time. An editor makes the edits of those together."""
    given = edits is None or isinstance(edits, Edit | Mapping)
    step = _SCORED if given else 1 if getattr(edits, "makes_dense_edits", False) else _TOGETHER
    for start in range(0, len(records), step):
        some = records[start : start + step]
        if isinstance(edits, Mapping):
            yield [(record, edits[record.case_id]) for record in some]
        elif edits is None or isinstance(edits, Edit):
            yield [(record, edits) for record in some]
        else:
            made = edits.edit_each(model, [record.request for record in some], moments=moments)
            yield list(zip(some, made, strict=True))


def score_record(
    surface: AbstractSurface, record: EvalRecord, prepend_bos: bool | None = None, *, attributes: bool = False
) -> list[PromptScore]:
    """Both objects' likelihoods after every prompt of one record, under the model as it is now: the straightforward
    way, whole runs with a row for each prompt and object. `evaluate` gives the same, faster.

    Raises:
        FactError: as `evaluate`.
    """
    prompts = asked_prompts(record, surface.prepends_bos(prepend_bos), attributes)
    questions = [question for prompt in prompts for question in prompt.questions]
    told = likelihoods(surface, [(question.prompt, question.target) for question in questions], prepend_bos)
    found = dict(zip(questions, told, strict=True))
    return [prompt.score(found) for prompt in prompts]
