"""Requests as editors take them, and what each says of its success."""

from collections.abc import Iterable, Sequence

import torch

from lens_rome._typing import Model
from lens_rome.editing.edit import Edit
from lens_rome.editing.objective import Objective
from lens_rome.editing.rows import stack, target_rows
from lens_rome.errors import EditError
from lens_rome.facts import EditRequest, Fact
from lens_rome.surface import AbstractSurface

_ROWS = 64  # rows of one forward; bounds memory


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


def same_fact(requests: Sequence[EditRequest]) -> tuple[int, int] | None:
    """Two requests for one subject and relation (or template, where no relation is named), if there are such."""
    seen: dict[tuple[str, str], int] = {}
    for i, request in enumerate(requests):
        first = seen.setdefault((request.subject, request.relation or request.template), i)
        if first != i:
            return first, i
    return None


@torch.no_grad()
def target_probabilities(
    surface: AbstractSurface,
    requests: Sequence[EditRequest],
    prepend_bos: bool | None,
    objective: Objective | None = None,
) -> list[float]:
    """Joint probability of each request's target after its bare prompt, under the model as it is now."""
    rows = [row for each in requests for row in target_rows(surface, each, [""], "last", prepend_bos, objective)]
    found: list[float] = []
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        batch = stack(surface, part)
        logits = surface.run(batch.tokens, batch.hooks)
        for row, said in zip(part, logits, strict=True):
            logprobs = said[row.end : row.end + len(row.target)].double().cpu().log_softmax(-1)
            found.append(float(logprobs.gather(-1, torch.tensor(row.target)[:, None]).sum().exp()))
    return found


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
