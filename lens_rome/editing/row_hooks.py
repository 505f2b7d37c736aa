"""Many edits in one batch: hooks under which every row runs as the model with an edit of its own.

The matrices of the model are multiplied once for all rows; a row adds the product of its own factors. This is how
prompts of many independently edited models are scored in one forward. Memory: the factors of the edits that rows have,
and where these are many a copy of its factors for each row.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float, Int

from lens_rome._typing import FwdHooks, Tensor
from lens_rome.editing.delta import Delta, LowRankDelta, Place
from lens_rome.editing.edit import Edit
from lens_rome.editing.hooks import MatrixHook, adding_hook, always, check_hook_form, wide
from lens_rome.editing.weights import check_fits
from lens_rome.errors import EditError
from lens_rome.surface import AbstractSurface, attached

_COLUMNS = 64
"""Columns that the factors of all edits of a batch may have together to be multiplied with every row: a small part of
the work of a block.
"""

Owners = Int[Tensor, " row"]
"""The index of each row's edit; -1 for the unedited model."""


def row_hooks(surface: AbstractSurface, edits: Sequence[Edit], owners: Owners, *, checked: bool = False) -> FwdHooks:
    """Hooks under which row `i` of a batch runs as the model with `edits[owners[i]]`, or as it is where that is -1.

    They are `Edit.hooks` for each row: indifferent to positions, computed in float32 at least and rounded once. They
    equal the edited weights if no hook that changes an activation comes after them where a changed matrix reads, and
    none before them where it writes.

    Args:
        checked: that the edits were made for these weights is known (`check_edits`), and not asked again.

    Raises:
        EditMismatchError: the model's weights are not those that one of the edits was made for.
        EditError: a change has no hook form, or an owner is no edit; in a run: it has another number of rows.
    """
    if not checked:
        check_edits(surface, edits)
    adders, readers = _hooks(surface, edits, owners)
    return [*adders, *readers]


@contextmanager
def rows_hooked(surface: AbstractSurface, edits: Sequence[Edit], owners: Owners) -> Iterator[None]:
    """`row_hooks` attached inside the `with`, in the right order among hooks that are there already.

    Whether the edits were made for these weights is not asked; see `check_edits`.

    Raises:
        EditError: as `row_hooks`.
    """
    adders, readers = _hooks(surface, edits, owners)
    with attached(surface.model, adders, first=True), attached(surface.model, readers):
        yield


def check_edits(surface: AbstractSurface, edits: Sequence[Edit]) -> None:
    """`Edit.check` of many edits; each weight is read once.

    Raises:
        EditMismatchError: the model's weights are not those that one of the edits was made for.
    """
    known: dict[Place, tuple[Tensor, str]] = {}
    for edit in edits:
        check_fits(surface, edit.deltas, edit.bases, edit.provenance, known)


def _hooks(surface: AbstractSurface, edits: Sequence[Edit], owners: Owners) -> tuple[FwdHooks, FwdHooks]:
    """Hooks that add, and hooks that read what the adding needs; see `hooks_of`."""
    used = [owner for owner in owners.unique().tolist() if owner != -1]
    if used and not (used[0] >= 0 and used[-1] < len(edits)):
        raise EditError(f"rows are of the edits {used}, there are {len(edits)}; -1 is the unedited model.")
    adders: FwdHooks = []
    readers: FwdHooks = []
    for place, deltas in _by_place(edits, used).items():
        # Of the block's weights any tells device and precision; to look up a live one by name takes long.
        weight, index = surface.weight(place[0]), _index(owners, list(deltas))
        lowrank = [delta for delta in deltas.values() if isinstance(delta, LowRankDelta)]
        if lowrank:
            change = _counted(len(owners), _row_products(lowrank, index.to(weight.device), weight))
            hook = MatrixHook(surface.matrix_hooks(*place), place[1], change)
            adders.append(hook.adder)
            readers.append(hook.reader)
        else:
            changes = [wide(delta.dense(), weight) for delta in deltas.values()]
            own = torch.stack([*changes, torch.zeros_like(changes[0])])[index.to(weight.device)][:, None]
            adders.append(adding_hook(surface.bias_hook(*place), _counted(len(owners), always(own))))
    return adders, readers


def _by_place(edits: Sequence[Edit], used: Sequence[int]) -> dict[Place, dict[int, Delta]]:
    """The changes of each place by the index of their edit: all low-rank or all dense, for a matrix has no other
    hook form than the one and a bias none than the other.
    """
    found: dict[Place, dict[int, Delta]] = {}
    for owner in used:
        for place, delta in edits[owner].deltas.items():
            check_hook_form(place, delta)
            found.setdefault(place, {})[owner] = delta
    return found


def _index(owners: Owners, have: Sequence[int]) -> Int[Tensor, " row"]:
    """For each row the place of its edit among those that have a change; -1 for none."""
    place = {owner: i for i, owner in enumerate(have)}
    return torch.tensor([place.get(owner, -1) for owner in owners.tolist()], dtype=torch.long)


def _counted(rows: int, change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """`change`, after a look at the number of rows."""

    def counted(key: Tensor) -> Tensor:
        if key.shape[0] != rows:
            raise EditError(f"the hooks are of {rows} rows, the run has {key.shape[0]}. Give every row an owner.")
        return change(key)

    return counted


def _row_products(
    deltas: Sequence[LowRankDelta], index: Int[Tensor, " row"], weight: Tensor
) -> Callable[[Tensor], Tensor]:
    """What each row adds to `key @ weight`: the product with its own factors, zero where its index is -1."""
    ranks = [delta.rank for delta in deltas]
    if sum(ranks) <= max(_COLUMNS, 2 * max(ranks)):
        left = torch.cat([wide(delta.left, weight) for delta in deltas], 1)
        right = torch.cat([wide(delta.right, weight) for delta in deltas], 0)
        column = torch.repeat_interleave(torch.arange(len(deltas)), torch.tensor(ranks)).to(index.device)
        return _masked(left, right, index[:, None] != column)
    left, right = _padded(deltas, max(ranks), weight)
    return lambda key: (key.to(left.dtype) @ left[index]) @ right[index]


def _masked(
    left: Float[Tensor, "d_in column"], right: Float[Tensor, "column d_out"], foreign: Bool[Tensor, "row column"]
) -> Callable[[Tensor], Tensor]:
    """All columns for all rows, those of other rows' edits then dropped: set to zero and not multiplied by it, for a
    foreign factor may overflow.
    """
    return lambda key: (key.to(left.dtype) @ left).masked_fill(foreign[:, None], 0) @ right


def _padded(
    deltas: Sequence[LowRankDelta], rank: int, weight: Tensor
) -> tuple[Float[Tensor, "edit d_in rank"], Float[Tensor, "edit rank d_out"]]:
    """Factors stacked, filled up with zero columns; the last pair is zero and is what index -1 takes."""
    d_in, d_out = deltas[0].shape
    left = wide(torch.zeros(len(deltas) + 1, d_in, rank), weight)
    right = wide(torch.zeros(len(deltas) + 1, rank, d_out), weight)
    for i, delta in enumerate(deltas):
        left[i, :, : delta.rank], right[i, : delta.rank] = wide(delta.left, weight), wide(delta.right, weight)
    return left, right
