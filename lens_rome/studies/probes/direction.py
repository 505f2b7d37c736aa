"""P1: does an edit hold in the other direction, from "The Eiffel Tower is in Rome" to "A famous tower in Rome is the"?

ROME writes an association from subject to object. A statement from the object to the subject is another association,
which the edit was not asked to change; how far it follows is measured here.

Reference: the limitations of ROME as reported on LessWrong, "bidirectionality".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from lens_rome._typing import Model
from lens_rome.editing import Edit
from lens_rome.errors import FactError
from lens_rome.facts import EditRequest
from lens_rome.studies.probes.asking import before_and_after, in_weights, phases
from lens_rome.studies.probes.checks import by_name, check_case, check_texts, check_without
from lens_rome.studies.probes.direction_summary import summary_of, told_inconsistent
from lens_rome.studies.probes.finding import Answer, Finding, Missing, Value
from lens_rome.studies.probes.intervals import bootstrap, transfer
from lens_rome.studies.probes.making import Edits, Moments, edits_that_count, ready, settings_of
from lens_rome.studies.probes.sampling import Sampling
from lens_rome.studies.probes.tables import by_case, change
from lens_rome.studies.probes.texts import after_mention, begins_with, greedy, mentions, tokens_for
from lens_rome.surface import AbstractSurface, as_surface

SLOT = "{o}"
QUESTION = "Does the edit also hold from the object to the subject?"


@dataclass(frozen=True)
class DirectionCase:
    """An edit, and prompts that ask for its subject by an object.

    Raises:
        FactError: no name, no old object, no reverse prompts, one without exactly one slot or with the subject in it,
            or the subject among its competitors.
    """

    name: str
    request: EditRequest
    """With `target_true`."""
    reverse: tuple[str, ...]
    """Prompts with `{o}` for an object that end right before the subject: `The famous tower in {o} is called the`."""
    competitors: tuple[str, ...] = ()
    """Subjects of the same class for which the new object holds, such as the Colosseum for Rome."""
    aliases: tuple[str, ...] = ()
    """Other names of the subject that count as it."""

    def __post_init__(self) -> None:
        check_case(self.name, self.request)
        check_texts(self.name, "reverse prompts", self.reverse)
        for template in self.reverse:
            if template.count(SLOT) != 1:
                raise FactError(
                    f"case {self.name!r}: the reverse prompt {template!r} must contain {SLOT!r} exactly once. Write it "
                    "like 'A famous tower in {o} is the'."
                )
        check_without(self.name, "the reverse prompt", self.reverse, self.names, "It would give the answer away.")
        check_texts(self.name, "competitors", self.competitors, fewest=0)
        check_without(self.name, "the competitor", self.competitors, self.names, "Give other subjects.")

    @property
    def names(self) -> tuple[str, ...]:
        """The subject and its other names."""
        return self.request.subject, *self.aliases

    @property
    def objects(self) -> dict[str, str]:
        """The new and the old object."""
        return {"new": self.request.target_new, "old": self.request.target_true}

    def asked(self, template: str, which: str) -> str:
        """A reverse prompt about the new or the old object."""
        return template.replace(SLOT, self.objects[which])


def direction(
    model: Model,
    edits: Edits,
    cases: Sequence[DirectionCase],
    *,
    moments: Moments = None,
    known: bool = True,
    samples: int = 10,
    tokens: int = 30,
    top_k: int = 5,
    prepend_bos: bool | None = None,
    seed: int = 0,
) -> Finding:
    """How an edit from subject to object changes what is said from object to subject.

    The answer is the mean change of log p(subject | reverse prompt with the new object) over the mean change of
    log p(new object | prompt of the edit): 1 if the edit holds both ways, about 0 if only forward, NaN if the
    forward one moves by less than 0.05 nats. A case is inconsistent if the edited model says the new object forward and
    still says the subject of a reverse prompt with the old object. To say is to begin the most likely continuation with
    it, after an article or not.

    Rows: one a prompt, phase and target, with `direction` ("forward", "reverse"), `object` ("new", "old": the one asked
    for, or the one in the prompt), `role` of the target ("object", "subject", "competitor"), `logprob` (nats, joint),
    `rank` (of its first token), `top`, `greedy`, `says`, and of reverse prompts for the subject `samples`, `mentioned`
    (those that mention the subject) and `then_new` (of these, those that go on to mention the new object); 0 elsewhere.

    Args:
        model: comes back bit for bit.
        edits: one for all cases, an editor that makes one a case, or edits by the names of cases.
        cases: each of one request.
        moments: for an editor.
        known: use only those reverse prompts after which the unedited model says the subject for the old object; what
            is left out is in `missing`. False to use all.
        samples: texts a reverse prompt, from the same streams of chance before and after the edit.
        tokens: of each of them.
        top_k: of the sampling.
        prepend_bos: None for the setting that the edits are made with; for the model's where they do not tell.
        seed: of texts and intervals.

    Raises:
        FactError: no cases, two of one name, or settings that give no text.
        EditError: neither edits nor an editor, a case without an edit, edits that were made with different BOS settings
            while `prepend_bos` is None, an editor that refuses all.  EditMismatchError: an edit of other weights.
    """
    sampling = Sampling(samples, tokens, top_k, seed)
    surface, named = as_surface(model), by_name(cases, DirectionCase)
    bos = ready(surface, edits, list(named), prepend_bos)
    ask = _Ask(surface, sampling, bos)
    used, missing = ask.known(named) if known else ({name: case.reverse for name, case in named.items()}, [])
    made, refused = edits_that_count(model, edits, {name: named[name].request for name in used}, moments)
    rows = [row for name, edit in made.items() for row in ask.rows(named[name], used[name], edit)]
    settings = settings_of(surface, made, bos, seed, known=known, **sampling.settings)
    summary = summary_of(rows, seed)
    return Finding("direction", QUESTION, _answer(rows, seed), tuple(rows), summary, (*missing, *refused), settings)


@dataclass(frozen=True)
class _Ask:
    surface: AbstractSurface
    sampling: Sampling
    prepend_bos: bool

    def known(self, cases: dict[str, DirectionCase]) -> tuple[dict[str, tuple[str, ...]], list[Missing]]:
        """The reverse prompts of each case that the unedited model answers with the subject, and what is left out."""
        asked = [case.asked(template, "old") for case in cases.values() for template in case.reverse]
        length = tokens_for(self.surface, [name for case in cases.values() for name in case.names])
        told = greedy(self.surface, asked, tokens=length, prepend_bos=self.prepend_bos)
        used, missing = {}, []
        for name, case in cases.items():
            said = {t: told[case.asked(t, "old")] for t in case.reverse}
            good = tuple(t for t, text in said.items() if begins_with(text, case.names))
            if good:
                used[name] = good
            if len(good) < len(said):
                template, text = next((t, text) for t, text in said.items() if t not in good)
                share = f"{len(said) - len(good)} of {len(said)} reverse prompts: "
                missing.append(Missing.unsaid(name, case.request.subject, case.asked(template, "old"), text, share))
        return used, missing

    def rows(self, case: DirectionCase, templates: Sequence[str], edit: Edit) -> list[dict[str, Value]]:
        targets = self._targets(case, templates)
        questions = [(str(each["prompt"]), str(each["target"])) for each in targets]
        said = before_and_after(self.surface, questions, edit, prepend_bos=self.prepend_bos)
        rows = []
        for phase, each in phases(edit):
            with in_weights(self.surface, each):
                told = self._told(case, targets)
            for row, answer in zip(targets, said[phase], strict=True):
                names = case.names if row["role"] == "subject" else (str(row["target"]),)
                text = told[str(row["prompt"])]
                heard = {"greedy": text["greedy"], "says": begins_with(text["greedy"], names)}
                if row["role"] == "subject":
                    counts = {name: text[name] for name in ("samples", "mentioned", "then_new")}
                else:
                    counts = {"samples": 0, "mentioned": 0, "then_new": 0}
                rows.append({"case": case.name, "phase": phase, **row, **answer.columns, **heard, **counts})
        return rows

    def _targets(self, case: DirectionCase, templates: Sequence[str]) -> list[dict[str, Value]]:
        """What is asked of both models, a row each."""
        prompt = case.request.prompt
        forward: list[dict[str, Value]] = [
            {"prompt": prompt, "target": target, "direction": "forward", "object": which, "role": "object"}
            for which, target in case.objects.items()
        ]
        roles = {case.request.subject: "subject", **dict.fromkeys(case.competitors, "competitor")}
        reverse: list[dict[str, Value]] = [
            {"prompt": case.asked(each, which), "target": t, "direction": "reverse", "object": which, "role": role}
            for each in templates
            for which in case.objects
            for t, role in roles.items()
        ]
        return [*forward, *reverse]

    def _told(self, case: DirectionCase, targets: Sequence[dict[str, Value]]) -> dict[str, dict[str, Any]]:
        """Texts of the model as it is, by prompt."""
        prompts = list(dict.fromkeys(str(row["prompt"]) for row in targets))
        names = [*case.names, *case.competitors, *case.objects.values()]
        said = greedy(self.surface, prompts, tokens=tokens_for(self.surface, names), prepend_bos=self.prepend_bos)
        asked = [prompt for prompt in prompts if prompt != case.request.prompt]
        found = {prompt: {"greedy": text, "samples": 0, "mentioned": 0, "then_new": 0} for prompt, text in said.items()}
        for prompt, own in self.sampling.texts(self.surface, asked, self.prepend_bos).items():
            rests = [rest for text in own if (rest := after_mention(text, case.names)) is not None]
            then_new = sum(mentions(rest, [case.request.target_new]) > 0 for rest in rests)
            found[prompt] |= {"samples": len(own), "mentioned": len(rests), "then_new": then_new}
        return found


def _answer(rows: Sequence[dict[str, Value]], seed: int) -> Answer:
    cases = by_case(rows)
    pairs = np.array(
        [
            [
                change(own, direction="reverse", object="new", role="subject"),
                change(own, direction="forward", object="new"),
            ]
            for own in cases.values()
        ]
    ).reshape(-1, 2)
    value, low, high = bootstrap(pairs, transfer, seed=seed)
    return Answer("reverse change over forward change", value, low, high, len(cases), _reading(pairs, value, cases))


def _reading(pairs: np.ndarray, value: float, cases: dict[str, list[Any]]) -> str:
    if len(pairs) == 0:
        return "Cannot be told: no case has a reverse prompt that the unedited model answers with the subject."
    forward, back = fmean(pairs[:, 1]), fmean(pairs[:, 0])
    if math.isnan(value):
        return f"Cannot be told: the edit changes nothing forward ({forward:+.2f} nats)."
    count = sum(map(told_inconsistent, cases.values()))
    return (
        f"Forward the new object gains {forward:+.2f} nats, asked in reverse the subject gains {back:+.2f}; "
        f"{count} of {len(cases)} edited models say the new object forward and still the subject for the old one."
    )
