"""The surface of TransformerLens 3.x's `HookedTransformer`: its blocks can be called one by one as they are."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache as KeyValueCache
from transformer_lens.cache.key_value_cache_entry import TransformerLensKeyValueCacheEntry as CacheEntry
from transformer_lens.utilities.activation_functions import gelu_new

from lens_rome._typing import FwdHooks, HookFunction, Residual, Tensor, Tokens
from lens_rome.errors import SurfaceError
from lens_rome.surface._abstract import AbstractSurface
from lens_rome.surface._activation import exchanged, gelu_tanh
from lens_rome.surface.base_run import BaseRun
from lens_rome.surface.hooks import Reader, attached
from lens_rome.surface.matrices import MatrixHooks
from lens_rome.surface.room import Room
from lens_rome.surface.site import Site

# Blocks whose attention reads `ln1` of their input and nothing else. Others take the longer way.
_PLAIN = (
    "GPT2LMHeadModel",
    "GPTJForCausalLM",
    "GPTNeoXForCausalLM",
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Qwen2ForCausalLM",
)
# Blocks whose norms come after attention and MLP: the MLP reads the residual itself.
_NORM_AFTER = ("Olmo2ForCausalLM", "Olmo3ForCausalLM")


def _quick(block: Any, dtype: torch.dtype) -> AbstractContextManager[None]:
    """One kernel for the activation while a block runs, where there is one."""
    if getattr(block.mlp, "act_fn", None) is not gelu_new:
        return nullcontext()
    return exchanged(block.mlp, "act_fn", gelu_tanh, dtype)


class _GrowingEntry(CacheEntry):
    """A block's keys and values as TransformerLens keeps them, but not copied for every new token."""

    def append(self, new_keys: Tensor, new_values: Tensor) -> tuple[Tensor, Tensor]:
        if not self.past_keys.shape[1]:
            self._rooms = Room(), Room()
        keys, values = (
            room.append(new.transpose(1, 2)) for room, new in zip(self._rooms, (new_keys, new_values), strict=True)
        )
        self.past_keys, self.past_values = keys.transpose(1, 2), values.transpose(1, 2)
        return self.past_keys, self.past_values


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

    def _inner_hooks(self, layer: int, name: str) -> MatrixHooks:
        """HookedTransformer has no hook point at the MLP's input, but one in the norm before it, of which only the
        norm's own weight and bias are left to do.
        """
        norm = getattr(self.model.blocks[layer], "ln2", None)
        reads = f"blocks.{layer}.ln2.hook_normalized"
        if reads not in self.model.hook_dict or str(getattr(self.cfg, "original_architecture", "")) in _NORM_AFTER:
            raise SurfaceError(
                f"the input of {name} cannot be read in this HookedTransformer: no norm with a hook point stands "
                "before it. Load the model as a TransformerBridge, or apply the edit to the weights."
            )

        def finished(normalized: Tensor) -> Tensor:
            scaled = normalized.to(self.cfg.dtype) * getattr(norm, "w", 1.0)
            return scaled + getattr(norm, "b", 0.0)

        return MatrixHooks(reads, self._inner_name(layer, gate=name == "W_gate"), finished)

    def _inner_bias_hook(self, layer: int, name: str) -> str:  # noqa: ARG002 - there is no b_gate here
        # TransformerLens adds the bias of a gated MLP after the product with the gate.
        return f"blocks.{layer}.mlp.hook_post" if self._gated(layer) else self._inner_name(layer, gate=False)

    def _inner_name(self, layer: int, *, gate: bool) -> str:
        linear = self._gated(layer) and not gate
        return f"blocks.{layer}.mlp.{'hook_pre_linear' if linear else 'hook_pre'}"

    def _gated(self, layer: int) -> bool:
        return hasattr(self.model.blocks[layer].mlp, "W_gate")

    def _forward(self, tokens: Tokens, stop_at_layer: int | None = None) -> Tensor:
        # Right padding: with left padding TransformerLens would mask pad tokens, and ours are never padded on the left.
        return self.model(tokens, stop_at_layer=stop_at_layer, padding_side="right")

    def new_cache(self, rows: int) -> KeyValueCache:
        cache = KeyValueCache.init_cache(self.cfg, self.device, rows)
        cache.entries = [_GrowingEntry(entry.past_keys, entry.past_values) for entry in cache.entries]
        return cache

    def grow(self, cache: Any, tokens: Tokens) -> Float[Tensor, "batch d_vocab"]:
        # Without a mask TransformerLens makes one from the tokens, and an end of text would count as padding.
        tokens, seen = tokens.to(self.device), torch.ones_like(tokens, device=self.device)
        return self.model(tokens, past_kv_cache=cache, attention_mask=seen, padding_side="right")[:, -1]

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
                with _quick(block, state.dtype):
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
        keys, values = self._earlier(base, layer, start, resid.shape[0])
        mask = base.attended(start + resid.shape[1], resid.shape[0] // base.batch)
        entry = CacheEntry(keys, values, frozen=True)
        with _quick(self.model.blocks[layer], resid.dtype):
            return self.model.blocks[layer](resid, past_kv_cache_entry=entry, attention_mask=mask)

    def _earlier(self, base: BaseRun, layer: int, start: int, rows: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the positions before `start`, a row for each of `rows`."""
        if not base.keys:
            assert start == 0, "a fresh run has no earlier positions"
            entry = CacheEntry.init_cache_entry(self.cfg, base.tokens.device, rows)
            return entry.past_keys, entry.past_values
        repeats = rows // base.batch
        keys, values = base.keys[layer][:, :start], base.values[layer][:, :start]
        return (keys.repeat(repeats, 1, 1, 1), values.repeat(repeats, 1, 1, 1)) if repeats > 1 else (keys, values)

    def last_block(
        self, base: BaseRun, resid: Residual, start: int, read_from: int
    ) -> Float[Tensor, "batch read d_model"]:
        """Positions that are not read only give keys and values: a sixth of the block's work or less."""
        layer, unread = self.n_layers - 1, read_from - start
        if unread <= 0 or not self._plain_attention(layer):
            return super().last_block(base, resid, start, read_from)
        attention, normed = self.model.blocks[layer].attn, self.model.blocks[layer].ln1(resid[:, :unread])
        _, new_keys, new_values = attention.calculate_qkv_matrices(normed[:, :1], normed, normed)
        keys, values = self._earlier(base, layer, start, resid.shape[0])
        entry = CacheEntry(torch.cat([keys, new_keys], 1), torch.cat([values, new_values], 1), frozen=True)
        mask = base.attended(start + resid.shape[1], resid.shape[0] // base.batch)
        with _quick(self.model.blocks[layer], resid.dtype):
            return self.model.blocks[layer](resid[:, unread:], past_kv_cache_entry=entry, attention_mask=mask)

    def _plain_attention(self, layer: int) -> bool:
        """Whether keys and values follow from the block's input by norm and projection alone, and nobody watches."""
        special = any(getattr(self.cfg, name, None) for name in ("use_attn_in", "use_split_qkv_input", "clip_qkv"))
        names = (name for name in self.model.hook_dict if name.startswith(f"blocks.{layer}."))
        watched = any(self.model.hook_dict[name].fwd_hooks for name in names)
        return str(getattr(self.cfg, "original_architecture", "")) in _PLAIN and not special and not watched
