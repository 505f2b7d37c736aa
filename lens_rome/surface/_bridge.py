"""The surface of `TransformerBridge` (TransformerLens 3.x and 4.x), whose blocks are those of Hugging Face
transformers.

Every architecture hands its blocks other arguments (masks, rotary tables, caches). Instead of knowing them all, one
row is run once for each start position (one for each number of padded positions, where there are any) while the
arguments of the blocks are recorded; a block is then called the same way with our residual, our rows and our cache of
earlier keys and values.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from typing import Any

import torch
from jaxtyping import Float, Int
from transformers.cache_utils import Cache, DynamicCache

from lens_rome._typing import FwdHooks, HookFunction, Model, Residual, Tensor, Tokens
from lens_rome.errors import SurfaceError
from lens_rome.surface._abstract import AbstractSurface
from lens_rome.surface._activation import FUSED_MODULE, exchanged, is_plain_gelu
from lens_rome.surface.base_run import BaseRun
from lens_rome.surface.hooks import Reader, attached, silenced
from lens_rome.surface.matrices import MatrixHooks
from lens_rome.surface.site import Site


def _quick(block: Any, dtype: torch.dtype) -> AbstractContextManager[None]:
    """One kernel for the activation while a block runs, where there is one."""
    inner: Any = getattr(getattr(block, "mlp", None), "original_component", None)
    if not is_plain_gelu(getattr(inner, "act", None)):
        return nullcontext()
    return exchanged(inner, "act", FUSED_MODULE, dtype)


class _EarlierPositions(DynamicCache):
    """Keys and values of the positions before a resumed run, for one layer; never grows."""

    def __init__(self, keys: Tensor | None, values: Tensor | None) -> None:
        super().__init__()
        self.earlier = (keys, values)
        self.full: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        keys, values = self.earlier
        if keys is not None and values is not None:
            key_states = torch.cat([keys, key_states], dim=-2)
            value_states = torch.cat([values, value_states], dim=-2)
        self.full = (key_states, value_states)
        return self.full

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002 - one layer only
        return 0 if self.earlier[0] is None else self.earlier[0].shape[-2]


class _ItsCache:
    """Stands where a recorded call had the cache."""


@dataclass(frozen=True)
class _BlockCall:
    """The arguments that the model gave one of its blocks, for a few rows that stand for all; without residual and
    cache, which are others in every run.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    rows: int

    @classmethod
    def of(cls, args: tuple[Any, ...], kwargs: dict[str, Any], rows: int) -> "_BlockCall":
        """The call without what is to be replaced."""
        own = tuple(_without_cache(value) for value in args)
        named = {name: _without_cache(value) for name, value in kwargs.items()}
        return cls((None, *own[1:]), named, rows) if own else cls((), {**named, "hidden_states": None}, rows)

    def with_rows(
        self, resid: Residual, cache: Cache, like: Int[Tensor, " row"] | None
    ) -> tuple[list[Any], dict[str, Any]]:
        """The same call for other rows: residual and cache filled in, row `i` treated as the recorded row `like[i]`
        was; None if only one was recorded.
        """

        def adapt(value: Any) -> Any:
            if isinstance(value, _ItsCache):
                return cache
            if isinstance(value, torch.Tensor) and value.ndim > 1 and value.shape[0] == 1:
                return value.expand(resid.shape[0], *value.shape[1:])
            if isinstance(value, torch.Tensor) and value.ndim > 1 and value.shape[0] == self.rows and like is not None:
                return value[like]
            if isinstance(value, tuple):
                return tuple(adapt(item) for item in value)
            return value

        args, kwargs = (
            [adapt(value) for value in self.args],
            {name: adapt(value) for name, value in self.kwargs.items()},
        )
        if args:
            args[0] = resid
        else:
            kwargs["hidden_states"] = resid
        return args, kwargs


def _without_cache(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_without_cache(item) for item in value)
    return _ItsCache() if isinstance(value, Cache) else value


# The bridge's names for the parts of an MLP that come before the activation function.
_PARTS = {"W_in": "in", "b_in": "in", "W_gate": "gate", "b_gate": "gate"}


class BridgeSurface(AbstractSurface):
    """`TransformerBridge`; keys and values are kept as `[batch, head, pos, d_head]`, after rotary embedding."""

    name = "bridge"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._calls: dict[tuple[int, int, tuple[int, ...]], list[_BlockCall]] = {}

    @cached_property
    def _hook_names(self) -> frozenset[str]:
        """Names of all hook points; the bridge looks each of them up anew whenever it is asked."""
        return frozenset(self.model.hook_dict)

    def _value_name(self, layer: int) -> str:
        name = f"blocks.{layer}.mlp.out.hook_out"
        return name if name in self._hook_names else f"blocks.{layer}.hook_mlp_out"

    def _inner_hooks(self, layer: int, name: str) -> MatrixHooks:
        mlp, part = f"blocks.{layer}.mlp", _PARTS[name]
        # With processed weights a gated MLP is computed by the bridge, which passes the parts' own inputs by.
        passed_by = getattr(self.model.blocks[layer].mlp, "_use_processed_weights", False)
        return MatrixHooks(f"{mlp}.hook_in" if passed_by else f"{mlp}.{part}.hook_in", f"{mlp}.{part}.hook_out")

    def _inner_bias_hook(self, layer: int, name: str) -> str:
        return f"blocks.{layer}.mlp.{_PARTS[name]}.hook_out"

    def _forward(self, tokens: Tokens, stop_at_layer: int | None = None) -> Tensor:
        return self.model(tokens, stop_at_layer=stop_at_layer)

    def new_cache(self, rows: int) -> Cache:  # noqa: ARG002 - it takes its rows from the first run
        return DynamicCache()

    def grow(self, cache: Any, tokens: Tokens) -> Float[Tensor, "batch d_vocab"]:
        return self.model(tokens.to(self.device), past_key_values=cache, use_cache=True)[:, -1]

    def base_run(
        self,
        tokens: Tokens,
        hooks: FwdHooks | Sequence[tuple[str, HookFunction]] = (),
        keep: Sequence[Site] = (),
    ) -> BaseRun:
        tokens = tokens.to(self.device)
        names = {site: self.hook_name(site) for site in keep}
        reader = Reader(names.values())
        calls = self._block_calls(tokens.shape[1], 0, (0,))
        resid, keys, values = [], [], []
        with attached(self.model, [*hooks, *reader.hooks]):
            state = self._forward(tokens, stop_at_layer=0)
            for layer in range(self.n_layers):
                cache = _EarlierPositions(None, None)
                resid.append(state)
                state = self._call(layer, calls[layer], state, cache)
                if cache.full is None:
                    raise SurfaceError(f"block {layer} of this model keeps no attention keys; runs cannot be resumed.")
                keys.append(cache.full[0])
                values.append(cache.full[1])
        kept = {site: reader[name] for site, name in names.items()}
        return BaseRun(tokens, (*resid, state), tuple(keys), tuple(values), kept, position_dim=2)

    def block(self, base: BaseRun, layer: int, resid: Residual, start: int) -> Residual:
        repeats = resid.shape[0] // base.batch
        keys, values = (self._earlier(kept, layer, start, repeats) for kept in (base.keys, base.values))
        paddings, which = base.paddings
        call = self._block_calls(base.n_positions, start, paddings)[layer]
        like = None if which is None else which.repeat(repeats)
        return self._call(layer, call, resid, _EarlierPositions(keys, values), like)

    def _earlier(self, kept: Sequence[Tensor], layer: int, start: int, repeats: int) -> Tensor | None:
        """Keys or values of the positions before `start`; None from the first position on."""
        if start == 0:
            return None
        return kept[layer][:, :, :start].repeat(repeats, 1, 1, 1) if repeats > 1 else kept[layer][:, :, :start]

    def _call(
        self, layer: int, call: _BlockCall, resid: Residual, cache: Cache, like: Int[Tensor, " row"] | None = None
    ) -> Residual:
        args, kwargs = call.with_rows(resid, cache, like)
        block = self.model.blocks[layer]
        with _quick(block, resid.dtype):
            output = block(*args, **kwargs)
        return output[0] if isinstance(output, tuple) else output

    def _block_calls(self, length: int, start: int, paddings: tuple[int, ...]) -> list[_BlockCall]:
        """How the model calls its blocks on positions `start` to `length`, with `start` positions cached: a row for
        each of `paddings`, the number of its first positions that stand for nothing.
        """
        if (length, start, paddings) not in self._calls:
            self._calls[length, start, paddings] = self._record(length, start, paddings)
        return self._calls[length, start, paddings]

    @torch.no_grad()
    def _record(self, length: int, start: int, paddings: tuple[int, ...]) -> list[_BlockCall]:
        tokens = torch.zeros((len(paddings), length), dtype=torch.long, device=self.device)
        cache = DynamicCache()
        if start:
            with silenced(self.model):
                given = self._padding_arguments(length, paddings, 0, start)
                self.model(tokens[:, :start], past_key_values=cache, use_cache=True, **given)
        calls: list[_BlockCall] = []

        def record(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            calls.append(_BlockCall.of(args, kwargs, len(paddings)))

        record.__module__ = __name__
        handles = [block.register_forward_pre_hook(record, with_kwargs=True) for block in self.model.blocks]
        try:
            with silenced(self.model):
                given = self._padding_arguments(length, paddings, start, length)
                self.model(tokens[:, start:], past_key_values=cache, use_cache=True, **given)
        finally:
            for handle in handles:
                handle.remove()
        return calls

    def _padding_arguments(self, length: int, paddings: tuple[int, ...], first: int, after: int) -> dict[str, Tensor]:
        """What tells the model of padding on the left, for a run of positions `first` to `after`."""
        if not any(paddings):
            return {}
        place = torch.arange(length, device=self.device) - torch.tensor(paddings, device=self.device)[:, None]
        given = {"attention_mask": (place >= 0).long()[:, :after]}
        if "position_ids" in signature(self.model.original_model.forward).parameters:
            given["position_ids"] = place.clamp_min(0)[:, first:after]
        return given
