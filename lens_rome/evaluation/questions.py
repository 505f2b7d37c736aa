"""What is asked about a record, and the scores that the answers make."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from lens_rome.errors import FactError
from lens_rome.evaluation.likelihood import Likelihood
from lens_rome.evaluation.report import PromptScore
from lens_rome.facts import EvalRecord

ASKED_GROUPS = ("rewrite", "paraphrase", "neighborhood")
"""What is asked where nothing else is said."""


@dataclass(frozen=True)
class Question:
    """How likely is `target` after `prompt`?"""

    prompt: str
    target: str
    prepend_bos: bool


@dataclass(frozen=True)
class AskedPrompt:
    """A prompt of a record with the one or two questions about it."""

    case_id: int
    group: str
    new: Question
    true: Question | None
    relation: str = ""

    @property
    def questions(self) -> tuple[Question, ...]:
        """About the new object, then about the one that held before."""
        return (self.new,) if self.true is None else (self.new, self.true)

    def score(
        self, found: Mapping[Question, Likelihood], before: Mapping[Question, Likelihood] | None = None
    ) -> PromptScore:
        """The score made of the answers; `before` are those of the unedited model."""
        new, true = found[self.new], self.true and found[self.true]
        old_new, old_true = (None, None) if before is None else (before[self.new], self.true and before[self.true])
        prompt = self.new.prompt
        return PromptScore(self.case_id, self.group, prompt, new, true, old_new, old_true, self.relation)


def asked_prompts(record: EvalRecord, prepend_bos: bool, groups: Collection[str] = ASKED_GROUPS) -> list[AskedPrompt]:
    """The prompts of a record that are scored, in the order of the report.

    Args:
        groups: kinds of prompts; no published score is made of the attribute prompts.

    Raises:
        FactError: the answers of the neighbourhood prompts are not as many as the prompts.
    """
    return [
        AskedPrompt(
            record.case_id,
            group,
            Question(prompt, new, prepend_bos),
            Question(prompt, true, prepend_bos) if true else None,
            record.request.relation,
        )
        for group, prompt, new, true in _prompts(record, groups)
    ]


def expected_targets(
    records: Iterable[EvalRecord], groups: Collection[str] = ASKED_GROUPS
) -> dict[str, dict[str, None]]:
    """Every prompt of the records with all targets that some record asks about after it."""
    found: dict[str, dict[str, None]] = {}
    for record in records:
        for _, prompt, new, true in _prompts(record, groups):
            found.setdefault(prompt, {}).update(dict.fromkeys([new, *([true] if true else [])]))
    return found


def _prompts(record: EvalRecord, groups: Collection[str]) -> Iterator[tuple[str, str, str, str]]:
    """Group, prompt, the new object, and the object that held before or is right there."""
    request, answers = record.request, record.neighborhood_answers
    if answers and len(answers) != len(record.neighborhood_prompts):
        raise FactError(
            f"record {record.case_id} has {len(record.neighborhood_prompts)} neighborhood_prompts and {len(answers)} "
            "neighborhood_answers. Give one answer a prompt, or none where target_true is right after all of them."
        )
    new, true = request.target_new, request.target_true
    other = record.neighborhood_target or new
    beside = [(prompt, answers[i] if answers else true) for i, prompt in enumerate(record.neighborhood_prompts)]
    sentence = f"{request.prompt} {new}. "  # as the released code of CounterFact+ writes it
    every = (
        ("rewrite", request.prompt, new, true),
        *(("paraphrase", prompt, new, true) for prompt in record.paraphrase_prompts),
        *(("neighborhood", prompt, other, right) for prompt, right in beside),
        *(("distracting_neighborhood", sentence + prompt, other, right) for prompt, right in beside),
        *(("attribute", prompt, new, true) for prompt in record.attribute_prompts),
    )
    yield from (each for each in every if each[0] in groups)
