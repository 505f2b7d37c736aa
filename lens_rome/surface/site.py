"""The only way to name a place in a model."""

from dataclasses import dataclass

from lens_rome.errors import SurfaceError

SITE_KINDS = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "pre", "key", "value")
"""`z` is what the heads hand to `W_O` (`attn.hook_z`), `pre` the MLP's hidden activation before its nonlinearity
(`mlp.hook_pre`; not in gated MLPs), `key` the input of `W_out` (`mlp.hook_post`), `value` the output of `W_out` plus
bias, before any later norm.
"""


@dataclass(frozen=True, order=True)
class Site:
    """One activation of one block, e.g. `Site(5, "mlp_out")`; prints as `L5.mlp_out`."""

    layer: int
    kind: str

    def __post_init__(self) -> None:
        if self.kind not in SITE_KINDS:
            raise SurfaceError(f"unknown site {self.kind!r}; the sites are {', '.join(SITE_KINDS)}.")

    def __str__(self) -> str:
        return f"L{self.layer}.{self.kind}"
