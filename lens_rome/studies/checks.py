"""What cannot be a run of edits is refused before the first one."""

from collections.abc import Sequence
from typing import Any

from lens_rome.editing.requests import name_pair, same_fact
from lens_rome.errors import EditError, FactError, SurfaceError
from lens_rome.facts import EditRequest, answer_tokens, tokenize_prompt
from lens_rome.moments import SecondMoment, SecondMoments
from lens_rome.surface import AbstractSurface

Moments = SecondMoments | SecondMoment | str | None


def check_settings(requests: Sequence[Any], moments: Moments, protect: bool, **counts: int) -> None:
    """Raise `EditError` for what cannot be a run."""
    if not requests:
        raise EditError("no records or requests to edit in sequence.")
    for request in requests:
        if not isinstance(request, EditRequest):
            raise EditError(f"records are EvalRecords or EditRequests, got {request!r}.")
    for name, value in counts.items():
        if value < 1:
            raise EditError(f"{name} must be a whole number from 1, got {value!r}.")
    if protect and not isinstance(moments, SecondMoments | SecondMoment):
        raise EditError(
            f"protect=True remembers past keys in the moments, and got moments={moments!r}. Pass SecondMoments; "
            "SecondMoment.identity(layer, d_mlp) makes one that treats all directions alike."
        )


def check_requests(surface: AbstractSurface, requests: Sequence[EditRequest], batch: int, prepend_bos: bool) -> None:
    """Raise `FactError` for a request whose subject or target the tokenizer or the context cannot hold, `EditError` for
    two of one step that ask something of the same fact.
    """
    for index, request in enumerate(requests):
        try:
            tokenize_prompt(surface, request, prepend_bos)
            for target in filter(None, (request.target_new, request.target_true)):
                answer_tokens(surface, request.prompt, target, prepend_bos)
        except (FactError, SurfaceError) as error:
            raise FactError(f"request {index} ({request}) cannot be used: {error}") from error
    for start in range(0, len(requests), batch):
        pair = same_fact(requests[start : start + batch])
        if pair is not None:
            told = name_pair(requests, (start + pair[0], start + pair[1]))
            raise EditError(f"{told} and in one step. Keep one of them, or choose a smaller batch.")
