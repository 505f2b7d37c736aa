"""The surface of TransformerLens 3.x's `HookedTransformer`: its blocks can be called one by one as they are."""

from collections.abc import Sequence

from transformer_lens.cache.key_value_cache_entry import TransformerLensKeyValueCacheEntry as CacheEntry

from lens_rome._typing import FwdHooks, HookFunction, Residual, Tensor, Tokens
from lens_rome.errors import SurfaceError
from lens_rome.surface._abstract import AbstractSurface
from lens_rome.surface.base_run import BaseRun
from lens_rome.surface.hooks import Reader, attached
from lens_rome.surface.site import Site


class HookedSurface(AbstractSurface):
    """`HookedTransformer`; keys and values are kept as `[batch, pos, head, d_head]`, before rotary embedding."""

    name = "hooked"

    def _value_name(self, layer: int) -> str:
        block = self.model.blocks[layer]
        if getattr(self.cfg, "use_normalization_before_and_after", False) or hasattr(block, "ln2_post"):
            raise SurfaceError(
                "this HookedTransformer normalises after the MLP and has no hook before that norm, so the output "
                "of W_out "
                "cannot be read. Load the model as a TransformerBridge."
            )
        return f"blocks.{layer}.hook_mlp_out"

    def _forward(self, tokens: Tokens, stop_at_layer: int | None = None) -> Tensor:
        # Right padding: with left padding TransformerLens would mask pad tokens, and ours are never padded on the left.
        return self.model(tokens, stop_at_layer=stop_at_layer, padding_side="right")

    def base_run(
        self,
        tokens: Tokens,
        hooks: FwdHooks | Sequence[tuple[str, HookFunction]] = (),
        keep: Sequence[Site] = (),
    ) -> BaseRun:
        tokens = tokens.to(self.device)
        names = {site: self.hook_name(site) for site in keep}
        reader = Reader(names.values())
        entries, resid = [], []
        with attached(self.model, [*hooks, *reader.hooks]):
            state = self._forward(tokens, stop_at_layer=0)
            for block in self.model.blocks:
                entry = CacheEntry.init_cache_entry(self.cfg, state.device, tokens.shape[0])
                resid.append(state)
                state = block(state, past_kv_cache_entry=entry)
                entries.append(entry)
        return BaseRun(
            tokens,
            (*resid, state),
            tuple(entry.past_keys for entry in entries),
            tuple(entry.past_values for entry in entries),
            {site: reader[name] for site, name in names.items()},
        )

    def block(self, base: BaseRun, layer: int, resid: Residual, start: int) -> Residual:
        repeats = resid.shape[0] // base.batch
        keys, values = (
            kept[layer][:, :start].repeat(repeats, 1, 1, 1) if repeats > 1 else kept[layer][:, :start]
            for kept in (base.keys, base.values)
        )
        return self.model.blocks[layer](resid, past_kv_cache_entry=CacheEntry(keys, values, frozen=True))
