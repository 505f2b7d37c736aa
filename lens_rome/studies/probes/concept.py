"""P3: does an edit of one subject reach the concept, or only the subject's own tokens?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lens_rome._typing import Model, Tensor
from lens_rome.editing import Edit, compute_key
from lens_rome.errors import FactError
from lens_rome.facts import EditRequest, Fact
from lens_rome.studies.probes.asking import said
from lens_rome.studies.probes.checks import by_name, check_case
from lens_rome.studies.probes.concept_numbers import related_changes
from lens_rome.studies.probes.concept_summary import answer_of, summary_of
from lens_rome.studies.probes.finding import Finding, Missing, Value
from lens_rome.studies.probes.making import Edits, Moments, bos_of, edits_of, made_by
from lens_rome.surface import AbstractSurface, as_surface, check_layer

QUESTION = "Does an edit of one name reach what is related to it?"
ROLES = ("true", "new")


@dataclass(frozen=True)
class RelatedSubject:
    """One of several related subjects: it is edited by itself, and asked for under the edit of every other one.

    Raises:
        FactError: no name, no old object, or a template without exactly one `{}`.
    """

    name: str
    """What tables call it; the names differ from each other."""
    request: EditRequest
    """From the old object to the new one; both are the same for all subjects of a group."""
    templates: tuple[str, ...] = ()
    """Wordings of the test, `{}` for the subject; empty for that of the request. As many for each of a group."""
    group: str = ""
    """Only subjects of one group are asked for under each other's edits."""
    thing: str = ""
    """What it is a name of, where several subjects are names of one thing: intervals are over things then."""

    def __post_init__(self) -> None:
        check_case(self.name, self.request)
        for template in self.templates:
            Fact(self.request.subject, template, self.request.target_new)

    @property
    def prompts(self) -> tuple[str, ...]:
        """The tests with the subject filled in."""
        request = self.request
        wordings = self.templates or (request.template,)
        return tuple(Fact(request.subject, wording, request.target_new).prompt for wording in wordings)

    @property
    def objects(self) -> tuple[str, str]:
        """The old and the new one."""
        return self.request.target_true, self.request.target_new


def concept(
    model: Model,
    edits: Edits,
    cases: Sequence[RelatedSubject],
    *,
    moments: Moments = None,
    layer: int | None = None,
    prepend_bos: bool | None = None,
    seed: int = 0,
) -> Finding:
    """Edit each of several related subjects, and ask for all of them under each edit.

    With A the change of the old object's log-probability, B that of the new one's and C = log p(new) - log p(old) after
    the edit, all in nats, rows edited and columns tested: the answer is the leak ratio, the mean of B - A over subjects
    that were not edited, over that of the edited ones. 0: the edit is of the name; 1: of all that is related to it. Its
    interval is a bootstrap over the edited subjects (over things, where some are names of one thing), that of numbers
    of pairs one over the subjects; there is none for fewer than five of them.

    `rows` have beside the common columns `tested`, `group`, `thing` (of the tested), `template` (index of the test),
    `role` (`"true"` or `"new"`), `logprob` (joint, nats), `rank` (of the target's first token), `top`, `key_cosine` (of
    the keys of the edited and the tested subject at `layer`, unedited model) and `same_token` (whether both names end
    in one token, the one at which ROME writes, so that the tested subject is moved with the edited one whatever it is).
    `related_changes` makes the matrices of them.

    Args:
        edits: an editor, or an edit for each case by its name.
        moments: for an editor.
        layer: where keys are compared; None for the last block that the edits change.
        prepend_bos: None for the setting that the edits were made with.
        seed: of the bootstrap.

    Raises:
        FactError: fewer than two subjects in a group, two of one name, a group that does not share objects or the
            number of tests, or a target without tokens of its own after a prompt.
        EditError: an editor that refuses all, or edits that were made with different BOS settings while `prepend_bos`
            is None.  EditMismatchError: an edit of other weights.  SurfaceError: no such layer.
    """
    groups = _grouped(cases)
    surface = as_surface(model)
    made, missing = edits_of(model, edits, {case.name: case.request for case in cases}, moments)
    first = next(iter(made.values())).provenance
    bos = bos_of(surface, made.values(), prepend_bos)
    where = _layer(made.values(), layer)
    if where is not None:
        check_layer(surface, where)
    lookup = str(first.get("settings", {}).get("lookup", "subject_last"))
    rows: list[dict[str, Value]] = []
    for group in groups.values():
        keys = None if where is None else _unit_keys(model, group, where, lookup, bos)
        rows += _group_rows(surface, group, made, keys, bos)
    changes = related_changes(rows)
    settings = {
        "model": surface.model_name,
        **made_by(made),
        "prepend_bos": bos,
        "layer": where,
        "lookup": lookup,
        "seed": seed,
        "templates": {case.name: list(case.templates or (case.request.template,)) for case in cases},
        "requests": {case.name: str(case.request) for case in cases},
    }
    answer, summary = answer_of(changes, seed), summary_of(changes, seed)
    return Finding("concept", QUESTION, answer, tuple(rows), summary, _refused(missing), settings)


def _refused(missing: Sequence[Missing]) -> tuple[Missing, ...]:
    return tuple(Missing(each.case, f"{each.reason} It is asked for under the other edits.") for each in missing)


def _grouped(cases: Sequence[RelatedSubject]) -> dict[str, list[RelatedSubject]]:
    """Subjects by group.

    Raises:
        FactError: see `concept`.
    """
    groups: dict[str, list[RelatedSubject]] = {}
    for case in by_name(cases, RelatedSubject).values():
        groups.setdefault(case.group, []).append(case)
    for name, members in groups.items():
        told = f"the group {name!r}" if name else "the probe"
        if len(members) < 2:
            raise FactError(
                f"{told} has {len(members)} subjects; to see what leaks it needs at least two related ones."
            )
        first = members[0]
        for case in members[1:]:
            if case.objects != first.objects:
                raise FactError(
                    f"{first.name!r} is edited from {' to '.join(first.objects)}, {case.name!r} from "
                    f"{' to '.join(case.objects)}. Subjects of one group share both; give others a group of their own."
                )
            if len(case.prompts) != len(first.prompts):
                raise FactError(
                    f"{first.name!r} has {len(first.prompts)} test templates and {case.name!r} {len(case.prompts)}. "
                    "Give all of a group as many, in the same order."
                )
    return groups


def _layer(edits: Any, layer: int | None) -> int | None:
    """The last block that the edits change, or the one that was asked for."""
    changed = [place for edit in edits for place, _ in edit.deltas if place >= 0]
    return layer if layer is not None else max(changed, default=None)


def _unit_keys(model: Model, group: Sequence[RelatedSubject], layer: int, lookup: str, bos: bool | None) -> Tensor:
    """The key of each subject after its bare prompt, of length 1; float64."""
    found = [compute_key(model, case.request, layer, lookup=lookup, prepend_bos=bos) for case in group]
    keys = torch.stack(found).cpu().double()
    return keys / keys.norm(dim=1, keepdim=True)


def _group_rows(
    surface: AbstractSurface,
    group: Sequence[RelatedSubject],
    edits: Mapping[str, Edit],
    keys: Tensor | None,
    bos: bool | None,
) -> Iterator[dict[str, Value]]:
    asked = list(_questions(group))
    questions = [(prompt, target) for _, _, prompt, _, target in asked]
    before = said(surface, questions, prepend_bos=bos)
    ends = [surface.encode(f" {case.request.subject}", False).ids[-1] for case in group]
    for index, case in enumerate(group):
        if case.name not in edits:
            continue
        after = said(surface, questions, edits[case.name], prepend_bos=bos)
        for phase, told in (("before", before), ("after", after)):
            for (tested, template, prompt, role, target), one in zip(asked, told, strict=True):
                cosine = float("nan") if keys is None else float(keys[index] @ keys[tested])
                yield {
                    "case": case.name,
                    "tested": group[tested].name,
                    "group": case.group,
                    "thing": group[tested].thing or group[tested].name,
                    "prompt": prompt,
                    "template": template,
                    "phase": phase,
                    "target": target,
                    "role": role,
                    **one.columns,
                    "key_cosine": cosine,
                    "same_token": ends[index] == ends[tested],
                }


def _questions(group: Sequence[RelatedSubject]) -> Iterator[tuple[int, int, str, str, str]]:
    """Index of the tested subject and of the template, prompt, role and target."""
    for index, case in enumerate(group):
        for template, prompt in enumerate(case.prompts):
            for role, target in zip(ROLES, case.objects, strict=True):
                yield index, template, prompt, role, target
