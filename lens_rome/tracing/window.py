"""Which layers a cell of the grid restores, and at which site."""

from lens_rome.errors import TraceError
from lens_rome.tracing.places import is_whole

KINDS = {
    "resid": "resid_post",
    "mlp": "mlp_out",
    "attn": "attn_out",
    "resid_pre": "resid_pre",
    "resid_mid": "resid_mid",
    "head": "z",
    "post": "key",
}
"""What `trace` calls a kind, and the site it restores: the residual after a block, the outputs of its MLP and attention
(the paper's three); the residual before a block and between attention and MLP; one attention head's output before
`W_O`; the MLP neurons (the input of `W_out`).
"""
KIND_NAMES = {
    "resid": "hidden states",
    "mlp": "MLP outputs",
    "attn": "attention outputs",
    "resid_pre": "hidden states before the layer",
    "resid_mid": "hidden states between attention and MLP",
    "head": "attention heads",
    "post": "MLP neurons",
}
"""What each kind restores, in words, for titles of pictures and tables."""
RESIDUALS = ("resid", "resid_pre", "resid_mid")


def default_window(kind: str, n_layers: int) -> int:
    """1 for residuals, heads and neurons; for `mlp` and `attn` the papers' 10 from 24 layers up, a fifth of the depth
    below that.

    Residuals carry everything, so one layer is enough; the outputs of single MLPs and attentions each add little, and
    their sum over some layers shows.
    """
    if kind not in ("mlp", "attn"):
        return 1
    return 10 if n_layers >= 24 else max(1, n_layers // 5)


def window_layers(layer: int, window: int, n_layers: int) -> tuple[int, int]:
    """Half-open range of the layers restored for `layer`, clipped at the ends and never shifted.

    As the released ROME code has it: `[layer - window // 2, layer + ceil(window / 2))` (the paper's text says one
    layer higher for even windows).

    >>> window_layers(20, 10, 48), window_layers(0, 10, 48), window_layers(3, 3, 6)
    ((15, 25), (0, 5), (2, 5))
    """
    return max(0, layer - window // 2), min(n_layers, layer + (window + 1) // 2)


def check_kind(kind: str) -> str:
    """The site kind that `kind` restores; `TraceError` for an unknown one."""
    if kind not in KINDS:
        raise TraceError(f"unknown kind {kind!r}; trace one of {', '.join(KINDS)}.")
    return KINDS[kind]


def check_window(window: object, kind: str, n_layers: int) -> int:
    """The window to use; `TraceError` unless it is a positive whole number or None."""
    found = whole_window(window)
    return default_window(kind, n_layers) if found is None else found


def whole_window(window: object) -> int | None:
    """`window` as an int, None as it is; `TraceError` unless it is a positive whole number or None."""
    if window is None:
        return None
    if not is_whole(window) or window < 1:
        raise TraceError(f"window must be a whole number of layers from 1 up, got {window!r}.")
    return int(window)
