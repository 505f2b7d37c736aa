"""The cells of a trace, computed with everything shared that they have in common. Exact.

A cell restores, at one position, the clean value of a site over a window of layers in a corrupted run. Everything
before that position and below that window is the corrupted run itself, so a cell is a resumed run. Cells of one
position have equal length and run together: block by block, one large batch, which each cell joins where its own
computation begins.

Windows that begin at the same layer also share their beginning: one *trunk* restores layer after layer, and the cell
of a window leaves the trunk at the end of its window. `tests/oracles/tracing.py` is the plain loop that all this
equals.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float

from lens_rome._typing import FwdHooks, HookFunction, Residual, Tensor
from lens_rome.surface import AbstractSurface, BaseRun, Site, attached, position_free

Window = tuple[int, int]
"""Half-open range of layers."""
ReadAnswer = Callable[[Residual], Float[Tensor, " row"]]
"""From the residual that leaves the last block, at the positions that are read, to the probability of the answer."""

# Largest number of activations per feature axis that one batch may hold; about a gigabyte in float32.
_MAX_ELEMENTS = 2**28


@dataclass(frozen=True)
class GridRuns:
    """The two runs that serve every cell."""

    clean: BaseRun
    """One row."""
    corrupted: BaseRun
    """One row a noise sample."""
    read_from: int
    """First position whose logits are read; up to the end of the sequence."""


def position_scores(
    surface: AbstractSurface, runs: GridRuns, site_kind: str, position: int, windows: Sequence[Window], read: ReadAnswer
) -> dict[Window, Float[Tensor, " sample"]]:
    """Probability of the answer in each noise sample, for each window restored at `position`.

    Windows that cannot matter there (only the last layer, before the first position that is read) are left out.
    """
    column = _Column(surface, runs, site_kind, position)
    useful = {window: column.useful_part(window) for window in windows}
    distinct = sorted({window for window in useful.values() if window is not None})
    scores: dict[Window, Tensor] = {}
    for chunk in column.chunks(distinct):
        scores |= column.run(chunk, read)
    return {window: scores[part] for window, part in useful.items() if part is not None}


@dataclass
class _Group:
    """Rows that move through the blocks together: one a noise sample."""

    window: Window
    state: Residual
    """Residual entering the current block, from the column's position on."""
    restoring: bool


class _Column:
    """All cells of one position."""

    def __init__(self, surface: AbstractSurface, runs: GridRuns, site_kind: str, position: int) -> None:
        self.surface, self.runs, self.kind, self.position = surface, runs, site_kind, position
        self.rows_restoring = 0
        # A hook of the owner on a block's output may do anything to the sum of its parts.
        outputs = [surface.hook_name(Site(layer, "resid_post")) for layer in range(surface.n_layers)]
        self.adds_up = not any(surface.model.hook_dict[name].fwd_hooks for name in outputs)

    def useful_part(self, window: Window) -> Window | None:
        """The part of a window that can change what is read, None for nothing."""
        first, last = window
        if self.position < self.runs.read_from:
            # Past attention, the last block's output at an unread position goes nowhere.
            last = min(last, self.surface.n_layers - 1)
        return (first, last) if first < last else None

    def chunks(self, windows: Sequence[Window]) -> Iterator[list[Window]]:
        """Windows in order, cut so that a batch stays within memory; windows with one start stay together."""
        length = self.runs.corrupted.n_positions - self.position
        size = max(1, _MAX_ELEMENTS // (self.runs.corrupted.batch * length * self.surface.d_mlp))
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
        with attached(self.surface.model, self._restoring_hooks(windows)):
            for layer in range(min(first for first, _ in windows), self.surface.n_layers):
                groups = self._leave_trunks(groups, layer, windows)
                groups += self._enter_before(layer, windows)
                self._through_block(groups, layer)
                groups += self._enter_after(layer, windows)
        ends = torch.cat([group.state[:, self.runs.read_from - self.position :] for group in groups])
        scores = read(ends).split(self.runs.corrupted.batch)
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
        return self.kind == "resid_post" or (self.adds_up and (self.kind == "mlp_out" or self.surface.parallel))

    def _enter_before(self, layer: int, windows: list[Window]) -> list[_Group]:
        if self._enters_after() or all(first != layer for first, _ in windows):
            return []
        state = self.runs.corrupted.resid[layer][:, self.position :]
        return [_Group((layer, self._trunk_end(layer, windows)), state, restoring=True)]

    def _enter_after(self, layer: int, windows: list[Window]) -> list[_Group]:
        """The state after restoring `layer` in the corrupted run: that run with one position changed."""
        if not self._enters_after() or all(first != layer for first, _ in windows):
            return []
        state = self.runs.corrupted.resid[layer + 1][:, self.position :].clone()
        if self.kind == "resid_post":
            state[:, 0] = self.runs.clean.resid[layer + 1][:, self.position]
        else:
            site = Site(layer, self.kind)
            state[:, 0] += self.runs.clean[site][:, self.position] - self.runs.corrupted[site][:, self.position]
        return [_Group((layer, self._trunk_end(layer, windows)), state, restoring=True)]

    def _through_block(self, groups: list[_Group], layer: int) -> None:
        if not groups:
            return
        samples = self.runs.corrupted.batch
        # Groups restore in front, the hook takes the first rows.
        groups.sort(key=lambda group: not group.restoring)
        self.rows_restoring = samples * sum(group.restoring for group in groups)
        batch = torch.cat([group.state for group in groups])
        states = self.surface.block(self.runs.corrupted, layer, batch, self.position).split(samples)
        for group, state in zip(groups, states, strict=True):
            group.state = state
            if group.restoring and self.kind == "resid_post":
                group.state = torch.cat(
                    [self.runs.clean.resid[layer + 1][:, [self.position]].expand(samples, 1, -1), state[:, 1:]], 1
                )

    def _restoring_hooks(self, windows: list[Window]) -> FwdHooks:
        if self.kind == "resid_post":
            return []
        first, last = min(window[0] for window in windows), max(window[1] for window in windows)
        sites = [Site(layer, self.kind) for layer in range(first, last)]
        return [(self.surface.hook_name(site), self._restore(site)) for site in sites]

    def _restore(self, site: Site) -> HookFunction:
        value = self.runs.clean[site][0, self.position]

        def restore(activation: Tensor, hook: object) -> Tensor:  # noqa: ARG001 - TransformerLens's signature
            activation = activation.clone()
            activation[: self.rows_restoring, 0] = value
            return activation

        return position_free(restore)
