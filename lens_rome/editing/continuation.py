"""What a model says after a prompt whose subject it cannot make out."""

from dataclasses import replace

import torch

from lens_rome.editing.objective import Objective
from lens_rome.editing.rows import prompt_rows, stack
from lens_rome.errors import EditError, SubjectSpanError
from lens_rome.facts import EditRequest, Fact, answer_tokens
from lens_rome.surface import AbstractSurface, check_finite


@torch.no_grad()
def continued(
    surface: AbstractSurface, fact: Fact, n: int, objective: Objective, prepend_bos: bool | None
) -> tuple[int, ...]:
    """The `n` likeliest tokens one after another, after the fact's prompt and nothing of it; every run has the noise
    of `objective` at the subject.

    Raises:
        EditError: they do not fit the model's context.
    """
    request = EditRequest(fact.subject, fact.template, fact.target)
    (row,) = prompt_rows(surface, request, [""], "last", prepend_bos, objective)
    if len(row.tokens) + n > surface.n_ctx:
        raise EditError(
            f"{n} tokens after {fact.prompt!r} do not fit the model's context of {surface.n_ctx}; ask for fewer."
        )
    for _ in range(n):
        batch = stack(surface, [row])
        logits = surface.run(batch.tokens, batch.hooks)[0, -1]
        check_finite(surface, logits)
        row = replace(row, tokens=(*row.tokens, int(logits.argmax())))
    return row.tokens[-n:]


def reads_back(
    surface: AbstractSurface, fact: Fact, text: str, tokens: tuple[int, ...], prepend_bos: bool | None
) -> bool:
    """Whether a text is tokenised after the fact's prompt as these tokens."""
    try:
        return answer_tokens(surface, fact.prompt, text, prepend_bos) == tokens
    except SubjectSpanError:
        return False
