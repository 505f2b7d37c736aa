"""The runs of a search for values: rows that are looked up at one position resume together.

Between two steps only δ changes. So nothing at or below the edited layer and no position before the lookup is computed
again. Rows with prefixes of different lengths, and rows of other requests, have their lookups at different positions
but about as much text after them: grouped by that position, hardly any padding is left.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int

from lens_rome._typing import FwdHooks, Tensor
from lens_rome.editing.rows import Row, stack
from lens_rome.surface import AbstractSurface, BaseRun, Site, attached, check_finite, owner_hooks


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

    rows: list[SearchRow]
    """Those that have a target."""
    logprobs: tuple[Float[Tensor, " _"], ...]
    """Of each of these rows, its target's tokens, in nats."""
    owners: Int[Tensor, " row"]
    """Their requests."""
    kl_logprobs: Float[Tensor, "kl d_vocab"]
    """Of every token at the divergence prompts' lookups."""
    kl_owners: Int[Tensor, " kl"]


class RowGroup:
    """Rows that are looked up at the same position, and the run from which each step resumes.

    Under hooks of the model's owner that look at positions, every step is a run over the whole sequences.
    """

    def __init__(self, surface: AbstractSurface, site: Site, rows: Sequence[SearchRow]) -> None:
        self.surface, self.site, self.rows = surface, site, list(rows)
        self.lookup = rows[0].row.lookup
        batch = stack(surface, [each.row for each in rows])
        self._tokens, self._noise = batch.tokens, batch.hooks
        self._base: BaseRun | None = None
        with torch.no_grad():
            if owner_hooks(surface.model):
                values = surface.read(batch.tokens, [site], batch.hooks)[site]
            else:
                self._base = surface.base_run(batch.tokens, batch.hooks, keep=[site])
                values = self._base[site]
        self.values: Float[Tensor, "row d_model"] = values[:, self.lookup]
        """What is at the site at each row's lookup without δ."""
        self._place()

    def _place(self) -> None:
        """Where each row is read, as flat (row, position) pairs, and whose δ it takes."""
        self.owners = _owners(self.rows)
        reads = [
            range(each.row.end, each.row.end + len(each.row.target)) if each.row.target else [each.row.lookup]
            for each in self.rows
        ]
        self._read_rows = torch.tensor([i for i, at in enumerate(reads) for _ in at])
        self._read_at = torch.tensor([position for at in reads for position in at])
        self._counts = [len(at) for at in reads]

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
        return smaller

    def read(self, deltas: Float[Tensor, "request d_model"]) -> Readings:
        """Run with each request's δ added at its rows' lookups."""
        logits = (self._resumed if self._base is not None else self._full_length)(deltas[self.owners.to(deltas.device)])
        check_finite(self.surface, logits.detach())
        logprobs = logits.to(deltas.dtype).log_softmax(-1).split(self._counts)
        told = [(each, found) for each, found in zip(self.rows, logprobs, strict=True) if each.row.target]
        kl = [(each, found[0]) for each, found in zip(self.rows, logprobs, strict=True) if not each.row.target]
        return Readings(
            [each for each, _ in told],
            tuple(found[range(len(found)), list(each.row.target)] for each, found in told),
            _owners(each for each, _ in told),
            torch.stack([found for _, found in kl]) if kl else deltas.new_zeros(0, logits.shape[-1]),
            _owners(each for each, _ in kl),
        )

    def _resumed(self, deltas: Tensor) -> Tensor:
        """Run from the edited block's output on; where a norm follows the MLP, that block again with δ inside."""
        surface, base, layer, start = self.surface, self._base, self.site.layer, self.lookup
        assert base is not None
        if self.site.kind == "value" and surface.norm_after_mlp(layer):
            with attached(surface.model, self._adding_hook(deltas, 0)):
                resid = surface.block(base, layer, base.resid[layer][:, start:], start)
        else:
            resid = _added(base.resid[layer + 1][:, start:], deltas, 0)
        first_read = int(self._read_at.min())
        if layer + 1 < surface.n_layers:
            for current in range(layer + 1, surface.n_layers - 1):
                resid = surface.block(base, current, resid, start)
            resid = surface.last_block(base, resid, start, first_read)
        else:
            resid = resid[:, first_read - start :]
        chosen = resid[self._read_rows.to(resid.device), (self._read_at - first_read).to(resid.device)]
        return surface.logits(chosen[None])[0]

    def _full_length(self, deltas: Tensor) -> Tensor:
        logits = self.surface.run(self._tokens, [*self._noise, *self._adding_hook(deltas, self.lookup)])
        return logits[self._read_rows.to(logits.device), self._read_at.to(logits.device)]

    def _adding_hook(self, deltas: Tensor, position: int) -> FwdHooks:
        def add(activation: Tensor, hook: object) -> Tensor:  # noqa: ARG001 - TransformerLens's signature
            return _added(activation, deltas, position)

        return [(self.surface.hook_name(self.site), add)]


def _owners(rows: Iterable[SearchRow]) -> Int[Tensor, " row"]:
    return torch.tensor([each.request for each in rows], dtype=torch.long)


def _added(activation: Tensor, deltas: Tensor, position: int) -> Tensor:
    """Each row's δ at one position."""
    changed = activation.clone()
    changed[:, position] = changed[:, position] + deltas.to(activation.dtype)
    return changed


def group_rows(surface: AbstractSurface, site: Site, rows: Sequence[SearchRow]) -> list[RowGroup]:
    """Rows in groups of equal lookup. What stands after the lookup of a divergence prompt is cut off: nothing reads
    it.
    """
    groups: dict[int, list[SearchRow]] = defaultdict(list)
    for each in rows:
        row = each.row
        if not row.target:
            each = replace(each, row=replace(row, tokens=row.tokens[: max(row.lookup, row.subject[1] - 1) + 1]))
        groups[row.lookup].append(each)
    return [RowGroup(surface, site, groups[lookup]) for lookup in sorted(groups)]
