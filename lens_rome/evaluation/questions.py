"""What is asked about a record, and the scores that the answers make."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lens_rome.errors import FactError
from lens_rome.evaluation.likelihood import Likelihood
from lens_rome.evaluation.report import PromptScore
from lens_rome.facts import EvalRecord


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


def asked_prompts(record: EvalRecord, prepend_bos: bool, attributes: bool = False) -> list[AskedPrompt]:
    """All prompts of a record that are scored, in the order of the report.

    Args:
        attributes: the attribute prompts too; no published score is made of them.

    Raises:
        FactError: the answers of the neighbourhood prompts are not as many as the prompts.
    """
    new = record.request.target_new
    return [
        AskedPrompt(
            record.case_id,
            group,
            Question(prompt, new, prepend_bos),
            Question(prompt, true, prepend_bos) if true else None,
            record.request.relation,
        )
        for group, prompt, true in _prompts(record, attributes)
    ]


def expected_targets(records: Iterable[EvalRecord], attributes: bool = False) -> dict[str, dict[str, None]]:
    """Every prompt of the records with all targets that some record asks about after it."""
    found: dict[str, dict[str, None]] = {}
    for record in records:
        for _, prompt, true in _prompts(record, attributes):
            found.setdefault(prompt, {}).update(dict.fromkeys([record.request.target_new, *([true] if true else [])]))
    return found


def _prompts(record: EvalRecord, attributes: bool) -> Iterator[tuple[str, str, str]]:
    """Group, prompt, and the object that held before or is right there."""
    request, answers = record.request, record.neighborhood_answers
    if answers and len(answers) != len(record.neighborhood_prompts):
        raise FactError(
            f"record {record.case_id} has {len(record.neighborhood_prompts)} neighborhood_prompts and {len(answers)} "
            "neighborhood_answers. Give one answer a prompt, or none where target_true is right after all of them."
        )
    yield "rewrite", request.prompt, request.target_true
    yield from (("paraphrase", prompt, request.target_true) for prompt in record.paraphrase_prompts)
    for i, prompt in enumerate(record.neighborhood_prompts):
        yield "neighborhood", prompt, answers[i] if answers else request.target_true
    if attributes:
        yield from (("attribute", prompt, request.target_true) for prompt in record.attribute_prompts)
