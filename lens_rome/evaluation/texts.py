"""What a model writes about the subject of an edit, and the scores of that: GE, RS and essence."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Protocol, runtime_checkable

import torch

from lens_rome._typing import FwdHooks, Model, Tensor
from lens_rome.errors import EditError
from lens_rome.evaluation.essence import Essence, essence_score
from lens_rome.evaluation.fluency import ngram_entropy, words
from lens_rome.evaluation.generation import HooksFor, generate
from lens_rome.evaluation.given_texts import perplexities
from lens_rome.evaluation.rows import RecordTexts
from lens_rome.evaluation.settings import TextSettings
from lens_rome.facts import EvalRecord
from lens_rome.surface import AbstractSurface, as_surface


@runtime_checkable
class ReferenceTexts(Protocol):
    """What texts are compared with, such as `lens_rome.datasets.References`."""

    def check(self, groups: Sequence[tuple[str, str]]) -> None:
        """Raise an error if there is no reference for one of `groups`."""
        ...

    def score(self, texts: Sequence[str], group: tuple[str, str]) -> float | None:
        """How alike the texts are to those of the group; None where it cannot be told."""
        ...


def score_texts(
    model: Model | AbstractSurface,
    records: Sequence[EvalRecord],
    *,
    settings: TextSettings | None = None,
    references: ReferenceTexts | None = None,
    essences: Mapping[str, Essence] | None = None,
    split: Callable[[str], Sequence[str]] = words,
    prepend_bos: bool | None = None,
    hooks_for: HooksFor | None = None,
) -> list[RecordTexts]:
    """Texts and their scores of each record, under the model as it is now or with each record's own hooks.

    A text's stream of chance is named by the case id, the place of its prompt and the sample (0): the same under every
    model, whatever else is scored.

    Args:
        settings: None for the papers'.
        references: what RS compares with; None for no RS.
        essences: of the records' subjects, from `read_essences` of the unedited model; None for no essence score.
        split: makes words of a text for GE; the papers use NLTK's `word_tokenize`.
        hooks_for: given indices of `records`, one a row, the hooks of their edited models; several rows may be of one
            record.

    Raises:
        EditError: no essence of a record's subject.
        DatasetError: no reference for a record's group.
    """
    settings, surface = settings or TextSettings(), model if isinstance(model, AbstractSurface) else as_surface(model)
    if references is not None:
        references.check([record.reference_group for record in records if record.generation_prompts])
    written = _written(surface, records, settings, prepend_bos, hooks_for)
    left: list[tuple[float | None, float | None]] = [(None, None)] * len(records)
    if essences is not None:
        left = [*_left(surface, records, essences, settings, prepend_bos, hooks_for)]
    scores = []
    for record, texts, (essence, perplexity) in zip(records, written, left, strict=True):
        compared = None if references is None or not texts else references.score(texts, record.reference_group)
        fluency = fmean(ngram_entropy(text, split) for text in texts) if texts else None
        relation = record.request.relation
        scores.append(RecordTexts(record.case_id, texts, fluency, compared, essence, perplexity, relation=relation))
    return scores


def _written(
    surface: AbstractSurface,
    records: Sequence[EvalRecord],
    settings: TextSettings,
    prepend_bos: bool | None,
    hooks_for: HooksFor | None,
) -> list[tuple[str, ...]]:
    """The texts of each record."""
    asked = [(i, place) for i, record in enumerate(records) for place in range(len(record.generation_prompts))]
    texts = generate(
        surface,
        [records[i].generation_prompts[place] for i, place in asked],
        length=settings.length,
        top_k=settings.top_k,
        seed=settings.seed,
        ids=[f"{records[i].case_id}/{place}/0" for i, place in asked],
        prepend_bos=prepend_bos,
        hooks_for=_of_owners(hooks_for, [i for i, _ in asked]),
        rows=settings.rows,
    )
    told = iter(texts)
    return [tuple(next(told) for _ in record.generation_prompts) for record in records]


def _left(
    surface: AbstractSurface,
    records: Sequence[EvalRecord],
    essences: Mapping[str, Essence],
    settings: TextSettings,
    prepend_bos: bool | None,
    hooks_for: HooksFor | None,
) -> list[tuple[float, float]]:
    """The essence score of each record, and the mean perplexity that it is made of."""
    for record in records:
        if record.request.subject not in essences:
            raise EditError(
                f"record {record.case_id}: no essence of {record.request.subject!r}. Make them with read_essences of "
                "the unedited model, for the subjects of all records."
            )
    own = [essences[record.request.subject] for record in records]
    owners = [i for i, essence in enumerate(own) for _ in essence.texts]
    texts = [text for essence in own for text in essence.texts]
    hooks = _of_owners(hooks_for, owners)
    found = iter(perplexities(surface, texts, longest=settings.length, prepend_bos=prepend_bos, hooks_for=hooks))
    after = [fmean(next(found) for _ in essence.texts) for essence in own]
    return [(essence_score(essence.perplexity, each), each) for essence, each in zip(own, after, strict=True)]


def _of_owners(hooks_for: HooksFor | None, owners: Sequence[int]) -> HooksFor | None:
    """Hooks for texts, from hooks for the records that they belong to."""
    if hooks_for is None:
        return None
    record = torch.tensor(owners, dtype=torch.long)

    def hooks(rows: Tensor) -> FwdHooks:
        return hooks_for(record[rows])

    return hooks
