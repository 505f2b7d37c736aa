"""The edit of each case of a probe, given or made by an editor, and what a finding tells of it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from lens_rome._typing import Model
from lens_rome.editing import Edit
from lens_rome.editing.weights import check_fits
from lens_rome.errors import EditError, EditMismatchError
from lens_rome.evaluation import EvalReport
from lens_rome.evaluation.case_rows import relative_norm
from lens_rome.facts import EditRequest
from lens_rome.moments import SecondMoment, SecondMoments
from lens_rome.studies.probes.finding import Missing
from lens_rome.surface import AbstractSurface, as_surface

Moments = SecondMoments | SecondMoment | str | None


@runtime_checkable
class Editor(Protocol):
    """Anything that makes independent edits, such as `ROME(...)`."""

    def edit_each(self, model: Model, requests: Sequence[EditRequest], *, moments: Moments = None) -> list[Edit]:
        """One edit a request."""
        ...


Edits = Edit | Editor | Mapping[str, Edit]
"""One edit for all cases, an editor that makes one a case, or edits by the names of cases."""


def ready(surface: AbstractSurface, edits: Edits, names: Sequence[str], prepend_bos: bool | None) -> bool:
    """What a probe looks at before it asks anything: the edits that are there, and with which BOS setting to ask.

    Args:
        names: of the cases.
        prepend_bos: wins, where it is not None.

    Raises:
        EditError: as `check_edits` and `bos_of`.  EditMismatchError: as `check_edits`.
    """
    check_edits(surface, edits, names)
    own = [edits[name] for name in names] if isinstance(edits, Mapping) else edits
    return bos_of(surface, own, prepend_bos)


def check_edits(surface: AbstractSurface, edits: Any, names: Sequence[str]) -> None:
    """Look whether these are edits of these cases for these weights, or an editor.

    Raises:
        EditError: neither edits nor an editor, or a case without an edit.
        EditMismatchError: an edit of other weights.
    """
    if isinstance(edits, Mapping):
        lacking = [name for name in names if name not in edits]
        if lacking:
            raise EditError(f"{len(lacking)} cases have no edit, the first is {lacking[0]!r}. Give one for each name.")
        own: dict[str, Any] = {name: edits[name] for name in names}
        for name, edit in own.items():
            if not isinstance(edit, Edit):
                raise EditError(f"the edit of case {name!r} is {_kind(edit)}. Give an Edit for each name.")
        _check_weights(surface, own)
    elif isinstance(edits, Edit):
        edits.check(surface)
    elif isinstance(edits, type) or not isinstance(edits, Editor):
        raise EditError(f"a probe takes an Edit, a mapping from case to Edit, or an editor; got {_kind(edits)}.")


def _kind(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"


def _check_weights(surface: AbstractSurface, edits: Mapping[str, Edit]) -> None:
    known: dict[Any, Any] = {}  # So that each weight is looked at once.
    for name, edit in edits.items():
        try:
            check_fits(surface, edit.deltas, edit.bases, edit.provenance, known)
        except EditMismatchError as error:
            raise EditMismatchError(f"case {name!r}: {error}") from error


def bos_of(surface: AbstractSurface, edits: Edit | Editor | Iterable[Edit], prepend_bos: bool | None) -> bool:
    """With which BOS setting the questions about edits are asked: `prepend_bos` where it is given, else the setting
    that the edits were made with or the editor makes them with, else the model's.

    Raises:
        EditError: the edits disagree, and `prepend_bos` is None.
    """
    if prepend_bos is not None:
        return prepend_bos
    if isinstance(edits, Editor):
        return surface.prepends_bos(getattr(edits, "prepend_bos", None))
    told = made_with_bos([edits] if isinstance(edits, Edit) else edits)
    if len(told) > 1:
        raise EditError(
            "some edits were made with a BOS token and some without. Say by prepend_bos= how to ask, or probe them "
            "separately."
        )
    return surface.prepends_bos(told[0] if told else None)


def made_with_bos(edits: Iterable[Edit]) -> list[bool]:
    """The BOS settings that the edits, or the parts of sums, say they were made with; each once."""
    return sorted({bos for edit in edits for bos in _settings_in(edit.provenance)})


def _settings_in(provenance: Mapping[str, Any]) -> set[bool]:
    own = provenance.get("prepend_bos")
    if own is not None:
        return {bool(own)}
    return {bos for part in provenance.get("sum", ()) for bos in _settings_in(part)}


def edits_of(
    model: Model, edits: Edits, requests: Mapping[str, EditRequest], moments: Moments = None
) -> tuple[dict[str, Edit], tuple[Missing, ...]]:
    """The edit of each case by its name, and the cases that the editor refuses.

    Args:
        requests: of the cases, by their names.

    Raises:
        EditError: no cases, neither edits nor an editor, a case without edit, or an editor that refuses all cases.
        EditMismatchError: an edit of other weights.
    """
    if not requests:
        raise EditError("no cases to probe. Give one at least.")
    check_edits(as_surface(model), edits, list(requests))
    if isinstance(edits, Edit):
        return dict.fromkeys(requests, edits), ()
    if isinstance(edits, Mapping):
        return {name: edits[name] for name in requests}, ()
    return _made(model, edits, requests, moments)


def edits_that_count(
    model: Model, edits: Edits, requests: Mapping[str, EditRequest], moments: Moments
) -> tuple[dict[str, Edit], tuple[Missing, ...]]:
    """As `edits_of`, of the cases that count; where none does there are no edits, and that is no error."""
    return edits_of(model, edits, requests, moments) if requests else ({}, ())


def _made(
    model: Model, editor: Editor, requests: Mapping[str, EditRequest], moments: Moments
) -> tuple[dict[str, Edit], tuple[Missing, ...]]:
    try:
        made = editor.edit_each(model, list(requests.values()), moments=moments)
        return dict(zip(requests, made, strict=True)), ()
    except EditError:
        if len(requests) == 1:
            raise
    found: dict[str, Edit] = {}
    missing: list[Missing] = []
    for name, request in requests.items():
        try:
            (found[name],) = editor.edit_each(model, [request], moments=moments)
        except EditError as error:
            if len(missing) == len(requests) - 1:
                raise  # of the last one: all are refused
            missing.append(Missing(name, str(error)))
    return found, tuple(missing)


def made_by(edits: Mapping[str, Edit]) -> dict[str, Any]:
    """What a finding's settings tell of its edits.

    `editor` and `editor_settings` are those of the first (None where it does not say), `edits_differ` is whether
    another one was made otherwise, `edits_prepend_bos` the BOS setting that they were made with (a list where they
    differ, None where none says), and `changes` the norm of each edit over that of the weights it changes, by case.
    """
    told = [(edit.provenance.get("editor"), edit.provenance.get("settings")) for edit in edits.values()]
    editor, settings = told[0] if told else (None, None)
    bos = made_with_bos(edits.values())
    norms = {id(edit): relative_norm(edit) for edit in {id(edit): edit for edit in edits.values()}.values()}
    return {
        "editor": editor,
        "editor_settings": settings,
        "edits_differ": any(each != told[0] for each in told),
        "edits_prepend_bos": (bos[0] if len(bos) == 1 else bos) if bos else None,
        "changes": {name: norms[id(edit)] for name, edit in edits.items()},
    }


def changes_of(report: EvalReport) -> dict[str, float | None]:
    """Norm of each record's edit over that of the weights it changes, by record; None where the editor refused it."""
    return {str(case.case_id): case.change for case in report.cases}


def settings_of(
    surface: AbstractSurface, edits: Mapping[str, Edit], prepend_bos: bool, seed: int, **options: Any
) -> dict[str, Any]:
    """The settings of a finding: model, edits, the probe's own options, the BOS setting that was asked with and seed,
    in this order.
    """
    return {"model": surface.model_name, **made_by(edits), **options, "prepend_bos": prepend_bos, "seed": seed}
