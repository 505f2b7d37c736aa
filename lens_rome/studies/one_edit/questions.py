"""What both models are asked about one edit."""

from collections.abc import Mapping
from dataclasses import dataclass

from lens_rome.editing import Edit
from lens_rome.errors import EditError, FactError
from lens_rome.facts import EditRequest, EvalRecord


@dataclass(frozen=True)
class Group:
    """Prompts that an edit should treat alike."""

    title: str
    part: str
    """Of the story: `changed`, `kept` or `leaked`."""
    wants: str
    """The object that should be the likelier one after the edit: `new`, `old`, or empty where nothing is required."""
    first: bool = False
    """Whether the old object, an answer of the prompt's own, should be the most likely of all and not of two."""


GROUPS: Mapping[str, Group] = {
    "rewrite": Group("The edited prompt", "changed", "new"),
    "paraphrase": Group("The same fact in other words", "changed", "new"),
    "neighbor": Group("Neighbours: other subjects with the old object", "kept", "old"),
    "own fact": Group("Other facts of the subject", "kept", "old", first=True),
    "attribute": Group("Other subjects that have the new object already", "kept", "new"),
    "description": Group("The subject described, and not named", "kept", ""),
    "reverse new": Group("The other way round, from the new object", "kept", ""),
    "reverse old": Group("The other way round, from the old object", "kept", ""),
    "related": Group("Related subjects with an object of their own", "leaked", "old", first=True),
}
"""Every group, in the order of the story."""


@dataclass(frozen=True)
class Question:
    """How likely are two objects after a prompt?

    Raises:
        FactError: no such group, an empty prompt, or not the objects that the group needs.
    """

    group: str
    """One of `GROUPS`."""
    prompt: str
    new: str
    """The object that the edit writes; in the reverse groups the subject, which alone is asked for there."""
    old: str = ""
    """What is right without the edit; empty in the reverse groups."""

    def __post_init__(self) -> None:
        if self.group not in GROUPS:
            raise FactError(f"no group of prompts {self.group!r}; there are {', '.join(GROUPS)}.")
        if not self.prompt.strip():
            raise FactError(f"a prompt of the group {self.group!r} is empty. Leave it out, or give its text.")
        reverse = self.group.startswith("reverse")
        if reverse == bool(self.old) or not self.new:
            needs = "the subject as `new` and no `old`" if reverse else "both objects, `new` and `old`"
            raise FactError(f"{self.group} {self.prompt!r} needs {needs}; got {self.new!r} and {self.old!r}.")
        if self.new == self.old:
            raise FactError(f"{self.group} {self.prompt!r}: both objects are {self.new!r}. Leave the prompt out.")


def record_questions(record: EvalRecord) -> tuple[Question, ...]:
    """The prompts of a record: its paraphrases, neighbours and attribute prompts.

    Raises:
        FactError: the record does not tell its true object, or not one answer a neighbour.
    """
    request, answers = record.request, record.neighborhood_answers
    right = answers or (request.target_true,) * len(record.neighborhood_prompts)
    if len(right) != len(record.neighborhood_prompts):
        raise FactError(
            f"record {record.case_id} has {len(record.neighborhood_prompts)} neighborhood_prompts and {len(answers)} "
            "neighborhood_answers. Give one answer a prompt, or none."
        )
    new, old = request.target_new, request.target_true
    return (
        *(Question("paraphrase", prompt, new, old) for prompt in record.paraphrase_prompts),
        *(Question("neighbor", prompt, new, own)
          for prompt, own in zip(record.neighborhood_prompts, right, strict=True) if own != new),
        *(Question("attribute", prompt, new, old) for prompt in record.attribute_prompts),
    )  # fmt: skip


def rewrite_question(request: EditRequest) -> Question:
    """The edited prompt itself.

    Raises:
        FactError: the request does not tell the object until now.
    """
    if not request.target_true:
        raise FactError(
            f"the request {request} does not say which object it replaces. Give target_true, such as what the "
            "unedited model says."
        )
    return Question("rewrite", request.prompt, request.target_new, request.target_true)


def check_edit_of(request: EditRequest, edit: Edit) -> None:
    """Raise `EditError` unless the edit was made of the request, as far as the edit tells (its subject, template and
    new object).
    """
    made = [(each.get("subject"), each.get("template"), each.get("target_new"))
            for each in edit.provenance.get("requests", ())]  # fmt: skip
    if made and (request.subject, request.template, request.target_new) not in made:
        subject, template, new = made[0]
        more = f" and {len(made) - 1} more" if len(made) > 1 else ""
        raise EditError(
            f"the edit is none of the request {request}: it was made of {str(template).replace('{}', str(subject))} → "
            f"{new}{more}. Give that request, or an edit of this one."
        )
