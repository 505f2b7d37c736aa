"""The cells of a trace, computed with everything shared that they have in common. Exact.

A cell puts the states of one run (the *donor*) into another (the *base*), at one site and position, over a window of
layers. Everything before that position and below that window is the base run itself, so a cell is a resumed run. Cells
of one position have equal length and run together: block by block, one large batch, which each cell joins where its
own computation begins. So do the prompts of a batch, which have equal length.

Windows that begin at the same layer also share their beginning: one *trunk* restores layer after layer, and the cell
of a window leaves the trunk at the end of its window. `tests/oracles/tracing.py` is the plain loop that all this
equals.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float

from lens_rome._typing import FwdHooks, HookFunction, Residual, Tensor
from lens_rome.surface import AbstractSurface, BaseRun, Site, attached, position_free
from lens_rome.tracing.states import as_slice, freeze_hooks, put, resid_mid_as_attn_out

Window = tuple[int, int]
"""Half-open range of layers."""
ReadAnswer = Callable[[Residual], Float[Tensor, " row"]]
"""From the residual that leaves the last block, at the positions that are read, to the metric."""


@dataclass(frozen=True, eq=False)
class Patch:
    """What is put into the base run, and what is held fixed there."""

    kind: str
    """The site."""
    donor: Mapping[Site, Tensor]
    """States to put in, `[row, pos, ...]`; row `i` of a cell takes row `i % rows` of these."""
    head: int | None = None
    """The one head of a site `z`."""
    frozen: Mapping[Site, Tensor] = field(default_factory=dict)
    """States held at the positions in every layer (severed paths), laid out like `donor`."""


@dataclass(frozen=True, eq=False)
class GridRuns:
    """The base run that every cell resumes."""

    base: BaseRun
    rows: int
    """Rows of one cell: prompts times samples, samples outermost. A multiple of the base run's rows."""
    read_from: int
    """First position whose logits are read; up to the end of the sequence."""
    memory: float
    """Bytes that the activations of one batch may take, roughly."""


def position_scores(
    surface: AbstractSurface,
    runs: GridRuns,
    patch: Patch,
    positions: Sequence[int],
    windows: Sequence[Window],
    read: ReadAnswer,
) -> dict[Window, Float[Tensor, " row"]]:
    """The metric in each row for each window of states put in at `positions` together.

    Windows that cannot matter there (only the last layer, before the first position that is read) are left out.
    """
    column = _Column(surface, runs, patch, positions)
    useful = {window: column.useful_part(window) for window in windows}
    distinct = sorted({window for window in useful.values() if window is not None})
    scores: dict[Window, Tensor] = {}
    for chunk in column.chunks(distinct):
        scores |= column.run(chunk, read)
    return {window: scores[part] for window, part in useful.items() if part is not None}


def cells_at_once(surface: AbstractSurface, memory: float, tokens: int, read: int) -> int:
    """Cells of one batch, if one cell has `tokens` row tokens, of which `read` are unembedded; at least one.

    Counts the largest activations: about six of a block's neurons, or logits and their logarithms.
    """
    largest = max(6 * tokens * surface.d_mlp, 3 * read * int(surface.cfg.d_vocab))
    return max(1, int(memory / (largest * surface.dtype.itemsize)))


@dataclass
class _Group:
    """Rows that move through the blocks together."""

    window: Window
    state: Residual
    """Residual entering the current block, from the column's first position on."""
    restoring: bool


class _Column:
    """All cells of one position, or of one set of positions."""

    def __init__(self, surface: AbstractSurface, runs: GridRuns, patch: Patch, positions: Sequence[int]) -> None:
        self.surface, self.runs, self.patch, self.kind = surface, runs, patch, patch.kind
        self.positions, self.start = list(positions), min(positions)
        self.offsets = [position - self.start for position in self.positions]
        self.where = as_slice(self.positions)
        self.unread = max(positions) < runs.read_from
        """Whether nothing is read at the positions themselves, so that the last block need not compute them."""
        self.rows_restoring = 0
        self.entering: Tensor | None = None
        # A hook of the owner on a block's output may do anything to the sum of its parts.
        outputs = [surface.hook_name(Site(layer, "resid_post")) for layer in range(surface.n_layers)]
        points = surface.model.hook_dict
        self.adds_up = not any(points[name].fwd_hooks for name in outputs)

    def useful_part(self, window: Window) -> Window | None:
        """The part of a window that can change what is read, None for nothing."""
        first, last = window
        if self.unread and self.kind != "resid_pre":
            # Past attention, what the last block computes at an unread position goes nowhere.
            last = min(last, self.surface.n_layers - 1)
        return (first, last) if first < last else None

    def chunks(self, windows: Sequence[Window]) -> Iterator[list[Window]]:
        """Windows in order, cut so that a batch stays within memory; windows with one start stay together."""
        length = self.runs.base.n_positions - self.start
        read = self.runs.base.n_positions - self.runs.read_from
        size = cells_at_once(self.surface, self.runs.memory, self.runs.rows * length, self.runs.rows * read)
        chunk: list[Window] = []
        for first in dict.fromkeys(window[0] for window in windows):
            together = [window for window in windows if window[0] == first]
            if chunk and len(chunk) + len(together) > size:
                yield chunk
                chunk = []
            chunk += together
        if chunk:
            yield chunk

    def run(self, windows: list[Window], read: ReadAnswer) -> dict[Window, Tensor]:
        """Take all cells of `windows` through the blocks in one growing batch."""
        groups: list[_Group] = []
        with attached(self.surface.model, self._hooks(windows)):
            for layer in range(min(first for first, _ in windows), self.surface.n_layers):
                groups = self._leave_trunks(groups, layer, windows)
                groups += self._enter_before(layer, windows)
                self._through_block(groups, layer)
                groups += self._enter_after(layer, windows)
        ends = torch.cat([group.state for group in groups])
        ends = ends if self.unread else ends[:, self.runs.read_from - self.start :]
        scores = read(ends).split(self.runs.rows)
        return {group.window: score for group, score in zip(groups, scores, strict=True)}

    def _leave_trunks(self, groups: list[_Group], layer: int, windows: list[Window]) -> list[_Group]:
        """Split off the cells whose window ends before this layer. Restoring groups stay in front."""
        stay, left = [], [group for group in groups if not group.restoring]
        for group in groups:
            if not group.restoring:
                continue
            first, last = group.window
            if (first, layer) in windows:
                left.append(_Group((first, layer), group.state, restoring=False))
            if last > layer:
                stay.append(group)
        return stay + left

    def _trunk_end(self, first: int, windows: list[Window]) -> int:
        return max(last for start, last in windows if start == first)

    def _enters_after(self) -> bool:
        """Whether the state after the first restored block follows from the base runs by addition."""
        if self.kind == "resid_post":
            return True
        return self.adds_up and (self.kind == "mlp_out" or (self.kind == "attn_out" and self.surface.parallel))

    def _base_state(self, layer: int) -> Residual:
        """A fresh copy of the residual entering `layer` in the base run, for the rows of one cell."""
        state = self.runs.base.resid[layer][:, self.start :]
        return state.repeat(self.runs.rows // self.runs.base.batch, 1, 1)

    def _enter_before(self, layer: int, windows: list[Window]) -> list[_Group]:
        if self._enters_after() or all(first != layer for first, _ in windows):
            return []
        return [_Group((layer, self._trunk_end(layer, windows)), self._base_state(layer), restoring=True)]

    def _enter_after(self, layer: int, windows: list[Window]) -> list[_Group]:
        """The state after restoring `layer` in the base run: that run with the positions changed."""
        if not self._enters_after() or all(first != layer for first, _ in windows):
            return []
        state = self._base_state(layer + 1)
        if self.kind == "resid_post":
            put(state, self._donated(layer), self.offsets, len(state))
        else:
            base = self.runs.base[Site(layer, self.kind)][:, self.where]
            times = self.runs.rows // base.shape[0]
            donated = self._donated(layer)
            change = donated.repeat(self.runs.rows // donated.shape[0], 1, 1) - base.repeat(times, 1, 1)
            state[:, as_slice(self.offsets)] += change.to(state)
        return [_Group((layer, self._trunk_end(layer, windows)), state, restoring=True)]

    def _donated(self, layer: int) -> Tensor:
        """States to put in at the column's positions, `[row, position, ...]`."""
        return self.patch.donor[Site(layer, self.kind)][:, self.where]

    def _through_block(self, groups: list[_Group], layer: int) -> None:
        if not groups:
            return
        # Groups restore in front, the hooks take the first rows.
        groups.sort(key=lambda group: not group.restoring)
        self.rows_restoring = self.runs.rows * sum(group.restoring for group in groups)
        batch = torch.cat([group.state for group in groups])
        if layer == self.surface.n_layers - 1 and self.unread:
            out = self.surface.last_block(self.runs.base, batch, self.start, self.runs.read_from)
        else:
            out = self.surface.block(self.runs.base, layer, batch, self.start)
        if self.kind == "resid_post" and self.rows_restoring:
            out = out.clone()
            put(out, self._donated(layer), self.offsets, self.rows_restoring)
        for group, state in zip(groups, out.split(self.runs.rows), strict=True):
            group.state = state

    def _hooks(self, windows: list[Window]) -> FwdHooks:
        """Hooks inside blocks: states held fixed, then states put in, which may be written at the same place."""
        first, last = min(window[0] for window in windows), max(window[1] for window in windows)
        # What is held in the last block at an unread position goes nowhere.
        end = self.surface.n_layers - self.unread
        frozen = {site: states for site, states in self.patch.frozen.items() if first <= site.layer < end}
        hooks = freeze_hooks(self.surface, frozen, self.positions, self.start)
        if self.kind == "resid_mid":
            hooks += [(self.surface.hook_name(Site(layer, "resid_pre")), self._keep) for layer in range(first, last)]
        if self.kind != "resid_post":
            hooks += [self._restoring(layer) for layer in range(first, last)]
        return hooks

    def _keep(self, activation: Tensor, hook: object = None) -> None:  # noqa: ARG002 - TransformerLens's signature
        """Remember what enters a block, after the owner's hooks."""
        self.entering = activation

    def _restoring(self, layer: int) -> tuple[str, HookFunction]:
        donated = self._donated(layer)
        if self.kind == "resid_mid":
            site = Site(layer, "attn_out")

            def value() -> Tensor:
                return resid_mid_as_attn_out(donated, self.entering, self.offsets, self.rows_restoring)
        else:
            site = Site(layer, self.kind)

            def value() -> Tensor:
                return donated

        def restore(activation: Tensor, hook: object = None) -> Tensor:  # noqa: ARG001 - TransformerLens's signature
            if not self.rows_restoring:
                return activation
            activation = activation.clone()
            put(activation, value(), self.offsets, self.rows_restoring, self.patch.head, self.surface.n_heads)
            return activation

        return self.surface.hook_name(site), position_free(restore)
