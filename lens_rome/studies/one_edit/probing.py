"""The probes of one edit: its own case of each, made from what is asked of both models anyway."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from lens_rome._typing import Model
from lens_rome.editing import Edit
from lens_rome.errors import FactError, LensRomeError
from lens_rome.facts import EditRequest, EvalRecord
from lens_rome.studies.one_edit.questions import Question, check_edit_of
from lens_rome.studies.probes.bleed import QUESTION as BLEED
from lens_rome.studies.probes.bleed import BleedCase, bleed
from lens_rome.studies.probes.concept import QUESTION as CONCEPT
from lens_rome.studies.probes.concept import RelatedSubject, concept
from lens_rome.studies.probes.direction import QUESTION as DIRECTION
from lens_rome.studies.probes.direction import SLOT, DirectionCase, direction
from lens_rome.studies.probes.finding import Answer, Finding, Missing
from lens_rome.studies.probes.hops import QUESTION as HOPS
from lens_rome.studies.probes.hops import HopsCase, hops
from lens_rome.studies.probes.layers import QUESTION as LAYERS
from lens_rome.studies.probes.layers import layers
from lens_rome.studies.probes.making import Editor, Moments
from lens_rome.studies.probes.prefixes import QUESTION as PREFIXES
from lens_rome.studies.probes.prefixes import prefixes
from lens_rome.studies.probes.strength import QUESTION as STRENGTH
from lens_rome.studies.probes.strength import StrengthCase, strength
from lens_rome.studies.probes.texts import mentions
from lens_rome.studies.words import composed, whole_words
from lens_rome.surface import as_surface

ASKING = ("direction", "hops", "strength", "bleed")
"""Probes that only ask about the edit that is there."""
EDITING = ("concept", "layers", "prefixes")
"""Probes that make further edits: of related subjects, at every layer, with other prefixes."""
NOT_ASKED = "not asked"
"""Name of the answer of a probe that lacks its inputs; one that asked and can tell nothing has an answer of its own."""
_RELATED = 3
_CASE, _NUMBER = "the edit", 0
"""What the case is called, and the number of its record where a probe takes records."""


@dataclass(frozen=True, eq=False)
class _Inputs:
    """What all probes of one edit share."""

    model: Model
    edit: Edit
    request: EditRequest
    questions: Sequence[Question]
    generation_prompts: Sequence[str]
    editor: Editor | None
    moments: Moments
    samples: int
    tokens: int
    bos: bool | None
    seed: int

    def prompts(self, group: str) -> tuple[str, ...]:
        return tuple(each.prompt for each in self.questions if each.group == group)

    @property
    def named(self) -> str:
        """The subject with the article that stands before it where the prompt begins."""
        before = self.request.template.partition("{}")[0].strip()
        return f"{before} {self.request.subject}" if before.lower() in ("the", "a", "an") else self.request.subject

    @property
    def record(self) -> EvalRecord:
        """Raises `FactError` unless there is a paraphrase and a neighbour."""
        paraphrases, neighbours = self.prompts("paraphrase"), self.prompts("neighbor")
        if not (paraphrases and neighbours):
            raise FactError("edits are scored by a paraphrase and a neighbour at least; give both.")
        answers = tuple(each.old for each in self.questions if each.group == "neighbor")
        return EvalRecord(_NUMBER, self.request, paraphrases, neighbours, neighborhood_answers=answers)


def probe_edit(
    model: Model,
    edit: Edit,
    request: EditRequest,
    *,
    questions: Sequence[Question] = (),
    generation_prompts: Sequence[str] = (),
    editor: Editor | None = None,
    moments: Moments = None,
    samples: int = 10,
    tokens: int = 30,
    prepend_bos: bool | None = None,
    seed: int = 0,
) -> tuple[Finding, ...]:
    """What each probe finds about one edit. One that lacks its inputs, or refuses them, gives a finding without rows
    that says why.

    Of one case there is no interval over cases; `lens-rome study limits` has many.

    Args:
        editor: what made the edit, for the probes `EDITING`; None for those `ASKING` alone.
        moments: for the editor.
        samples: texts a prompt, of `direction` and `strength`.
        tokens: of each text.

    Raises:
        EditError: an edit of another request.  EditMismatchError: the edit was made for other weights.
    """
    check_edit_of(request, edit)
    bos = edit.provenance.get("prepend_bos", prepend_bos)
    inputs = _Inputs(
        model, edit, request, questions, generation_prompts, editor, moments, samples, tokens, bos, seed
    )  # fmt: skip
    edit.check(as_surface(model))
    return tuple(_found(name, inputs) for name in (*ASKING, *(EDITING if editor is not None else ())))


def _found(name: str, inputs: _Inputs) -> Finding:
    ask, question = _PROBES[name]
    try:
        return ask(inputs)
    except LensRomeError as error:
        nothing = Answer(NOT_ASKED, math.nan, math.nan, math.nan, 0, "Nothing was asked, see below.")
        return Finding(name, question, nothing, (), missing=(Missing(_CASE, str(error)),))


def _direction(inputs: _Inputs) -> Finding:
    request = inputs.request
    told = {_with_slot(each, request.target_new) for each in inputs.prompts("reverse new")}
    told |= {_with_slot(each, request.target_true) for each in inputs.prompts("reverse old")}
    if not told:
        raise FactError("no prompt was asked that names an object and asks for the subject (--reverse PROMPT).")
    case = DirectionCase(_CASE, request, tuple(sorted(told)))
    return direction(
        inputs.model, inputs.edit, [case], samples=inputs.samples, tokens=inputs.tokens, prepend_bos=inputs.bos,
        seed=inputs.seed,
    )  # fmt: skip


def _with_slot(prompt: str, name: str) -> str:
    """The prompt with the slot in the place of an object, where `mentions` finds it."""
    return whole_words([name]).sub(SLOT, composed(prompt))


def _hops(inputs: _Inputs) -> Finding:
    described = inputs.prompts("description")
    if not described:
        raise FactError("no prompt with a description of the subject was asked (--describe PROMPT).")
    case = HopsCase(_CASE, inputs.request, described)
    return hops(inputs.model, inputs.edit, [case], prepend_bos=inputs.bos, seed=inputs.seed)


def _strength(inputs: _Inputs) -> Finding:
    request = inputs.request
    objects = [request.target_new, request.target_true]
    neutral = [
        each for each in inputs.generation_prompts if mentions(each, [request.subject]) and not mentions(each, objects)
    ]
    if not neutral:
        raise FactError("no prompt about the subject that names neither object was continued (--generate PROMPT).")
    case = StrengthCase(_CASE, request, tuple(neutral))
    return strength(
        inputs.model, inputs.edit, [case], samples=inputs.samples, tokens=inputs.tokens, prepend_bos=inputs.bos,
        seed=inputs.seed,
    )  # fmt: skip


def _bleed(inputs: _Inputs) -> Finding:
    request, named = inputs.request, inputs.named
    asked = [(each.prompt, each.old) for each in inputs.questions if each.group == "related"]
    if not asked:
        raise FactError("no related subject with an answer of its own was asked (--related PROMPT=ANSWER).")
    distractors = (f"{named[:1].upper()}{named[1:]} is cool.", f"Many people like {_inside(named)}.")
    case = BleedCase(_CASE, request, distractors, tuple(asked))
    return bleed(inputs.model, inputs.edit, [case], prepend_bos=inputs.bos, seed=inputs.seed)


def _inside(named: str) -> str:
    """The name as it stands inside a sentence."""
    article, space, rest = named.partition(" ")
    return f"{article.lower()}{space}{rest}" if article in ("The", "A", "An") else named


def _concept(inputs: _Inputs) -> Finding:
    request = inputs.request
    before, _, after = request.template.partition("{}")
    names = [
        each.prompt[len(before) : len(each.prompt) - len(after)]
        for each in inputs.questions
        if each.group == "neighbor" and each.old == request.target_true
        if each.prompt.startswith(before) and each.prompt.endswith(after)
    ]
    if not names:
        raise FactError(
            "no neighbour with the old object is asked about in the words of the edited prompt: no related subject is "
            "known."
        )
    cases = [
        RelatedSubject(name, EditRequest(name, request.template, request.target_new, request.target_true))
        for name in (request.subject, *names[:_RELATED])
    ]
    assert inputs.editor is not None
    return concept(inputs.model, inputs.editor, cases, moments=inputs.moments, prepend_bos=inputs.bos, seed=inputs.seed)


def _layers(inputs: _Inputs) -> Finding:
    assert inputs.editor is not None
    tokens = ("subject_last",) if hasattr(inputs.editor, "lookup") else None
    found = layers(
        inputs.model, inputs.editor, [inputs.record], moments=inputs.moments, tokens=tokens, seed=inputs.seed
    )
    return _of_the_edit(found)


def _prefixes(inputs: _Inputs) -> Finding:
    assert inputs.editor is not None
    found = prefixes(
        inputs.model, inputs.editor, [inputs.record], moments=inputs.moments, prepend_bos=inputs.bos, seed=inputs.seed
    )
    return _of_the_edit(found)


def _of_the_edit(found: Finding) -> Finding:
    """The finding with the case's own name in the place of the record's number."""
    number = str(_NUMBER)
    rows = tuple({**row, "case": _CASE} if row.get("case") == number else row for row in found.rows)
    missing = tuple(replace(each, case=re.sub(rf"^{number}\b", _CASE, each.case)) for each in found.missing)
    return replace(found, rows=rows, missing=missing)


_PROBES: Mapping[str, tuple[Callable[[_Inputs], Finding], str]] = {
    "direction": (_direction, DIRECTION),
    "hops": (_hops, HOPS),
    "strength": (_strength, STRENGTH),
    "bleed": (_bleed, BLEED),
    "concept": (_concept, CONCEPT),
    "layers": (_layers, LAYERS),
    "prefixes": (_prefixes, PREFIXES),
}
"""Each probe with what it asks, by name, in the order of the page."""
