"""What a report keeps of a record and of its edit."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from lens_rome.editing import Edit
from lens_rome.editing.describe import title
from lens_rome.evaluation.making import Made
from lens_rome.evaluation.rows import RecordCase
from lens_rome.facts import EditRequest


def record_case(made: Made, editor: str, change: float | None) -> RecordCase:
    """The row of a record.

    Args:
        editor: what the editor is called; for edits that were given their own names count.
        change: `relative_norm` of the edit.
    """
    request, edit = made.record.request, made.edit
    return RecordCase(
        made.record.case_id,
        request.subject,
        request.template,
        request.target_new,
        request.target_true,
        request.relation,
        editor=editor if edit is None else title(edit.provenance),
        seconds=made.seconds,
        change=change,
        losses=() if edit is None else _losses(edit.provenance, request),
        refused=made.refused,
    )


def relative_norm(edit: Edit) -> float:
    """Norm of the whole change over that of all parameters it touches; infinite where these are zero."""
    change = math.hypot(*(delta.norm() for delta in edit.deltas.values()))
    whole = math.hypot(*(base.norm for base in edit.bases.values()))
    return change / whole if whole else math.inf if change else 0.0


def _losses(provenance: Mapping[str, Any], request: EditRequest) -> tuple[float, ...]:
    """The total loss of the request's search by step; empty if none is told. The losses of a joint fit are those of
    each of its requests.
    """
    for asked, losses in _searches(provenance):
        same = (asked.get("subject"), asked.get("template"), asked.get("target_new"))
        if same == (request.subject, request.template, request.target_new):
            return tuple(float(step["total"]) for step in losses if "total" in step)
    return ()


def _searches(provenance: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], list[Mapping[str, float]]]]:
    for part in provenance.get("sum") or [provenance]:
        requests, losses = part.get("requests", []), part.get("losses", [])
        if len(losses) == 1:
            losses = losses * len(requests)
        if len(losses) == len(requests):
            yield from zip(requests, losses, strict=True)
