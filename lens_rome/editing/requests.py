"""Requests as editors take them, and what each says of its success."""

from collections.abc import Iterable, Sequence

from lens_rome._typing import Model
from lens_rome._warnings import warn_caller
from lens_rome.editing.edit import Edit
from lens_rome.editing.objective import Objective
from lens_rome.editing.rows import target_rows
from lens_rome.editing.target_batch import target_probs
from lens_rome.errors import EditError, SingularSystemError
from lens_rome.facts import EditRequest, Fact
from lens_rome.surface import AbstractSurface


class SameFactWarning(UserWarning):
    """Two requests of one edit ask something of the same fact."""


def as_requests(requests: object) -> list[EditRequest]:
    """One request or several, as a list."""
    several = list(requests) if isinstance(requests, Iterable) and not isinstance(requests, str) else [requests]
    found: list[EditRequest] = []
    for request in several:
        if isinstance(request, Fact):
            raise EditError(f"{request} is a fact, no request; use fact.rewrite(...) to say what shall be true.")
        if not isinstance(request, EditRequest):
            raise EditError(f"requests are EditRequests, got {request!r}.")
        found.append(request)
    if not found:
        raise EditError("no requests to edit.")
    return found


def fact_of(request: EditRequest) -> tuple[str, str]:
    """What two requests share that ask something of the same fact: subject, and relation or else template."""
    return request.subject, request.relation or request.template


def same_fact(requests: Sequence[EditRequest]) -> tuple[int, int] | None:
    """Indices of two requests of the same fact (`fact_of`), if there are such."""
    seen: dict[tuple[str, str], int] = {}
    for i, request in enumerate(requests):
        first = seen.setdefault(fact_of(request), i)
        if first != i:
            return first, i
    return None


def name_pair(requests: Sequence[EditRequest], pair: tuple[int, int]) -> str:
    """How messages name two requests of the same fact."""
    first, second = pair
    return f"requests {first} ({requests[first]}) and {second} ({requests[second]}) are of the same fact"


def refuse_same_fact(requests: Sequence[EditRequest], editor: str, instead: str) -> None:
    """For editors that write exactly.

    Args:
        requests: of one joint edit.
        editor: what the method is called.
        instead: what to do other than to keep one of the two.

    Raises:
        SingularSystemError: two requests are of the same fact; it names them.
    """
    pair = same_fact(requests)
    if pair is not None:
        told = f"{name_pair(requests, pair)}, so {editor} cannot write both exactly. Keep one of them, or {instead}."
        raise SingularSystemError(told, pair)


def warn_of_same_fact(requests: Sequence[EditRequest], editor: str, outcome: str) -> None:
    """A `SameFactWarning` for editors that give each request what they can; `outcome` is what becomes of the two."""
    pair = same_fact(requests)
    if pair is not None:
        warn_caller(f"{name_pair(requests, pair)}; {editor} {outcome}. Keep one of them.", SameFactWarning)


def target_probabilities(
    surface: AbstractSurface,
    requests: Sequence[EditRequest],
    prepend_bos: bool | None,
    objective: Objective | None = None,
) -> list[float]:
    """Joint probability of each request's target after its bare prompt, under the model as it is now.

    Raises:
        SurfaceError: the model's output is not finite.
    """
    rows = [row for each in requests for row in target_rows(surface, each, [""], "last", prepend_bos, objective)]
    return target_probs(surface, rows)


def chain(model: Model, first: Edit, second: Edit) -> Edit:
    """The sum, with the provenance of one editor's edits joined request by request. It knows what it leaves in the
    unedited `model`, so that a third edit can be made on top of it.
    """
    total = (first + second).fitted(model)
    joined = {
        name: [*first.provenance[name], *second.provenance[name]]
        for name in ("requests", "diagnostics", "losses", "neurons")
        if name in first.provenance
    }
    return Edit(total.deltas, total.bases, {**first.provenance, **joined}, total.keys)
