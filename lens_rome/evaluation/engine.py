"""One run of rows that may each be of another edited model, and the likelihoods that it tells.

No block below the lowest edited one knows of any edit: rows of one text share it. Above it every row runs with its own
edit as hooks, from the end of its stem on, whose keys and values are there. Only the positions that predict a target
are unembedded.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int

from lens_rome._typing import Tensor, Tokens
from lens_rome.editing import Edit
from lens_rome.editing.row_hooks import rows_hooked
from lens_rome.errors import SurfaceError
from lens_rome.evaluation.likelihood import Likelihood
from lens_rome.evaluation.score_rows import ScoreRow, Stem
from lens_rome.surface import AbstractSurface, BaseRun, check_logits, owner_hooks, pad_right

_READS = 64
"""Positions that are unembedded together; bounds the memory of logits."""


@torch.no_grad()
def needs_whole_runs(surface: AbstractSurface, tokens: Sequence[int]) -> bool:
    """Whether every run must be the model's own forward: hooks of its owner look at positions, or it does more after
    the unembedding than is known here. `tokens` are a text to find that out with.
    """
    if owner_hooks(surface.model):
        return True
    row, start = torch.tensor([list(tokens)]), len(tokens) // 2
    base = surface.base_run(row)
    resumed = surface.resume(base, 0, base.resid[0][:, start:], start)
    found = surface.logits(torch.cat([base.resid[-1][:, :start], resumed], 1))
    try:
        check_logits(surface, found, surface.run(row))
    except SurfaceError:
        return True
    return False


@dataclass(frozen=True)
class Stems:
    """What rows that begin with a stem resume from."""

    base: BaseRun
    place: dict[Stem, int]

    def under(self, rows: Sequence[ScoreRow], tokens: Tokens) -> BaseRun:
        """The run that `rows` of `tokens` resume, one each."""
        return self.base.continued(tokens, torch.tensor([self.place[row.stem] for row in rows]))


@torch.no_grad()
def run_stems(surface: AbstractSurface, stems: Iterable[Stem], edits: Sequence[Edit]) -> Stems | None:
    """Stems of one length, each under its owner's edit; None if there are none."""
    place = {stem: i for i, stem in enumerate(stems)}
    if not place:
        return None
    with rows_hooked(surface, edits, torch.tensor([owner for owner, _ in place])):
        base = surface.base_run(torch.tensor([tokens for _, tokens in place]))
    return Stems(base, place)


@torch.no_grad()
def run_rows(
    surface: AbstractSurface,
    rows: Sequence[ScoreRow],
    edits: Sequence[Edit],
    stems: Stems | None = None,
    *,
    whole: bool = False,
) -> list[tuple[Likelihood, ...]]:
    """The answers to the questions of each row, in their order; rows of owner -1 run without an edit.

    Args:
        rows: of about one length and one start; none has a lowest edited block below that of the first row.
        stems: all that rows begin with.
        whole: run the model's own forward instead of block by block.
    """
    reads = _Reads(rows)
    owners = torch.tensor([row.owner for row in rows])
    if whole:
        with rows_hooked(surface, edits, owners):
            logits = surface.run(pad_right([row.tokens for row in rows])[0])
        parts = logits[reads.rows.to(logits.device), reads.at.to(logits.device)].split(_READS)
    else:
        states = _last_states(surface, rows, edits, owners, reads, stems)
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
    stems: Stems | None,
) -> Float[Tensor, "read d_model"]:
    """The residual that leaves the last block where something is read."""
    distinct = {row.tokens: row for row in rows}
    place = {tokens: i for i, tokens in enumerate(distinct)}
    first, start, read_from = rows[0].first, rows[0].start, int(reads.at.min())
    base = surface.fresh_run(pad_right(list(distinct))[0])
    tokens, resid = base.tokens, base.resid[0][:, start:]
    if stems and start:  # below `first` a stem is the same for all owners
        base = stems.under(list(distinct.values()), tokens)
    for layer in range(first):
        resid = surface.block(base, layer, resid, start)
    index = torch.tensor([place[row.tokens] for row in rows]).to(resid.device)
    resid, base = resid[index], stems.under(rows, tokens[index]) if stems and start else base.select(index)
    with rows_hooked(surface, edits, owners):
        for layer in range(first, surface.n_layers - 1):
            resid = surface.block(base, layer, resid, start)
        resid = surface.last_block(base, resid, start, read_from)
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
