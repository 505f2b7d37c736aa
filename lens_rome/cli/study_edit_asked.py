"""What `lens-rome study edit` is asked: which fact, which new object, and which prompts tell its story."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from lens_rome.cli.edit_one import completed
from lens_rome.cli.models import Loaded
from lens_rome.cli.reporting import CommandError
from lens_rome.datasets import iter_records
from lens_rome.datasets.records import subject_absent
from lens_rome.facts import EditRequest, EvalRecord, Fact, fill_template
from lens_rome.studies.one_edit import Question, record_questions, world_questions
from lens_rome.studies.probes.texts import mentions


@dataclass(frozen=True)
class Given:
    """The fact and the prompts of the command's options."""

    fact: str | None = None
    """The prompt, with the subject in it or with `{}` in its place."""
    to: str | None = None
    subject: str | None = None
    target_true: str | None = None
    record: EvalRecord | None = None
    prompts: dict[str, Sequence[str]] = field(default_factory=dict)
    """By option: paraphrase, neighbor, keep, related, describe, reverse, generate."""

    def __post_init__(self) -> None:
        """Raise `CommandError` for options that say something else than the record does."""
        if self.record is None:
            return
        asked = self.record.request
        if self.fact is not None and self.fact.strip() not in (asked.prompt, asked.template):
            raise CommandError(f"the record is about {asked.prompt!r}, FACT is {self.fact!r}; leave out FACT.")
        for option, given, told in (
            ("subject", self.subject, asked.subject),
            ("target-true", self.target_true, asked.target_true),
        ):
            if given is not None and given != told:
                raise CommandError(f"the record says {told!r}, --{option} is {given!r}; leave out --{option}.")

    def request(self, loaded: Loaded, bos: bool | None) -> EditRequest:
        """The request, with the object until now.

        Raises:
            CommandError: no such fact in the bundled world, a fact without its subject, no new object.
            FactError: the new object is the one until now.
        """
        if self.record is not None:
            asked = self.record.request
            return asked if self.to is None else replace(asked, target_new=self.to)
        if self.fact is None or self.to is None:
            raise CommandError("give FACT, a prompt that ends before its object, and --to OBJECT; or a --record.")
        fact = _fact(loaded, self.fact.strip(), self.subject)
        return completed(loaded, replace(fact.rewrite(self.to), target_true=""), self._true(fact), bos)

    def _true(self, fact: Fact) -> str | None:
        return self.target_true or (fact.target if fact.relation else None)

    def unchecked(self, loaded: Loaded, request: EditRequest) -> str | None:
        """None where the old object is from the record, the options or the bundled world; else it is only what the
        model says, and this is what the world has to say of that, or nothing.
        """
        if self.record is not None or self.target_true or self._of_world(loaded, request):
            return None
        return loaded.hint(request.subject, request.template) or ""

    def questions(self, loaded: Loaded, request: EditRequest) -> tuple[Question, ...]:
        """What is asked besides the edited prompt: the world's prompts or the record's, and those of the options.

        Raises:
            CommandError: a prompt without the answer that it needs, or that names neither object.
            FactError: a prompt that cannot be asked.
        """
        new, old = request.target_new, request.target_true
        found: list[Question] = []
        if self._of_world(loaded, request):
            assert loaded.world is not None
            found += world_questions(loaded.world, request)
        if self.record is not None:
            same = new == self.record.request.target_new
            others = self.record.attribute_prompts if same else ()  # of subjects that have the record's new object
            found += record_questions(replace(self.record, request=request, attribute_prompts=others))
        for option, group in (("paraphrase", "paraphrase"), ("neighbor", "neighbor"), ("describe", "description")):
            found += [Question(group, prompt, new, old) for prompt in self.prompts.get(option, ())]
        for option, group in (("keep", "own fact"), ("related", "related")):
            told = [_with_answer(option, text) for text in self.prompts.get(option, ())]
            found += [Question(group, prompt, new, answer) for prompt, answer in told]
        found += [_reverse(prompt, request) for prompt in self.prompts.get("reverse", ())]
        return tuple(found)

    def generation_prompts(self, loaded: Loaded, request: EditRequest) -> tuple[str, ...]:
        """What is continued freely."""
        found = [*self.prompts.get("generate", ())]
        if self.record is not None:
            found += self.record.generation_prompts
        elif self._of_world(loaded, request):
            assert loaded.world is not None
            found += loaded.world.generation_prompts(request.subject)
        return tuple(dict.fromkeys(found))

    def _of_world(self, loaded: Loaded, request: EditRequest) -> bool:
        return self.record is None and loaded.known_fact(request.subject, request.template) is not None


def read_record(path: Path, case: int | None) -> EvalRecord:
    """A record of a file: the one with the case id, or the only one.

    Raises:
        DatasetError: no such file, or no records.  CommandError: no such case, several and none named, or a prompt
            about the subject that does not name it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of prompts without their subject: that of the record itself is told below
        found = _chosen(path, case)
    if problem := subject_absent(found):
        raise CommandError(f"{path}: {problem} Correct the prompt in the file, or take it out.")
    return found


def _chosen(path: Path, case: int | None) -> EvalRecord:
    found = None
    for record in iter_records(path):
        if case is None and found is not None:
            raise CommandError(f"{path} holds several records; name one by --case, such as --case {found.case_id}.")
        if case in (None, record.case_id):
            found = record
            if case is not None:
                break
    if found is None:
        raise CommandError(f"{path} holds no record{'' if case is None else f' of case {case}'}.")
    return found


def _fact(loaded: Loaded, text: str, subject: str | None) -> Fact:
    """The fact that a text asks about; its relation is empty where the bundled world does not state it."""
    if subject is None and loaded.world is None:
        raise CommandError("give --subject, the part of FACT that names whom it is about.")
    if subject is not None:
        fact = Fact(subject, text, "?") if "{}" in text else Fact.from_prompt(text, subject, "?")
        return loaded.known_fact(fact.subject, fact.template) or fact
    assert loaded.world is not None
    for fact in loaded.world.facts:
        if fact.subject in text:
            for template in loaded.templates(fact):
                if fill_template(template, fact.subject) == text:
                    return Fact(fact.subject, template, fact.target, fact.relation)
    like = get_close_matches(text, [fact.prompt for fact in loaded.world.facts], n=2, cutoff=0.6)
    hint = f" Did you mean {' or '.join(map(repr, like))}?" if like else " `load_atlas()[1].facts` lists its facts."
    raise CommandError(f"the atlas states no fact in the words {text!r}.{hint} Or name its subject by --subject.")


def _with_answer(option: str, text: str) -> tuple[str, str]:
    prompt, sign, answer = text.rpartition("=")
    if not sign or not prompt.strip() or not answer.strip():
        raise CommandError(f"--{option} takes PROMPT=ANSWER, such as 'Big Ben is in the city of=London'; got {text!r}.")
    return prompt.strip(), answer.strip()


def _reverse(prompt: str, request: EditRequest) -> Question:
    """A prompt that asks for the subject from one of the objects, named as a whole word."""
    for group, answer in (("reverse new", request.target_new), ("reverse old", request.target_true)):
        if mentions(prompt, [answer]):
            return Question(group, prompt, request.subject)
    raise CommandError(
        f"--reverse takes a prompt that names {request.target_new!r} or {request.target_true!r} and ends before the "
        f"subject; got {prompt!r}."
    )
