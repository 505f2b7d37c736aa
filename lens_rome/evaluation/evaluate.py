"""Score edits on CounterFact-style records, record by record."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from rich.progress import track

from lens_rome._typing import Model
from lens_rome.editing import Edit
from lens_rome.errors import EditError
from lens_rome.evaluation.likelihood import likelihoods
from lens_rome.evaluation.report import EvalReport, PromptScore
from lens_rome.facts import EditRequest, EvalRecord
from lens_rome.moments import SecondMoment, SecondMoments
from lens_rome.surface import AbstractSurface, as_surface

_TOGETHER = 32
"""Edits that are made in one batch and held at a time; editors whose `makes_dense_edits` is True make one at a time."""


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
) -> EvalReport:
    """Efficacy, paraphrase and neighbourhood scores of edits, each record under its own edited model.

    The model is restored bit for bit after each record.

    Args:
        edits: None for the unedited model; one `Edit` for all records; a mapping from case id to `Edit`; or an
            editor, which then makes one independent edit a record (with `moments`).
        prepend_bos: None for the setting an edit was made with, and the model's own without an edit.
        label: what the report calls itself.

    Raises:
        EditError: no records, or no edit for one of them.
    """
    surface = as_surface(model)
    records = list(records)
    if not records:
        raise EditError("no records to evaluate on.")
    if isinstance(edits, Mapping):
        missing = [record.case_id for record in records if record.case_id not in edits]
        if missing:
            raise EditError(f"{len(missing)} records have no edit, the first is case {missing[0]}.")
    scores: list[PromptScore] = []
    made = _edits_of(model, records, edits, moments)
    pairs = track(made, total=len(records), description=label or "evaluating", disable=not progress, transient=True)
    for record, edit in pairs:
        if edit is None:
            scores += score_record(surface, record, prepend_bos)
        else:
            with edit.applied(model):
                scores += score_record(surface, record, _bos_of(edit, prepend_bos))
    return EvalReport(tuple(scores), label)


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
) -> Iterator[tuple[EvalRecord, Edit | None]]:
    """Each record with its edit. An editor makes the edits of some records at a time."""
    if edits is None or isinstance(edits, Edit | Mapping):
        yield from ((each, edits[each.case_id] if isinstance(edits, Mapping) else edits) for each in records)
        return
    step = 1 if getattr(edits, "makes_dense_edits", False) else _TOGETHER
    for start in range(0, len(records), step):
        some = records[start : start + step]
        yield from zip(some, edits.edit_each(model, [each.request for each in some], moments=moments), strict=True)


def score_record(surface: AbstractSurface, record: EvalRecord, prepend_bos: bool | None = None) -> list[PromptScore]:
    """Both objects' likelihoods after every prompt of one record, under the model as it is now."""
    request = record.request
    prompts = [("rewrite", request.prompt)]
    prompts += [("paraphrase", prompt) for prompt in record.paraphrase_prompts]
    prompts += [("neighborhood", prompt) for prompt in record.neighborhood_prompts]
    prompts += [("attribute", prompt) for prompt in record.attribute_prompts]
    questions = [
        (prompt, target) for (_, prompt) in prompts for target in (request.target_new, request.target_true) if target
    ]
    found = iter(likelihoods(surface, questions, prepend_bos))
    return [
        PromptScore(record.case_id, group, prompt, next(found), next(found) if request.target_true else None)
        for group, prompt in prompts
    ]
