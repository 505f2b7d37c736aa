"""Prompts with their targets, whose likelihood is asked for again and again while weights of the model change.

No block below the first changed one computes anything new: their output is kept, and a run begins behind them. Only
the positions that predict a target are unembedded.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float

from lens_rome._typing import Tensor
from lens_rome.editing.rows import Row, noise_hooks, stack
from lens_rome.surface import AbstractSurface, check_finite, check_logits, owner_hooks

_ROWS = 32
"""Rows of one run that only measures; bounds the memory of its logits."""


class TargetBatch:
    """Rows that run together. Memory between runs: one residual `[row, pos, d_model]`.

    Under hooks of the model's owner that look at positions every run is whole.

    Args:
        first: lowest block whose parameters change, or None where something before the blocks does.
        all_at_once: score all tokens of a target right after the prompt; the rows then need no target tokens.

    Raises:
        SurfaceError: the model's output is not finite (in whole runs: in any of them), or does not follow from its
            last residual as expected.
    """

    def __init__(
        self, surface: AbstractSurface, rows: Sequence[Row], first: int | None, *, all_at_once: bool = False
    ) -> None:
        self.surface, self.rows = surface, list(rows)
        batch = stack(surface, self.rows)
        self._tokens, self._noise = batch.tokens, batch.hooks
        self._counts = [len(row.target) for row in self.rows]
        self._targets = torch.tensor([token for row in self.rows for token in row.target])
        self._read_rows = torch.tensor([i for i, row in enumerate(self.rows) for _ in row.target])
        self._read_at = torch.tensor(
            [row.end + (0 if all_at_once else j) for row in self.rows for j in range(len(row.target))]
        )
        self._first = first
        self._kept = None
        if first is not None and not owner_hooks(surface.model):
            self._keep(first)

    @torch.no_grad()
    def _keep(self, first: int) -> None:
        """The residual that enters block `first`. Runs from position 0 take no keys and values of an earlier run, so
        of that one row is enough to tell its shape.
        """
        base = self.surface.base_run(self._tokens, self._noise)
        tokens = self._tokens[:1]
        full = self.surface.run(tokens, noise_hooks(self.surface, self.rows[:1], tokens.shape[1]))
        check_finite(self.surface, full)
        check_logits(self.surface, self.surface.logits(base.resid[-1][:1]), full)
        self._kept = base.resid[first].clone(), base.select(torch.tensor([0]))

    def logprobs(self) -> tuple[Float[Tensor, " _"], ...]:
        """Log-probabilities (nats) of each row's target tokens with the weights as they are now; float32 at least."""
        logits = self._whole() if self._kept is None else self._resumed()
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        targets = self._targets.to(logits.device)
        return logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0].split(self._counts)

    def nll(self, reduction: str) -> Float[Tensor, " row"]:
        """Negative log-likelihood of each row's target: nats a token (`"mean"`) or altogether (`"sum"`)."""
        return torch.stack([-(each.mean() if reduction == "mean" else each.sum()) for each in self.logprobs()])

    def _resumed(self) -> Float[Tensor, "read d_vocab"]:
        assert self._kept is not None and self._first is not None
        surface, (resid, base) = self.surface, self._kept
        read_from = int(self._read_at.min())
        for layer in range(self._first, surface.n_layers - 1):
            resid = surface.block(base, layer, resid, 0)
        resid = surface.last_block(base, resid, 0, read_from)
        chosen = resid[self._read_rows.to(resid.device), (self._read_at - read_from).to(resid.device)]
        return surface.logits(chosen[None])[0]

    def _whole(self) -> Float[Tensor, "read d_vocab"]:
        logits = self.surface.run(self._tokens, self._noise)
        chosen = logits[self._read_rows.to(logits.device), self._read_at.to(logits.device)]
        check_finite(self.surface, chosen.detach())
        return chosen


@torch.no_grad()
def target_probs(surface: AbstractSurface, rows: Sequence[Row]) -> list[float]:
    """Joint probability of each row's target with the weights as they are now.

    Raises:
        SurfaceError: the model's output is not finite.
    """
    found: list[float] = []
    for start in range(0, len(rows), _ROWS):
        batch = TargetBatch(surface, rows[start : start + _ROWS], None)
        found += [float(each.double().sum().exp()) for each in batch.logprobs()]
    return found
