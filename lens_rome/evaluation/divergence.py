"""How far an edit moves what the model says next after a prompt that it should leave alone: NKL of CounterFact+
(Hoelscher-Obermaier et al., https://arxiv.org/abs/2305.17553).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from jaxtyping import Float

from lens_rome._typing import Tensor
from lens_rome.editing import Edit
from lens_rome.editing.hooks import has_hook_form
from lens_rome.editing.row_hooks import check_edits, rows_hooked
from lens_rome.evaluation.questions import Question
from lens_rome.evaluation.scorer import Job
from lens_rome.surface import AbstractSurface

DIVERGING_GROUPS = ("neighborhood", "distracting_neighborhood")
_ROWS = 32
"""Prompts of one run; bounds the memory of logits."""

Divergences = dict[tuple[int, str], float]
"""By the identity of the edit and the prompt."""


@dataclass(frozen=True)
class _Row:
    edit: Edit
    prompt: str
    tokens: tuple[int, ...]


@torch.no_grad()
def divergences(surface: AbstractSurface, jobs: Sequence[Job], *, weights: bool = False) -> Divergences:
    """KL divergence `KL(edited ‖ unedited)` of the next token's distributions, in nats, after each neighbour's prompt.

    Whole runs, of prompts of one length together; no edit, no divergence.

    Args:
        weights: write every edit into the weights instead of running it as hooks.

    Raises:
        EditMismatchError: the model's weights are not those that an edit was made for.
    """
    rows = list(dict.fromkeys(_rows(surface, jobs)))
    hooked = [row for row in rows if not weights and has_hook_form(surface, row.edit.deltas)]
    edits = list({id(row.edit): row.edit for row in hooked}.values())
    check_edits(surface, edits)
    number = {id(edit): i for i, edit in enumerate(edits)}
    found: Divergences = {}
    for batch in _batches(hooked):
        owners = torch.tensor([number[id(row.edit)] for row in batch])
        with rows_hooked(surface, edits, owners):
            edited = _next_logits(surface, batch)
        found |= _compared(batch, edited, _next_logits(surface, batch))
    for edit in {id(row.edit): row.edit for row in rows if id(row.edit) not in number}.values():
        for batch in _batches([row for row in rows if row.edit is edit]):
            with edit.applied(surface.model):
                edited = _next_logits(surface, batch)
            found |= _compared(batch, edited, _next_logits(surface, batch))
    return found


def _rows(surface: AbstractSurface, jobs: Sequence[Job]) -> Iterator[_Row]:
    for job in jobs:
        for prompt in job.prompts:
            if job.edit is not None and prompt.group in DIVERGING_GROUPS:
                asked: Question = prompt.new
                yield _Row(job.edit, asked.prompt, surface.encode(asked.prompt, asked.prepend_bos).ids)


def _batches(rows: Sequence[_Row]) -> Iterator[list[_Row]]:
    """Of one length: hooks of the model's owner may look at positions, so nothing is padded."""
    for _, alike in groupby(sorted(rows, key=lambda row: len(row.tokens)), key=lambda row: len(row.tokens)):
        same = list(alike)
        yield from (same[start : start + _ROWS] for start in range(0, len(same), _ROWS))


def _next_logits(surface: AbstractSurface, rows: Sequence[_Row]) -> Float[Tensor, "row d_vocab"]:
    return surface.run(torch.tensor([row.tokens for row in rows]))[:, -1].double().cpu()


def _compared(
    rows: Sequence[_Row], edited: Float[Tensor, "row d_vocab"], unedited: Float[Tensor, "row d_vocab"]
) -> Divergences:
    after, before = edited.log_softmax(-1), unedited.log_softmax(-1)
    told = (after.exp() * (after - before)).sum(-1).tolist()
    return {(id(row.edit), row.prompt): value for row, value in zip(rows, told, strict=True)}
