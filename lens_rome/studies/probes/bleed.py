"""P5: does an edit bleed into what is said after a mention of its subject, as in "The Louvre is cool. Obama is from"?

It complements the neighbourhood score: another subject is asked about, but the edited one stands in the context.

Reference: the limitations of ROME as reported on LessWrong, "bleed".
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean

from lens_rome._typing import Model
from lens_rome.editing import Edit
from lens_rome.errors import FactError
from lens_rome.facts import EditRequest
from lens_rome.studies.probes.asking import PHASES, before_and_after
from lens_rome.studies.probes.checks import by_name, check_case, check_texts, check_without
from lens_rome.studies.probes.finding import Answer, Finding, Missing, Value
from lens_rome.studies.probes.intervals import bootstrap, share
from lens_rome.studies.probes.making import Edits, Moments, edits_that_count, ready, settings_of
from lens_rome.studies.probes.tables import Row, by_case, change, chosen, line, mean_of
from lens_rome.studies.probes.texts import begins_with, greedy, mentions, tokens_for
from lens_rome.surface import AbstractSurface, as_surface

QUESTION = "Does the new object come up in other answers once the subject was mentioned?"
PLACES = ("with", "without")


@dataclass(frozen=True)
class BleedCase:
    """An edit, sentences that mention its subject, and questions about others whose answers are known.

    Raises:
        FactError: no name, no old object, a distractor without the subject, a question with it, an answer that is the
            new object, or none of either.
    """

    name: str
    request: EditRequest
    """With `target_true`."""
    distractors: tuple[str, ...]
    """Such as `The Louvre is cool.`; put before a question with a space."""
    questions: tuple[tuple[str, str], ...]
    """Prompts and their true answers, such as `("Barack Obama is from", "Hawaii")`."""

    def __post_init__(self) -> None:
        check_case(self.name, self.request)
        check_texts(self.name, "distractors", self.distractors)
        check_texts(self.name, "questions", [prompt for prompt, _ in self.questions])
        check_texts(self.name, "answers", [answer for _, answer in self.questions])
        subject = self.request.subject
        for distractor in self.distractors:
            if not mentions(distractor, [subject]):
                raise FactError(
                    f"case {self.name!r}: the distractor {distractor!r} lacks the subject {subject!r}. Write it in."
                )
        new = [self.request.target_new]
        check_without(self.name, "the distractor", self.distractors, new, "The new object must come from the edit.")
        asked = [prompt for prompt, _ in self.questions]
        check_without(self.name, "the question", asked, [subject], "Ask about another subject.")
        for prompt, answer in self.questions:
            if answer == self.request.target_new:
                raise FactError(f"case {self.name!r}: the answer of {prompt!r} is the new object. Ask something else.")


def bleed(
    model: Model,
    edits: Edits,
    cases: Sequence[BleedCase],
    *,
    moments: Moments = None,
    prepend_bos: bool | None = None,
    seed: int = 0,
) -> Finding:
    """How far the new object gets into other answers through a mention of the subject.

    The answer is the bleed: the change of log p(new object) by the edit where a distractor stands before the question,
    minus the same without a distractor; mean over questions and distractors, then over cases. Only questions count
    that the unedited model answers right without a distractor (its most likely continuation begins with the answer,
    after an article or not); the others are in `missing`.

    Rows: one a prompt, phase and target, with `question`, `distractor` ("with", "without"), `role` ("new", "known"),
    `logprob` (nats, joint), `rank` (of the first token; 1 if it is the most likely word) and `top`.

    Args:
        model: comes back bit for bit.
        edits: one for all cases, an editor that makes one a case, or edits by the names of cases.
        cases: each of one request.
        moments: for an editor.
        prepend_bos: None for the setting that the edits are made with; for the model's where they do not tell.
        seed: of intervals.

    Raises:
        FactError: no cases, or two of one name.
        EditError: neither edits nor an editor, a case without an edit, edits that were made with different BOS settings
            while `prepend_bos` is None, an editor that refuses all.  EditMismatchError: an edit of other weights.
    """
    surface, named = as_surface(model), by_name(cases, BleedCase)
    bos = ready(surface, edits, list(named), prepend_bos)
    used, missing = _known(surface, named, bos)
    made, refused = edits_that_count(model, edits, {name: named[name].request for name in used}, moments)
    rows = [row for name, edit in made.items() for row in _rows(surface, named[name], used[name], edit, bos)]
    settings = settings_of(surface, made, bos, seed)
    summary = tuple(_summary(rows, seed))
    return Finding("bleed", QUESTION, _answer(rows, seed), tuple(rows), summary, (*missing, *refused), settings)


def _known(
    surface: AbstractSurface, cases: dict[str, BleedCase], prepend_bos: bool
) -> tuple[dict[str, tuple[tuple[str, str], ...]], list[Missing]]:
    """The questions of each case that the unedited model answers, and the others."""
    asked = [question for case in cases.values() for question in case.questions]
    length = tokens_for(surface, [answer for _, answer in asked])
    told = greedy(surface, [prompt for prompt, _ in asked], tokens=length, prepend_bos=prepend_bos)
    used, missing = {}, []
    for name, case in cases.items():
        good = tuple((prompt, answer) for prompt, answer in case.questions if begins_with(told[prompt], [answer]))
        if good:
            used[name] = good
        missing += [
            Missing.unsaid(name, answer, prompt, told[prompt])
            for prompt, answer in case.questions
            if (prompt, answer) not in good
        ]
    return used, missing


def _rows(
    surface: AbstractSurface,
    case: BleedCase,
    questions: Sequence[tuple[str, str]],
    edit: Edit,
    prepend_bos: bool,
) -> list[dict[str, Value]]:
    asked: list[dict[str, Value]] = []
    for question, answer in questions:
        prompts = [("without", question), *(("with", f"{text.strip()} {question}") for text in case.distractors)]
        for place, prompt in prompts:
            for role, target in (("new", case.request.target_new), ("known", answer)):
                words = {"question": question, "distractor": place, "role": role}
                asked.append({"case": case.name, "prompt": prompt, "target": target, **words})
    pairs = [(str(row["prompt"]), str(row["target"])) for row in asked]
    told = before_and_after(surface, pairs, edit, prepend_bos=prepend_bos)
    return [
        {**row, "phase": phase, **answer.columns}
        for phase in PHASES
        for row, answer in zip(asked, told[phase], strict=True)
    ]


def bleeds(rows: Sequence[Row], role: str = "new") -> list[float]:
    """Of each question with a distractor: the change of log p(target) by the edit, minus that of the question alone."""
    found = []
    for own in by_case(rows).values():
        told = chosen(own, role=role)
        for question in dict.fromkeys(row["question"] for row in told):
            alone = change(told, question=question, distractor="without")
            prompts = dict.fromkeys(row["prompt"] for row in chosen(told, question=question, distractor="with"))
            found += [change(told, question=question, prompt=prompt) - alone for prompt in prompts]
    return found


def _summary(rows: Sequence[Row], seed: int) -> Iterator[dict[str, Value]]:
    """Lines of `measure`, `role`, `distractor`, `phase`, mean with its interval, and number.

    - `logprob`: of the target, in nats, and its `change`; mean over cases.
    - `bleed`: mean over cases; `bleed of prompts`: over single questions with a distractor.
    - `most likely`: share of prompts whose most likely next token begins the target.

    Intervals are over cases, whose prompts are drawn together; those of shares where a case is one yes or no by Wilson.
    """
    cases = list(by_case(rows).values())
    for role in ("new", "known") if cases else ():
        for place in PLACES:
            words = {"role": role, "distractor": place}
            for phase in PHASES:
                own = [chosen(each, role=role, distractor=place, phase=phase) for each in cases]
                means = [mean_of(each, "logprob") for each in own]
                yield line(bootstrap(means, seed=seed), len(means), measure="logprob", phase=phase, **words)
                every = [row for each in own for row in each]
                found = share([row["rank"] == 1 for row in every], [str(row["case"]) for row in every], seed=seed)
                yield line(found, len(every), measure="most likely", phase=phase, **words)
            moved = [change(each, role=role, distractor=place) for each in cases]
            yield line(bootstrap(moved, seed=seed), len(moved), measure="change", phase="change", **words)
        words = {"role": role, "distractor": "", "phase": "change"}
        single = [bleeds(each, role) for each in cases]
        yield line(bootstrap(list(map(fmean, single)), seed=seed), len(cases), measure="bleed", **words)
        every, of_cases = [*chain(*single)], [place for place, own in enumerate(single) for _ in own]
        found = bootstrap(every, seed=seed, units=of_cases)
        yield line(found, len(every), measure="bleed of prompts", **words)


def _answer(rows: Sequence[Row], seed: int) -> Answer:
    cases = by_case(rows)
    value, low, high = bootstrap([fmean(bleeds(own)) for own in cases.values()], seed=seed)
    return Answer("bleed, nats", value, low, high, len(cases), _reading(rows, value))


def _reading(rows: Sequence[Row], value: float) -> str:
    if math.isnan(value):
        return "Cannot be told: the unedited model answers none of the questions right without a distractor."
    shares = {}
    for phase in PHASES:
        own = chosen(rows, phase=phase, distractor="with", role="new")
        shares[phase] = f"{sum(row['rank'] == 1 for row in own)} of {len(own)}"
    return (
        f"A mention of the subject changes the edit's effect on the new object elsewhere by {value:+.2f} nats; it is "
        f"the most likely word after {shares['before']} such prompts before the edit and {shares['after']} after it."
    )
