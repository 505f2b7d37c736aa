"""The edit of each case of a probe, given or made by an editor, and what a finding tells of it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from lens_rome._typing import Model
from lens_rome.editing import Edit
from lens_rome.errors import EditError
from lens_rome.facts import EditRequest
from lens_rome.moments import SecondMoment, SecondMoments
from lens_rome.studies.probes.finding import Missing
from lens_rome.surface import AbstractSurface

Moments = SecondMoments | SecondMoment | str | None


@runtime_checkable
class Editor(Protocol):
    """Anything that makes independent edits, such as `ROME(...)`."""

    def edit_each(self, model: Model, requests: Sequence[EditRequest], *, moments: Moments = None) -> list[Edit]:
        """One edit a request."""
        ...


Edits = Edit | Editor | Mapping[str, Edit]
"""One edit for all cases, an editor that makes one a case, or edits by the names of cases."""


def edits_of(
    model: Model, edits: Edits, requests: Mapping[str, EditRequest], moments: Moments = None
) -> tuple[dict[str, Edit], tuple[Missing, ...]]:
    """The edit of each case by its name, and the cases that the editor refuses.

    Args:
        requests: of the cases, by their names.

    Raises:
        EditError: no cases, neither edits nor an editor, a case without edit, or an editor that refuses all cases.
    """
    if not requests:
        raise EditError("no cases to probe. Give one at least.")
    if isinstance(edits, Edit):
        return dict.fromkeys(requests, edits), ()
    if isinstance(edits, Mapping):
        lacking = [name for name in requests if name not in edits]
        if lacking:
            raise EditError(f"{len(lacking)} cases have no edit, the first is {lacking[0]!r}. Give one for each name.")
        return {name: edits[name] for name in requests}, ()
    if isinstance(edits, type) or not isinstance(edits, Editor):
        found = f"the class {edits.__name__}" if isinstance(edits, type) else f"a {type(edits).__name__}"
        raise EditError(f"a probe takes an Edit, a mapping from case to Edit, or an editor; got {found}.")
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
    """Editor and settings of the edits, as a finding's settings tell them; None where an edit does not say."""
    provenance = next(iter(edits.values())).provenance if edits else {}
    return {"editor": provenance.get("editor"), "editor_settings": provenance.get("settings")}


def settings_of(
    surface: AbstractSurface, edits: Mapping[str, Edit], prepend_bos: bool | None, seed: int, **options: Any
) -> dict[str, Any]:
    """The settings of a finding: model, editor, the probe's own options, BOS and seed, in this order."""
    bos = surface.prepends_bos(prepend_bos)
    return {"model": surface.model_name, **made_by(edits), **options, "prepend_bos": bos, "seed": seed}
