"""What the unedited and the edited model say to the same prompts."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from lens_rome.editing import Edit
from lens_rome.facts import answer_tokens
from lens_rome.surface import AbstractSurface, pad_right

PHASES = ("before", "after")
_ROWS = 64  # rows of one forward; bounds memory


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
        FactError: a target without tokens of its own after its prompt.  SurfaceError: a prompt that is too long.
        EditMismatchError: the edit was made for other weights.
    """
    found: list[Said] = []
    with nullcontext() if edit is None else edit.applied(surface.model):
        for start in range(0, len(questions), _ROWS):
            rows, starts, targets = [], [], []
            for prompt, target in questions[start : start + _ROWS]:
                ids = surface.encode(prompt, prepend_bos).ids
                targets.append(answer_tokens(surface, prompt, target, prepend_bos))
                starts.append(len(ids))
                rows.append([*ids, *targets[-1][:-1]])
            logits = surface.run(pad_right(rows)[0])
            for scores, length, target in zip(logits, starts, targets, strict=True):
                found.append(_read(surface, scores[length - 1 : length - 1 + len(target)].double(), target))
    return found


def _read(surface: AbstractSurface, scores: torch.Tensor, target: Sequence[int]) -> Said:
    wanted = torch.tensor(target, device=scores.device)
    logprob = scores.log_softmax(-1).gather(-1, wanted[:, None]).sum()
    rank = int((scores[0] > scores[0, wanted[0]]).sum()) + 1
    top = str(surface.tokenizer.decode([int(scores[0].argmax())])).strip()
    return Said(float(logprob), rank, top, len(target))
