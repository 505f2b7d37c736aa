"""The same cells as `grid`, by full-length runs: for models whose owner attached hooks, which expect whole
sequences.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float

from lens_rome._typing import FwdHooks, Tensor, Tokens
from lens_rome.surface import AbstractSurface, Site
from lens_rome.tracing.grid import ReadAnswer, Window
from lens_rome.tracing.noise import CorruptSubject

Cell = tuple[int, Window]
"""A position and the layers restored there."""

_ROWS = 256  # rows of one forward; bounds memory


def restore_hooks(
    surface: AbstractSurface, site_kind: str, clean: dict[Site, Tensor], cells: Sequence[Cell], samples: int
) -> FwdHooks:
    """Hooks that put clean values into rows of a corrupted run: cell `i` owns rows `i·samples` to `(i+1)·samples`.

    They go straight into `run_with_hooks`, after the corruption. `clean[site]` is `[1, pos, d_model]`.
    """
    wanted: dict[int, list[tuple[slice, int]]] = {}
    for index, (position, (first, last)) in enumerate(cells):
        for layer in range(first, last):
            wanted.setdefault(layer, []).append((slice(index * samples, (index + 1) * samples), position))

    def restorer(site: Site) -> FwdHooks:
        def restore(activation: Tensor, hook: object = None) -> Tensor:  # noqa: ARG001 - TransformerLens's signature
            activation = activation.clone()
            for rows, position in wanted[site.layer]:
                activation[rows, position] = clean[site][0, position].to(activation)
            return activation

        return [(surface.hook_name(site), restore)]

    return [pair for layer in sorted(wanted) for pair in restorer(Site(layer, site_kind))]


def full_length_scores(
    surface: AbstractSurface,
    tokens: Tokens,
    site_kind: str,
    cells: Sequence[Cell],
    corruption: CorruptSubject,
    read: ReadAnswer,
) -> Float[Tensor, "cell sample"]:
    """Probability of the answer for each cell and noise sample; `read` takes logits of all positions here."""
    samples = corruption.noise.shape[0]
    layers = sorted({layer for _, (first, last) in cells for layer in range(first, last)})
    clean = surface.read(tokens, [Site(layer, site_kind) for layer in layers])
    scores = []
    per_run = max(1, _ROWS // samples)
    for start in range(0, len(cells), per_run):
        some = cells[start : start + per_run]
        hooks = [("hook_embed", corruption), *restore_hooks(surface, site_kind, clean, some, samples)]
        logits = surface.run(tokens.repeat(len(some) * samples, 1), hooks)
        scores.append(read(logits).reshape(len(some), samples))
    return torch.cat(scores)
