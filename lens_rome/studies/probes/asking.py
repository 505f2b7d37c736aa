"""What the unedited and the edited model say to the same prompts."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from lens_rome.editing import Edit
from lens_rome.facts import answer_tokens
from lens_rome.studies.probes.finding import Value
from lens_rome.surface import AbstractSurface, check_finite, pad_right

PHASES = ("before", "after")
_MOST_ROWS, _BYTES = 64, 256e6
"""Rows of one forward at most, and what their logits may take at most."""


@dataclass(frozen=True)
class Said:
    """How a model finds a target after a prompt."""

    logprob: float
    """Joint log-probability of all the target's tokens, teacher-forced, in nats."""
    rank: int
    """Of the target's first token among all next tokens; 1 for the most likely."""
    top: str
    """The most likely next token, without spaces around it."""
    tokens: int
    """Of the target."""

    @property
    def columns(self) -> dict[str, Value]:
        """What the row of a table tells of it."""
        return {"logprob": self.logprob, "rank": self.rank, "top": self.top}


@torch.no_grad()
def said(
    surface: AbstractSurface,
    questions: Sequence[tuple[str, str]],
    edit: Edit | None = None,
    *,
    prepend_bos: bool | None = None,
) -> list[Said]:
    """What the model says to each `(prompt, target)`, under an edit where one is given; the model comes back as it was.

    Raises:
        FactError: a target without tokens of its own after its prompt.
        SurfaceError: a prompt that is too long, or an output that is not finite.
        EditMismatchError: the edit was made for other weights.
    """
    targets = [answer_tokens(surface, prompt, target, prepend_bos) for prompt, target in questions]
    prompts = [surface.encode(prompt, prepend_bos).ids for prompt, _ in questions]
    rows = [[*ids, *target[:-1]] for ids, target in zip(prompts, targets, strict=True)]
    size = rows_at_once(surface, max(map(len, rows), default=1))
    found: list[Said] = []
    with in_weights(surface, edit):
        for start in range(0, len(rows), size):
            logits = surface.run(pad_right(rows[start : start + size])[0])
            for index, scores in enumerate(logits, start):
                first, target = len(prompts[index]) - 1, targets[index]
                found.append(_read(surface, scores[first : first + len(target)].double(), target))
    return found


def before_and_after(
    surface: AbstractSurface, questions: Sequence[tuple[str, str]], edit: Edit, *, prepend_bos: bool | None = None
) -> dict[str, list[Said]]:
    """What `said` gives for the unedited and for the edited model, by phase."""
    return {phase: said(surface, questions, each, prepend_bos=prepend_bos) for phase, each in phases(edit)}


def phases(edit: Edit) -> tuple[tuple[str, Edit | None], ...]:
    """Both phases, each with the edit that is in the weights then."""
    return tuple(zip(PHASES, (None, edit), strict=True))


def in_weights(surface: AbstractSurface, edit: Edit | None) -> AbstractContextManager[object]:
    """The edit in the model's weights inside the `with`, where there is one."""
    return nullcontext() if edit is None else edit.applied(surface.model)


def rows_at_once(surface: AbstractSurface, length: int) -> int:
    """How many rows of `length` tokens can run together within the memory that their logits may take."""
    row = length * surface.cfg.d_vocab * 4
    return max(1, min(_MOST_ROWS, int(_BYTES / row)))


def _read(surface: AbstractSurface, scores: torch.Tensor, target: Sequence[int]) -> Said:
    check_finite(surface, scores)
    wanted = torch.tensor(target, device=scores.device)
    logprob = scores.log_softmax(-1).gather(-1, wanted[:, None]).sum()
    rank = int((scores[0] > scores[0, wanted[0]]).sum()) + 1
    top = str(surface.tokenizer.decode([int(scores[0].argmax())])).strip()
    return Said(float(logprob), rank, top, len(target))
