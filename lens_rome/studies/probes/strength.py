"""P2: is the new object said as often as the old one was, or far more? Over- and under-optimisation.

The edit is asked for by one prompt; how much of it comes up in texts about the subject that do not ask for the fact is
nobody's target, and differs from object to object.

Reference: the limitations of ROME as reported on LessWrong, "over-optimisation".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from lens_rome._typing import Model
from lens_rome.editing import Edit
from lens_rome.errors import FactError
from lens_rome.facts import EditRequest, answer_tokens
from lens_rome.studies.probes.asking import in_weights, phases, said
from lens_rome.studies.probes.checks import by_name, check_case, check_texts, check_without
from lens_rome.studies.probes.finding import Answer, Finding, Value
from lens_rome.studies.probes.intervals import bootstrap
from lens_rome.studies.probes.making import Edits, Moments, edits_of, ready, settings_of
from lens_rome.studies.probes.mass import mean_mass
from lens_rome.studies.probes.sampling import Sampling
from lens_rome.studies.probes.strength_summary import UNCHANGED, Hits, push_of, summary_of, verdict
from lens_rome.studies.probes.texts import Written, mentions
from lens_rome.surface import AbstractSurface, as_surface

QUESTION = "Is the new object said as often as the old one was?"


@dataclass(frozen=True)
class StrengthCase:
    """An edit, and prompts with its subject that do not ask for the edited fact.

    Raises:
        FactError: no name, no old object, no prompts, or one that lacks the subject or names one of the objects.
    """

    name: str
    request: EditRequest
    """With `target_true`."""
    prompts: tuple[str, ...]
    """Such as `The Eiffel Tower is`."""
    new_aliases: tuple[str, ...] = ()
    """Other words that count as a mention of the new object."""
    true_aliases: tuple[str, ...] = ()
    """And of the old one."""

    def __post_init__(self) -> None:
        check_case(self.name, self.request)
        check_texts(self.name, "neutral prompts", self.prompts)
        for prompt in self.prompts:
            if self.request.subject not in prompt:
                raise FactError(
                    f"case {self.name!r}: the neutral prompt {prompt!r} lacks the subject {self.request.subject!r}. "
                    "Write it in, spelled as in the request."
                )
        for names in self.names.values():
            check_without(self.name, "the neutral prompt", self.prompts, names, "Only the model may bring it up.")

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """What counts as a mention of the new and of the old object."""
        new, old = self.request.target_new, self.request.target_true
        return {"new": (new, *self.new_aliases), "old": (old, *self.true_aliases)}


def strength(
    model: Model,
    edits: Edits,
    cases: Sequence[StrengthCase],
    *,
    moments: Moments = None,
    samples: int = 20,
    tokens: int = 40,
    top_k: int = 5,
    prepend_bos: bool | None = None,
    seed: int = 0,
) -> Finding:
    """How often texts about the subject mention the new object after the edit, beside the old one before it.

    The answer is the push ratio: share of texts with a mention of the new object after the edit over the share with a
    mention of the old object before it, both as means over cases. Its interval is over subjects: cases of one subject
    share prompts and the texts before the edit. Its verdict is "over" or "under" where the 95% interval of the
    difference of both shares lies above or below 0, else "matched"; "cannot be told" where the old object was never
    mentioned. Fewer than five subjects have no interval, and a verdict only where all cases have the same. An edit that
    changes nothing here would be "under", which is not what it is: the verdict is "unchanged" where no text gains or
    loses a mention and no object moves by 0.05 nats after any prompt.

    Rows: one a prompt, phase and target, with `role` ("new", "old"), `samples`, `mentioned` (texts with a mention in
    what the model wrote), `mentions` (mean of a text), `logprob` (nats, joint, right after the prompt), `rank`, `top`,
    and `mass` (mean probability of the target's first token over all places that were written).

    Args:
        model: comes back bit for bit.
        edits: one for all cases, an editor that makes one a case, or edits by the names of cases.
        cases: several new objects of one subject are several cases.
        moments: for an editor.
        samples: texts a prompt, from the same streams of chance before and after the edit.
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
    surface, named = as_surface(model), by_name(cases, StrengthCase)
    bos = ready(surface, edits, list(named), prepend_bos)
    made, missing = edits_of(model, edits, {name: case.request for name, case in named.items()}, moments)
    ask = _Ask(surface, sampling, bos, {})
    rows: list[dict[str, Value]] = []
    hits: dict[str, Hits] = {}
    for name, edit in made.items():
        own, hits[name] = ask.case(named[name], edit)
        rows += own
    settings = settings_of(surface, made, bos, seed, **sampling.settings)
    summary = summary_of(rows, hits, seed)
    subjects = [named[name].request.subject for name in hits]
    answer = _answer(hits, subjects, summary, seed)
    return Finding("strength", QUESTION, answer, tuple(rows), summary, missing, settings)


@dataclass(frozen=True)
class _Ask:
    surface: AbstractSurface
    sampling: Sampling
    prepend_bos: bool
    unedited: dict[str, list[Written]]
    """Texts of the unedited model by prompt: cases of one subject share them."""

    def case(self, case: StrengthCase, edit: Edit) -> tuple[list[dict[str, Value]], Hits]:
        rows: list[dict[str, Value]] = []
        hits: Hits = {}
        for phase, each in phases(edit):
            with in_weights(self.surface, each):
                texts = self._shared(case.prompts) if each is None else self._texts(case.prompts)
                for prompt in case.prompts:
                    counts = {
                        role: [mentions(text.text, names) for text in texts[prompt]]
                        for role, names in case.names.items()
                    }
                    for role, own in counts.items():
                        hits.setdefault((role, phase), []).extend(count > 0 for count in own)
                    rows += [
                        {"case": case.name, "prompt": prompt, "phase": phase, **row}
                        for row in self._rows(case, prompt, texts[prompt], counts)
                    ]
        return rows, hits

    def _rows(
        self, case: StrengthCase, prompt: str, texts: list[Written], counts: dict[str, list[int]]
    ) -> list[dict[str, Value]]:
        targets = {"new": case.request.target_new, "old": case.request.target_true}
        questions = [(prompt, target) for target in targets.values()]
        answers = said(self.surface, questions, prepend_bos=self.prepend_bos)
        tokens = [answer_tokens(self.surface, *question, self.prepend_bos)[0] for question in questions]
        masses = mean_mass(self.surface, texts, tokens)
        return [
            {
                "target": targets[role], "role": role, "samples": len(texts),
                "mentioned": sum(count > 0 for count in counts[role]), "mentions": fmean(counts[role]),
                **answer.columns, "mass": mass,
            }
            for role, answer, mass in zip(targets, answers, masses, strict=True)
        ]  # fmt: skip

    def _shared(self, prompts: Sequence[str]) -> dict[str, list[Written]]:
        self.unedited.update(self._texts([prompt for prompt in prompts if prompt not in self.unedited]))
        return self.unedited

    def _texts(self, prompts: Sequence[str]) -> dict[str, list[Written]]:
        return self.sampling.written(self.surface, prompts, self.prepend_bos)


def _answer(hits: dict[str, Hits], subjects: Sequence[str], summary: Sequence[dict[str, Value]], seed: int) -> Answer:
    shares = np.array([[np.mean(own["new", "after"]), np.mean(own["old", "before"])] for own in hits.values()])
    value, low, high = push_of(shares, seed, subjects)
    new, old = shares.mean(0)
    told = f"{new:.0%} of the texts mention the new object after the edit, {old:.0%} the old one before it"
    if math.isnan(value):
        reading = f"Cannot be told, for the unedited model never mentions the old object: {told}."
    else:
        verdicts = [str(row["verdict"]) for row in summary if row["measure"] == "push ratio"]
        difference = bootstrap(shares[:, 0] - shares[:, 1], seed=seed, units=subjects)
        each = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))
        told_so = _together(verdicts, verdict(value, difference), math.isnan(difference[1]), len(set(subjects)))
        reading = f"{told_so} (by case: {each}). {told}."
    return Answer("push ratio", value, low, high, len(hits), reading)


def _together(verdicts: Sequence[str], pooled: str, few: bool, subjects: int) -> str:
    """The verdict of all cases; `pooled` is that of their interval over subjects."""
    if len(set(verdicts)) == 1 and (few or verdicts[0] == UNCHANGED):
        return f"Verdict: {verdicts[0]}"
    if few:
        return f"No verdict on all cases together, for they are of {subjects} subject{'s' * (subjects > 1)}"
    return f"Verdict: {pooled}"
