"""What is asked of a model: a fact, the request to rewrite it, and the record that scores the rewrite. No model
here.
"""

from dataclasses import dataclass, field
from typing import Any

from lens_rome.errors import FactError, SubjectSpanError


def fill_template(template: str, subject: str) -> str:
    """Put `subject` into the one `{}` of `template`; other braces stay as they are."""
    return template.replace("{}", subject)


def _checked_template(template: str) -> None:
    count = template.count("{}")
    if count != 1:
        hint = " Write it like '{} is in the city of'." if count == 0 else " Keep one of them."
        raise FactError(f"template must contain '{{}}' exactly once, found it {count} times in {template!r}.{hint}")


def _checked_text(name: str, text: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise FactError(f"{name} must be a non-empty string, got {text!r}.")
    return text.strip()


def _checked_prompts(name: str, prompts: object) -> tuple[str, ...]:
    if not isinstance(prompts, (list, tuple)) or not all(isinstance(prompt, str) for prompt in prompts):
        raise TypeError(f"{name} must be a list of strings")
    return tuple(prompts)


@dataclass(frozen=True)
class EditRequest:
    """A wish: the prompt made from `template` and `subject` shall be continued by `target_new`.

    Raises:
        FactError: template without exactly one `{}`, empty subject or target, or target equal to the old one.
    """

    subject: str
    template: str
    """Text with one `{}` for the subject, ending right before the target."""
    target_new: str
    """The new object, without leading space."""
    target_true: str = ""
    """The object that holds in the world (for scores); may be empty."""
    relation: str = ""

    def __post_init__(self) -> None:
        _checked_template(self.template)
        object.__setattr__(self, "subject", _checked_text("subject", self.subject))
        object.__setattr__(self, "target_new", _checked_text("target_new", self.target_new))
        object.__setattr__(self, "target_true", self.target_true.strip())
        if self.target_new == self.target_true:
            raise FactError(
                f"target_new equals the target that already holds: {self.target_new!r}. Ask for another object."
            )

    @property
    def prompt(self) -> str:
        """The template with the subject filled in."""
        return fill_template(self.template, self.subject)

    def __str__(self) -> str:
        return f"{self.prompt} → {self.target_new}"


@dataclass(frozen=True)
class Fact:
    """A subject, a template with one `{}` for it, and the object that completes the sentence.

    >>> fact = Fact("Eiffel Tower", "The {} is in the city of", "Paris")
    >>> fact.prompt
    'The Eiffel Tower is in the city of'
    >>> str(fact.rewrite("Rome"))
    'The Eiffel Tower is in the city of → Rome'

    Raises:
        FactError: template without exactly one `{}`, empty subject or target.
    """

    subject: str
    template: str
    """Text with exactly one `{}`, ending right before the object (no trailing space needed)."""
    target: str
    """The object, without leading space."""
    relation: str = ""
    """Name of the relation in its world or data set; empty if there is none."""

    def __post_init__(self) -> None:
        _checked_template(self.template)
        object.__setattr__(self, "subject", _checked_text("subject", self.subject))
        object.__setattr__(self, "target", _checked_text("target", self.target))

    @property
    def prompt(self) -> str:
        """The template with the subject filled in."""
        return fill_template(self.template, self.subject)

    @classmethod
    def from_prompt(cls, prompt: str, subject: str, target: str, relation: str = "") -> "Fact":
        """The fact whose subject is the first occurrence of `subject` in a text without a slot.

        >>> Fact.from_prompt("The Eiffel Tower is in", "Eiffel Tower", "Paris").template
        'The {} is in'

        Raises:
            SubjectSpanError: the subject does not occur.
        """
        if not subject.strip() or subject not in prompt:
            raise SubjectSpanError(
                f"subject {subject!r} is not in the prompt {prompt!r}. Check the spelling, or give a Fact whose "
                "template has '{}' where the subject goes."
            )
        if "{}" in prompt:
            raise FactError(f"the prompt {prompt!r} has a slot '{{}}' already; give Fact(subject, template, target).")
        return cls(subject, prompt.replace(subject, "{}", 1), target, relation)

    def rewrite(self, target_new: str) -> EditRequest:
        """The request that this fact's object become `target_new`."""
        return EditRequest(self.subject, self.template, target_new, self.target, self.relation)

    def __str__(self) -> str:
        return f"{self.prompt} → {self.target}"


@dataclass(frozen=True)
class EvalRecord:
    """One CounterFact-style record: a request and the prompts that score what an edit did (reference: ROME, §3.3)."""

    case_id: int
    request: EditRequest
    paraphrase_prompts: tuple[str, ...] = ()
    """Other wordings of the request's prompt, subject filled in."""
    neighborhood_prompts: tuple[str, ...] = ()
    """Prompts about other subjects for which `target_true` is right."""
    attribute_prompts: tuple[str, ...] = ()
    """Prompts about other subjects for which `target_new` is right."""
    generation_prompts: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict, compare=False, hash=False)
    """Keys of the source file that have no field here; kept for a round trip."""

    def to_dict(self) -> dict[str, Any]:
        """The record in the schema of `counterfact.json`."""
        rewrite = {
            "prompt": self.request.template,
            "subject": self.request.subject,
            "relation_id": self.request.relation,
            "target_new": {"str": self.request.target_new},
            "target_true": {"str": self.request.target_true},
        }
        return {
            **self.extra,
            "case_id": self.case_id,
            "requested_rewrite": rewrite,
            "paraphrase_prompts": list(self.paraphrase_prompts),
            "neighborhood_prompts": list(self.neighborhood_prompts),
            "attribute_prompts": list(self.attribute_prompts),
            "generation_prompts": list(self.generation_prompts),
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "EvalRecord":
        """Read one record of `counterfact.json`.

        Raises:
            FactError: a key is missing or the request is not valid; the message names the case.
        """
        case = record.get("case_id", "?")
        try:
            rewrite = record["requested_rewrite"]
            request = EditRequest(
                subject=rewrite["subject"],
                template=rewrite["prompt"],
                target_new=rewrite["target_new"]["str"],
                target_true=rewrite["target_true"]["str"],
                relation=rewrite.get("relation_id", ""),
            )
            prompts = {
                name: _checked_prompts(name, record.get(name, []))
                for name in (
                    "paraphrase_prompts",
                    "neighborhood_prompts",
                    "attribute_prompts",
                    "generation_prompts",
                )
            }
            known = {"case_id", "requested_rewrite", *prompts}
            extra = {key: value for key, value in record.items() if key not in known}
            return cls(int(record["case_id"]), request, extra=extra, **prompts)
        except FactError as error:
            raise FactError(f"record {case}: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise FactError(
                f"record {case} is not in the CounterFact schema: {error!r}. It needs case_id, requested_rewrite "
                "(prompt, subject, target_new.str, target_true.str) and lists of prompts."
            ) from error
