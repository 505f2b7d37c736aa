"""What is asked of a model: a fact, and the request to rewrite it. No model here."""

from dataclasses import dataclass

from lens_rome.errors import FactError, SubjectSpanError


def fill_template(template: str, subject: str) -> str:
    """Put `subject` into the one `{}` of `template`; other braces stay as they are."""
    return template.replace("{}", subject)


def _checked_template(template: object) -> str:
    """The template without the spaces at its end, which tokenizers put before the first word of the target.

    Raises:
        FactError: not a text, or not exactly one slot.
    """
    if not isinstance(template, str):
        raise FactError(f"template must be a text with '{{}}' for the subject, got {template!r}.")
    count = template.count("{}")
    if count != 1:
        hint = " Write it like '{} is in the city of'." if count == 0 else " Keep one of them."
        raise FactError(f"template must contain '{{}}' exactly once, found it {count} times in {template!r}.{hint}")
    return template.rstrip(" \t")


def _checked_text(name: str, text: object, may_be_empty: bool = False) -> str:
    if not isinstance(text, str) or not (may_be_empty or text.strip()):
        raise FactError(f"{name} must be a {'' if may_be_empty else 'non-empty '}string, got {text!r}.")
    return text.strip()


@dataclass(frozen=True)
class EditRequest:
    """A wish: the prompt made from `template` and `subject` shall be continued by `target_new`.

    Raises:
        FactError: template without exactly one `{}`, empty subject or target, or target equal to the old one.
    """

    subject: str
    template: str
    """Text with one `{}` for the subject, ending right before the target. Spaces at its end are dropped, since the
    target's first token brings its own; a line break there stays.
    """
    target_new: str
    """The new object, without leading space."""
    target_true: str = ""
    """The object that holds in the world (for scores); may be empty."""
    relation: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "template", _checked_template(self.template))
        object.__setattr__(self, "subject", _checked_text("subject", self.subject))
        object.__setattr__(self, "target_new", _checked_text("target_new", self.target_new))
        object.__setattr__(self, "target_true", _checked_text("target_true", self.target_true, may_be_empty=True))
        _checked_text("relation", self.relation, may_be_empty=True)
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
    """Text with exactly one `{}`, ending right before the object. Spaces at its end are dropped, since the object's
    first token brings its own; a line break there stays.
    """
    target: str
    """The object, without leading space."""
    relation: str = ""
    """Name of the relation in its world or data set; empty if there is none."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "template", _checked_template(self.template))
        object.__setattr__(self, "subject", _checked_text("subject", self.subject))
        object.__setattr__(self, "target", _checked_text("target", self.target))
        _checked_text("relation", self.relation, may_be_empty=True)

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
            FactError: a text that is none, or that has a slot.  SubjectSpanError: the subject does not occur.
        """
        if not isinstance(prompt, str) or not isinstance(subject, str):
            raise FactError(f"prompt and subject must be texts, got {prompt!r} and {subject!r}.")
        subject = subject.strip()
        if not subject or subject not in prompt:
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
