"""P4: does an edit reach its subject where that is only described, as in "The founder of Amazon speaks"?

Reference: the limitations of ROME as reported on LessWrong, "multi-hop".
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from lens_rome._typing import Model
from lens_rome.editing import Edit
from lens_rome.facts import EditRequest
from lens_rome.studies.probes.asking import PHASES, before_and_after
from lens_rome.studies.probes.checks import by_name, check_case, check_texts, check_without
from lens_rome.studies.probes.finding import Answer, Finding, Missing, Value
from lens_rome.studies.probes.intervals import bootstrap, share, transfer
from lens_rome.studies.probes.making import Edits, Moments, edits_that_count, ready, settings_of
from lens_rome.studies.probes.tables import Row, by_case, change, chosen, line
from lens_rome.studies.probes.texts import begins_with, greedy, tokens_for
from lens_rome.surface import AbstractSurface, as_surface

QUESTION = "Does the edit hold where the subject is described and not named?"
_WAYS = ("direct", "description")


@dataclass(frozen=True)
class HopsCase:
    """An edit, the same question with a description for the subject, and prompts that ask whom it describes.

    Raises:
        FactError: no name, no old object, no described prompts, or a text that names the subject.
    """

    name: str
    request: EditRequest
    """With `target_true`; its prompt is the direct question."""
    described: tuple[str, ...]
    """Such as `The mother tongue of the founder of Amazon is`; all with one description. Another is another case."""
    naming: tuple[str, ...] = ()
    """Prompts that end right before the subject, such as `The name of the founder of Amazon is`."""
    aliases: tuple[str, ...] = ()
    """Other names of the subject that count as it."""

    def __post_init__(self) -> None:
        check_case(self.name, self.request)
        check_texts(self.name, "described prompts", self.described)
        check_texts(self.name, "naming prompts", self.naming, fewest=0)
        for what, texts in (("the described prompt", self.described), ("the naming prompt", self.naming)):
            check_without(self.name, what, texts, self.names, "Describe the subject without it.")

    @property
    def names(self) -> tuple[str, ...]:
        """The subject and its other names."""
        return self.request.subject, *self.aliases


def hops(
    model: Model,
    edits: Edits,
    cases: Sequence[HopsCase],
    *,
    moments: Moments = None,
    prepend_bos: bool | None = None,
    seed: int = 0,
) -> Finding:
    """How much of an edit arrives where its subject is described.

    A description counts only if it leads the unedited model to the subject: to one of the naming prompts it says the
    subject (its most likely continuation begins with it, after an article or not). Of a case without naming prompts a
    described prompt counts if the unedited model says the old object after it. What does not count is in `missing`.
    The answer is the hop transfer: the mean change of log p(new) - log p(old) after described prompts over that after
    the direct one; 1 if the edit reaches the described subject in full, NaN if the direct one moves by less than 0.05
    nats.

    Rows: one a prompt, phase and target, with `way` ("direct", "description"), `role` ("new", "old"), `logprob` (nats,
    joint), `rank` (of the first token), `top`, and `flipped` (whether the new object is the likelier one there).

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
    surface, named = as_surface(model), by_name(cases, HopsCase)
    bos = ready(surface, edits, list(named), prepend_bos)
    used, missing = _resolved(surface, named, bos)
    made, refused = edits_that_count(model, edits, {name: named[name].request for name in used}, moments)
    rows = [row for name, edit in made.items() for row in _rows(surface, named[name], used[name], edit, bos)]
    settings = settings_of(surface, made, bos, seed)
    summary = tuple(_summary(rows, seed))
    return Finding("hops", QUESTION, _answer(rows, seed), tuple(rows), summary, (*missing, *refused), settings)


def _resolved(
    surface: AbstractSurface, cases: dict[str, HopsCase], prepend_bos: bool
) -> tuple[dict[str, tuple[str, ...]], list[Missing]]:
    """The described prompts of each case that count, and what does not."""
    asked = [prompt for case in cases.values() for prompt in case.naming or case.described]
    names = [name for case in cases.values() for name in (*case.names, case.request.target_true)]
    told = greedy(surface, asked, tokens=tokens_for(surface, names), prepend_bos=prepend_bos)
    used, missing = {}, []
    for name, case in cases.items():
        wanted = case.names if case.naming else (case.request.target_true,)
        fitting = [prompt for prompt in case.naming or case.described if begins_with(told[prompt], wanted)]
        good = case.described if case.naming and fitting else tuple(fitting)
        if good:
            used[name] = good
        if len(good) < len(case.described):
            prompt = next(prompt for prompt in case.naming or case.described if prompt not in fitting)
            share = f"{len(case.described) - len(good)} of {len(case.described)} described prompts: "
            missing.append(Missing.unsaid(name, wanted[0], prompt, told[prompt], share))
    return used, missing


def _rows(
    surface: AbstractSurface, case: HopsCase, described: Sequence[str], edit: Edit, prepend_bos: bool
) -> list[dict[str, Value]]:
    prompts = [("direct", case.request.prompt), *(("description", prompt) for prompt in described)]
    targets = {"new": case.request.target_new, "old": case.request.target_true}
    questions = [(prompt, target) for _, prompt in prompts for target in targets.values()]
    told = before_and_after(surface, questions, edit, prepend_bos=prepend_bos)
    rows = []
    for phase in PHASES:
        answers = iter(told[phase])
        for way, prompt in prompts:
            own = {role: next(answers) for role in targets}
            flipped = own["new"].logprob > own["old"].logprob
            rows += [
                {
                    "case": case.name, "prompt": prompt, "phase": phase, "target": target, "way": way, "role": role,
                    **own[role].columns, "flipped": flipped,
                }
                for role, target in targets.items()
            ]  # fmt: skip
    return rows


def _moved(rows: Sequence[Row], way: str) -> float:
    """Change of log p(new) - log p(old)."""
    return change(rows, way=way, role="new") - change(rows, way=way, role="old")


def _summary(rows: Sequence[Row], seed: int) -> Iterator[dict[str, Value]]:
    """Lines of `measure`, `way`, `phase`, mean with its interval, and number.

    - `change`: of log p(new) - log p(old), in nats; over cases.
    - `flipped`: share of prompts after which the new object is the likelier one.
    - `says new`, `says old`: share of prompts whose most likely next token begins the object.

    Intervals are over cases, whose prompts are drawn together; those of shares where a case is one yes or no by Wilson.
    """
    cases = list(by_case(rows).values())
    for way in _WAYS if cases else ():
        moved = [_moved(own, way) for own in cases]
        yield line(bootstrap(moved, seed=seed), len(moved), measure="change", way=way, phase="change")
        for phase in PHASES:
            words = {"way": way, "phase": phase}
            own = {role: chosen(rows, way=way, phase=phase, role=role) for role in ("new", "old")}
            flags = {"flipped": [bool(row["flipped"]) for row in own["new"]]}
            flags |= {f"says {role}": [row["rank"] == 1 for row in told] for role, told in own.items()}
            of_cases = [str(row["case"]) for row in own["new"]]
            for measure, each in flags.items():
                yield line(share(each, of_cases, seed=seed), len(each), measure=measure, **words)


def _answer(rows: Sequence[Row], seed: int) -> Answer:
    cases = by_case(rows)
    pairs = np.array([[_moved(own, "description"), _moved(own, "direct")] for own in cases.values()]).reshape(-1, 2)
    value, low, high = bootstrap(pairs, transfer, seed=seed)
    return Answer("hop transfer", value, low, high, len(cases), _reading(rows, pairs, value))


def _reading(rows: Sequence[Row], pairs: np.ndarray[Any, Any], value: float) -> str:
    if len(pairs) == 0:
        return "Cannot be told: no description leads the unedited model to its subject."
    indirect, direct = fmean(pairs[:, 0]), fmean(pairs[:, 1])
    if math.isnan(value):
        return f"Cannot be told: the edit changes nothing where it names its subject ({direct:+.2f} nats)."
    after = {way: chosen(rows, way=way, phase="after", role="new") for way in _WAYS}
    counts = {way: f"{sum(bool(row['flipped']) for row in own)} of {len(own)}" for way, own in after.items()}
    return (
        f"With the name the new object gains {direct:+.2f} nats on the old one, with a description {indirect:+.2f}; it "
        f"is the likelier after {counts['direct']} direct and {counts['description']} described prompts."
    )
