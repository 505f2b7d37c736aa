"""Writing the states of one run into the activation of another, and holding them there."""

from collections.abc import Mapping, Sequence

from lens_rome._typing import FwdHooks, HookFunction, Tensor
from lens_rome.surface import AbstractSurface, Site, position_free


def put(
    activation: Tensor, donated: Tensor, offsets: Sequence[int], rows: int, head: int | None = None, n_heads: int = 1
) -> None:
    """Write `donated` `[row, position, ...]` into the first `rows` rows of `activation`, in place.

    Row `i` takes row `i % len(donated)`. With a `head`, only its part is written: of `[..., head, d_head]`, or of the
    flat `[..., head · d_head]` that a raw bridge shows.
    """
    target, where = activation[:rows], as_slice(offsets)
    values = donated.to(activation)
    values = values.repeat(rows // values.shape[0], *[1] * (values.ndim - 1))
    if head is None:
        target[:, where] = values
        return
    if target.ndim == 3:
        width = target.shape[-1] // n_heads
        target, values = (each.view(*each.shape[:-1], n_heads, width) for each in (target, values))
    target[:, where, head] = values[:, :, head]


def as_slice(offsets: Sequence[int]) -> slice | list[int]:
    """Neighbouring offsets as a slice: a view, and no list of indices to send to the device."""
    first, last = offsets[0], offsets[-1]
    return slice(first, last + 1) if list(offsets) == list(range(first, last + 1)) else list(offsets)


def resid_mid_as_attn_out(donated: Tensor, entering: Tensor | None, offsets: Sequence[int], rows: int) -> Tensor:
    """The attention output that makes the residual between attention and MLP equal `donated`.

    A bridge's `hook_resid_mid` sits on the branch into the norm: writing there would leave the stream that passes the
    MLP as it was. Setting attention's output changes both, on every surface.
    """
    assert entering is not None
    stream = entering[:rows, as_slice(offsets)]
    return donated.to(stream).repeat(rows // donated.shape[0], *[1] * (donated.ndim - 1)) - stream


def freeze_hooks(
    surface: AbstractSurface, frozen: Mapping[Site, Tensor], positions: Sequence[int], start: int = 0
) -> FwdHooks:
    """Hooks that hold states `[row, pos, ...]` fixed at `positions` of all rows; row `i` takes row `i % rows` of them.

    Args:
        start: first position of the run's activations: 0 for whole sequences, more for a resumed run.
    """
    offsets = [position - start for position in positions]

    def freezing(site: Site) -> HookFunction:
        held = frozen[site][:, as_slice(positions)]

        def freeze(activation: Tensor, hook: object = None) -> Tensor:  # noqa: ARG001 - TransformerLens's signature
            activation = activation.clone()
            put(activation, held, offsets, len(activation))
            return activation

        return position_free(freeze)

    return [(surface.hook_name(site), freezing(site)) for site in frozen]
