"""The runs of a search for values: rows resume together at the token where the subject is looked up.

Between two steps only δ changes. So nothing at or below the edited layer and no position before the lookup is computed
again. Rows with prefixes of different lengths, and rows of other requests, have their lookups at different positions
but about as much text after them: moved so that the lookups meet, hardly any padding is left.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int

from lens_rome._typing import FwdHooks, Tensor
from lens_rome.editing.rows import Row, at_positions, stack
from lens_rome.surface import (
    AbstractSurface,
    BaseRun,
    Site,
    attached,
    check_finite,
    check_resumed,
    owner_hooks,
    rows_agree,
)

_CALL = 4e7
"""Multiply-adds that take about as long as calling a block once more, forward and backward, does beside its work."""
_READING = 32
"""Positions whose products with a block's weights take about as long as reading these weights from memory."""


@dataclass(frozen=True)
class SearchRow:
    """A row of a request; one without target is its divergence prompt, read at the lookup."""

    request: int
    row: Row
    bare: bool = False
    """Whether it is the bare prompt with its target."""


@dataclass(frozen=True, eq=False)
class Readings:
    """What one run of a group tells, with gradients."""

    logprobs: Float[Tensor, " token"]
    """Of every target token of every row, in nats."""
    owners: Int[Tensor, " token"]
    """The request of each."""
    shares: Float[Tensor, " token"]
    """One over the number of the target's tokens."""
    bare: Bool[Tensor, " token"]
    """Whether the row is the bare prompt."""
    kl_logprobs: Float[Tensor, "kl d_vocab"]
    """Of every token at the divergence prompts' lookups."""
    kl_owners: Int[Tensor, " kl"]


class RowGroup:
    """Rows with about as many tokens after their lookups, and the run from which each step resumes: at the lookups,
    which are moved to one position.

    Under hooks of the model's owner, which may look at positions, every step is a run over the whole sequences.
    """

    def __init__(self, surface: AbstractSurface, site: Site, rows: Sequence[SearchRow]) -> None:
        self.surface, self.site, self.rows = surface, site, list(rows)
        batch = stack(surface, [each.row for each in rows])
        self._tokens, self._noise = batch.tokens, batch.hooks
        self._place()
        self._start = int(self._lookups.max())
        self._base: BaseRun | None = None
        self._unchecked = False
        with torch.no_grad():
            if owner_hooks(surface.model):
                values = surface.read(batch.tokens, [site], batch.hooks)[site]
            else:
                base = surface.base_run(batch.tokens, batch.hooks, keep=[site])
                values = base[site]
                self._base, self._unchecked = base.aligned(self._lookups, _after(rows), site.layer), True
                self._passes_on = site.kind != "value" or self._probe_passes(self._base)
        self.values: Float[Tensor, "row d_model"] = at_positions(values, self._lookups)
        """What is at the site at each row's lookup without δ."""

    def _probe_passes(self, base: BaseRun) -> bool:
        """Whether what is added at the site reaches the residual as it is: not where a norm stands after the MLP, or
        a scale. Found with a probe as long as the residual, not from the architecture's name.
        """
        layer, at_lookup = self.site.layer, torch.zeros_like(self._lookups)
        before, after = (base.resid[i][:, self._start :] for i in (layer, layer + 1))
        direction = torch.randn(after[:, 0].shape, generator=torch.Generator().manual_seed(0)).to(after)
        probe = direction * (after[:, 0].norm(dim=-1) / direction.norm(dim=-1))[:, None]
        with attached(self.surface.model, self._adding_hook(probe, at_lookup)):
            found = self.surface.block(base, layer, before, self._start)
        return rows_agree(self.surface, found[:, 0], after[:, 0] + probe)

    def _place(self) -> None:
        """Where each row is read, as flat (row, position) pairs, and whose δ it takes."""
        self.owners = torch.tensor([each.request for each in self.rows], dtype=torch.long)
        self._lookups = torch.tensor([each.row.lookup for each in self.rows])
        reads = [
            (i, each.row.end + j, token, 1 / len(each.row.target), each.bare)
            for i, each in enumerate(self.rows)
            for j, token in enumerate(each.row.target)
        ]
        kl = [i for i, each in enumerate(self.rows) if not each.row.target]
        rows, at, targets, shares, bare = zip(*reads, strict=True) if reads else ((), (), (), (), ())
        self._kl_rows = torch.tensor(kl, dtype=torch.long)
        self._read_rows = torch.cat([torch.tensor(rows, dtype=torch.long), self._kl_rows])
        self._read_at = torch.cat([torch.tensor(at, dtype=torch.long), self._lookups[self._kl_rows]])
        self._targets = torch.tensor(targets, dtype=torch.long)
        self._shares, self._bare = torch.tensor(shares, dtype=torch.float64), torch.tensor(bare, dtype=torch.bool)

    def keep(self, wanted: Bool[Tensor, " request"]) -> "RowGroup | None":
        """The group without the rows of requests that are no longer wanted; None if nothing is left."""
        index = wanted[self.owners].nonzero().flatten()
        if len(index) == len(self.rows):
            return self
        if not len(index):
            return None
        smaller = object.__new__(RowGroup)
        smaller.__dict__ = dict(self.__dict__)
        smaller.rows = [self.rows[i] for i in index.tolist()]
        batch = stack(self.surface, [each.row for each in smaller.rows])
        smaller._tokens, smaller._noise = batch.tokens, batch.hooks  # both as wide as the longest row that is left
        if self._base is not None:
            smaller._base = self._base.select(index)
        smaller._place()
        smaller.values = self.values[index.to(self.values.device)]
        return smaller

    def read(self, deltas: Float[Tensor, "request d_model"]) -> Readings:
        """Run with each request's δ added at its rows' lookups."""
        logits = (self._resumed if self._base is not None else self._full_length)(deltas[self.owners.to(deltas.device)])
        check_finite(self.surface, logits.detach())
        logprobs, n = logits.to(deltas.dtype).log_softmax(-1), len(self._targets)
        where = deltas.device
        return Readings(
            logprobs[:n].gather(-1, self._targets.to(where)[:, None])[:, 0],
            self.owners[self._read_rows[:n]].to(where),
            self._shares.to(logprobs),
            self._bare.to(where),
            logprobs[n:],
            self.owners[self._kl_rows].to(where),
        )

    def _resumed(self, deltas: Tensor) -> Tensor:
        """Run from the edited block's output on; where δ does not pass on to it as it is, that block again with δ
        inside.
        """
        surface, base, layer, start = self.surface, self._base, self.site.layer, self._start
        assert base is not None
        at_lookup = torch.zeros_like(self._lookups)
        if not self._passes_on:
            with attached(surface.model, self._adding_hook(deltas, at_lookup)):
                resid = surface.block(base, layer, base.resid[layer][:, start:], start)
        else:
            resid = _added(base.resid[layer + 1][:, start:], deltas, at_lookup)
        read_at = self._read_at - self._lookups[self._read_rows] + start
        first_read = int(read_at.min())
        if layer + 1 < surface.n_layers:
            for current in range(layer + 1, surface.n_layers - 1):
                resid = surface.block(base, current, resid, start)
            resid = surface.last_block(base, resid, start, first_read)
        else:
            resid = resid[:, first_read - start :]
        rows = self._read_rows.to(resid.device)
        chosen = resid[rows, (read_at - first_read).to(resid.device)]
        if self._unchecked and not deltas.any():
            check_resumed(surface, chosen.detach(), base.resid[-1][rows, read_at.to(resid.device)])
            self._unchecked = False
        return surface.logits(chosen[None])[0]

    def _full_length(self, deltas: Tensor) -> Tensor:
        logits = self.surface.run(self._tokens, [*self._noise, *self._adding_hook(deltas, self._lookups)])
        return logits[self._read_rows.to(logits.device), self._read_at.to(logits.device)]

    def _adding_hook(self, deltas: Tensor, positions: Int[Tensor, " row"]) -> FwdHooks:
        """Each row's δ added at its position."""

        def add(activation: Tensor, hook: object) -> Tensor:  # noqa: ARG001 - TransformerLens's signature
            return _added(activation, deltas, positions)

        return [(self.surface.hook_name(self.site), add)]


def _added(activation: Tensor, deltas: Tensor, positions: Int[Tensor, " row"]) -> Tensor:
    """Each row's δ at its position."""
    changed, rows = activation.clone(), torch.arange(len(positions), device=activation.device)
    at = positions.to(activation.device)
    changed[rows, at] = changed[rows, at] + deltas.to(activation.dtype)
    return changed


def _after(rows: Sequence[SearchRow]) -> int:
    """Positions from the lookup on, of the row that has most."""
    return max(len(each.row.tokens) - each.row.lookup for each in rows)


def group_rows(surface: AbstractSurface, site: Site, rows: Sequence[SearchRow]) -> list[RowGroup]:
    """Rows in groups with about as many tokens from the lookup on. What stands after the lookup of a divergence prompt
    is cut off: nothing reads it.

    A group of its own costs some calls of each block and one more reading of the weights; rows join the group before
    them where the positions that they then run in vain cost less than that, and where the context is long enough.
    """
    by_length: dict[int, list[SearchRow]] = defaultdict(list)
    for each in rows:
        row = each.row
        if not row.target:
            each = replace(each, row=replace(row, tokens=row.tokens[: max(row.lookup, row.subject[1] - 1) + 1]))
        by_length[len(each.row.tokens) - each.row.lookup].append(each)
    per_token = 4 * surface.d_model**2 + 2 * surface.d_model * surface.d_mlp
    groups: list[list[SearchRow]] = []
    for length in sorted(by_length, reverse=True):
        some = by_length[length]
        if groups:
            joined = [*groups[-1], *some]
            in_vain = len(some) * (_after(joined) - length)
            fits = max(each.row.lookup for each in joined) + _after(joined) <= surface.n_ctx
            if fits and in_vain * per_token < _CALL + _READING * per_token:
                groups[-1] = joined
                continue
        groups.append(some)
    return [RowGroup(surface, site, group) for group in groups]
