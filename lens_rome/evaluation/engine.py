"""One run of rows that may each be of another edited model, and the likelihoods that it tells.

No block below the lowest edited one knows of any edit: rows of one text share it. Above it every row runs with its own
edit as hooks. Only the positions that predict a target are unembedded.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int

from lens_rome._typing import Tensor
from lens_rome.editing import Edit
from lens_rome.editing.row_hooks import rows_hooked
from lens_rome.errors import SurfaceError
from lens_rome.evaluation.likelihood import Likelihood
from lens_rome.evaluation.score_rows import ScoreRow
from lens_rome.surface import AbstractSurface, check_logits, owner_hooks, pad_right

_READS = 64
"""Positions that are unembedded together; bounds the memory of logits."""


@torch.no_grad()
def needs_whole_runs(surface: AbstractSurface, tokens: Sequence[int]) -> bool:
    """Whether every run must be the model's own forward: hooks of its owner look at positions, or it does more after
    the unembedding than is known here. `tokens` are a text to find that out with.
    """
    if owner_hooks(surface.model):
        return True
    row = torch.tensor([list(tokens)])
    base = surface.fresh_run(row)
    found = surface.logits(surface.resume(base, 0, base.resid[0], 0))
    try:
        check_logits(surface, found, surface.run(row))
    except SurfaceError:
        return True
    return False


@torch.no_grad()
def run_rows(
    surface: AbstractSurface, rows: Sequence[ScoreRow], edits: Sequence[Edit], *, whole: bool = False
) -> list[tuple[Likelihood, ...]]:
    """The answers to the questions of each row, in their order; rows of owner -1 run without an edit.

    Args:
        rows: of about one length; none has a lowest edited block below that of the first row.
        whole: run the model's own forward instead of block by block.
    """
    reads = _Reads(rows)
    owners = torch.tensor([row.owner for row in rows])
    if whole:
        with rows_hooked(surface, edits, owners):
            logits = surface.run(pad_right([row.tokens for row in rows])[0])
        parts = logits[reads.rows.to(logits.device), reads.at.to(logits.device)].split(_READS)
    else:
        states = _last_states(surface, rows, edits, owners, reads)
        parts = (surface.logits(part[None])[0] for part in states.split(_READS))
    told = [_told(logits, wanted) for logits, wanted in zip(parts, reads.wanted.split(_READS), strict=True)]
    logprobs, hits = (torch.cat(each).tolist() for each in zip(*told, strict=True))
    return [tuple(_likelihood(logprobs, hits, cells) for cells in own) for own in reads.cells]


def _last_states(
    surface: AbstractSurface,
    rows: Sequence[ScoreRow],
    edits: Sequence[Edit],
    owners: Int[Tensor, " row"],
    reads: "_Reads",
) -> Float[Tensor, "read d_model"]:
    """The residual that leaves the last block where something is read."""
    distinct = {tokens: i for i, tokens in enumerate(dict.fromkeys(row.tokens for row in rows))}
    first, read_from = rows[0].first, int(reads.at.min())
    base = surface.fresh_run(pad_right(list(distinct))[0])
    resid = base.resid[0]
    for layer in range(first):
        resid = surface.block(base, layer, resid, 0)
    index = torch.tensor([distinct[row.tokens] for row in rows])
    resid, base = resid[index.to(resid.device)], base.select(index)
    with rows_hooked(surface, edits, owners):
        for layer in range(first, surface.n_layers - 1):
            resid = surface.block(base, layer, resid, 0)
        resid = surface.last_block(base, resid, 0, read_from)
    return resid[reads.rows.to(resid.device), (reads.at - read_from).to(resid.device)]


class _Reads:
    """Where a batch is read, each position once, and which tokens are wanted there."""

    def __init__(self, rows: Sequence[ScoreRow]) -> None:
        wanted: dict[tuple[int, int], list[int]] = {}
        self.cells: list[list[list[tuple[int, int]]]] = []
        """Of every question of every row: read and column of each token of its target."""
        number: dict[tuple[int, int], int] = {}
        for index, row in enumerate(rows):
            own = []
            for ask in row.asks:
                cells = []
                for place, token in enumerate(ask.target, ask.start):
                    read = number.setdefault((index, place), len(number))
                    tokens = wanted.setdefault((index, place), [])
                    tokens.append(token)
                    cells.append((read, len(tokens) - 1))
                own.append(cells)
            self.cells.append(own)
        most = max(map(len, wanted.values()))
        self.rows, self.at = torch.tensor(list(wanted)).T
        self.wanted = torch.tensor([[*tokens, *[0] * (most - len(tokens))] for tokens in wanted.values()])


def _told(
    logits: Float[Tensor, "read d_vocab"], wanted: Int[Tensor, "read want"]
) -> tuple[Float[Tensor, "read want"], Tensor]:
    """Log-probability of each wanted token, and whether it is the likeliest one."""
    logits, wanted = logits.double(), wanted.to(logits.device)
    logprobs = logits.gather(-1, wanted) - logits.logsumexp(-1, keepdim=True)
    return logprobs.cpu(), (logits.argmax(-1, keepdim=True) == wanted).cpu()


def _likelihood(logprobs: list[list[float]], hits: list[list[bool]], cells: Sequence[tuple[int, int]]) -> Likelihood:
    logprob = sum(logprobs[read][column] for read, column in cells)
    return Likelihood(logprob, len(cells), sum(hits[read][column] for read, column in cells))
