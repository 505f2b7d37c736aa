"""The same cells as `grid`, by full-length runs: for models whose owner attached hooks, which expect whole sequences.
And the hooks themselves, for people who bring their own runner.
"""

from collections.abc import Sequence

from jaxtyping import Float

from lens_rome._typing import Activations, FwdHooks, Model, Tensor, Tokens
from lens_rome.errors import TraceError
from lens_rome.surface import AbstractSurface, Site, as_surface
from lens_rome.tracing.clean_cache import clean_states
from lens_rome.tracing.grid import Patch, ReadAnswer, Window, cells_at_once
from lens_rome.tracing.states import freeze_hooks, put, resid_mid_as_attn_out
from lens_rome.tracing.window import check_kind

Cell = tuple[int | Sequence[int], Window]
"""A position, or several at once, and the layers restored there."""


def restore_hooks(
    model: Model,
    kind: str,
    clean: Activations,
    cells: Sequence[Cell],
    samples: int,
    head: int | None = None,
) -> FwdHooks:
    """Hooks that put clean states into rows of a corrupted run: cell `i` owns rows `i·samples` to `(i+1)·samples`.

    They go straight into `run_with_hooks`, after the corruption.

    Args:
        kind: what is restored, as `trace` names it.
        clean: activations of the clean run, `[1, pos, ...]`: an `ActivationCache`, or a mapping from hook names.
        cells: where; layers as half-open ranges.
        samples: rows of one cell.
        head: the head, for the kind `head`.

    Raises:
        TraceError: unknown kind, or `clean` lacks an activation.
    """
    surface = as_surface(model)
    for _, window in cells:
        if not window[0] < window[1]:
            raise TraceError(f"the layers {window} of a cell are none; give a half-open range such as (3, 4).")
    layers = sorted({layer for _, (first, last) in cells for layer in range(first, last)})
    donor = clean_states(surface, clean, [Site(layer, check_kind(kind)) for layer in layers])
    length = min((value.shape[1] for value in donor.values()), default=0)
    checked = [(_checked_positions(where, length), window) for where, window in cells]
    return patch_hooks(surface, Patch(check_kind(kind), donor, head), checked, samples)


def _checked_positions(where: int | Sequence[int], length: int) -> list[int]:
    positions = [where] if isinstance(where, int) else list(where)
    for position in positions:
        if not -length <= position < length:
            raise TraceError(f"position {position} does not exist: the clean activations have {length} positions.")
    return [position % length for position in positions]


def patch_hooks(surface: AbstractSurface, patch: Patch, cells: Sequence[Cell], rows: int) -> FwdHooks:
    """Hooks that put the patch's states into a run; cell `i` owns `rows` rows from `i·rows` on."""
    wanted: dict[int, list[tuple[slice, list[int]]]] = {}
    for index, (where, (first, last)) in enumerate(cells):
        positions = [where] if isinstance(where, int) else list(where)
        for layer in range(first, last):
            wanted.setdefault(layer, []).append((slice(index * rows, (index + 1) * rows), positions))
    hooks: FwdHooks = []
    for layer in sorted(wanted):
        hooks += _putting(surface, patch, layer, wanted[layer], rows)
    return hooks


def _putting(
    surface: AbstractSurface, patch: Patch, layer: int, places: list[tuple[slice, list[int]]], rows: int
) -> FwdHooks:
    """The hooks of one layer; two for a site that is written through another."""
    site = Site(layer, patch.kind)
    entering: list[Tensor] = []

    def write(activation: Tensor, hook: object = None) -> Tensor:  # noqa: ARG001 - TransformerLens's signature
        activation = activation.clone()
        for part, positions in places:
            values = patch.donor[site][:, positions]
            if patch.kind == "resid_mid":
                values = resid_mid_as_attn_out(values.to(activation), entering[-1][part], positions, rows)
            put(activation[part], values, positions, rows, patch.head, surface.n_heads)
        return activation

    def keep(activation: Tensor, hook: object = None) -> None:  # noqa: ARG001 - TransformerLens's signature
        entering[:] = [activation]

    if patch.kind != "resid_mid":
        return [(surface.hook_name(site), write)]
    return [
        (surface.hook_name(Site(layer, "resid_pre")), keep),
        (surface.hook_name(Site(layer, "attn_out")), write),
    ]


def full_length_scores(
    surface: AbstractSurface,
    tokens: Tokens,
    base_hooks: FwdHooks,
    patch: Patch,
    positions: Sequence[int],
    windows: Sequence[Window],
    read: ReadAnswer,
    memory: float,
) -> dict[Window, Float[Tensor, " row"]]:
    """The metric in each row of `tokens` for each window of states put in at `positions` together.

    `read` takes logits of all positions here.
    """
    rows = len(tokens)
    at_once = cells_at_once(surface, memory, tokens.numel(), tokens.numel())  # such runs unembed every position
    scores: dict[Window, Tensor] = {}
    distinct = sorted(set(windows))
    for start in range(0, len(distinct), at_once):
        some = distinct[start : start + at_once]
        hooks = [
            *base_hooks,
            *freeze_hooks(surface, patch.frozen, positions),
            *patch_hooks(surface, patch, [(positions, window) for window in some], rows),
        ]
        found = read(surface.run(tokens.repeat(len(some), 1), hooks))
        scores |= dict(zip(some, found.split(rows), strict=True))
    return scores
