"""What tracing and editing need of a model, and nothing else.

The layers above see sites, tokens and residuals; which TransformerLens class is below stays here. A *resumed run*
starts at a block and a position of an earlier run: what lies below and before is not computed again but taken from that
run (its keys and values). It equals the full run if what is changed lies at or after that block and position.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import nn

from lens_rome._typing import FwdHooks, HookFunction, Model, Residual, Tensor, Tokens
from lens_rome.errors import SurfaceError
from lens_rome.surface.base_run import BaseRun
from lens_rome.surface.encoding import Encoding, check_length, encode, encode_ids
from lens_rome.surface.growing import GrowingRuns
from lens_rome.surface.hooks import Reader, attached, silenced
from lens_rome.surface.matrices import MatrixHooks
from lens_rome.surface.parameters import OUTSIDE, live_parameter
from lens_rome.surface.site import Site


class AbstractSurface(GrowingRuns):
    """One view of `HookedTransformer` and `TransformerBridge`. It holds the model and no result; the bridge's also how
    the model calls its blocks, which depends on the shapes alone. Make a new one after the model's structure changes.
    """

    name: str

    def __init__(self, model: Model) -> None:
        self.model = model
        self.cfg = model.cfg

    # -- what the model is -------------------------------------------------------------------------------------------

    @property
    def n_layers(self) -> int:
        return int(self.cfg.n_layers)

    @property
    def d_model(self) -> int:
        return int(self.cfg.d_model)

    @property
    def d_mlp(self) -> int:
        return int(self.weight(0).shape[0])

    @property
    def n_heads(self) -> int:
        return int(self.cfg.n_heads)

    @property
    def n_ctx(self) -> int:
        return int(self.cfg.n_ctx)

    @property
    def parallel(self) -> bool:
        """Whether attention and MLP of a block both read the block's input (GPT-J, GPT-NeoX)."""
        return bool(getattr(self.cfg, "parallel_attn_mlp", False))

    @property
    def dtype(self) -> torch.dtype:
        return self.weight(0).dtype

    @property
    def device(self) -> torch.device:
        return self.weight(0).device

    @property
    def tokenizer(self) -> Any:
        tokenizer = self.model.tokenizer
        if tokenizer is None:
            raise SurfaceError("the model has no tokenizer; load it with one (facts are given as text).")
        return tokenizer

    @property
    def model_name(self) -> str:
        """The model's name; of a folder its last part, so that no path gets into results and files. A hub name such as
        `org/name` stays.
        """
        name = str(getattr(self.cfg, "model_name", "") or "unnamed")
        parts = name.replace("\\", "/").rstrip("/").split("/")
        if len(parts) <= 2 and parts[0] not in ("", ".", "..", "~") and "\\" not in name and not Path(name).is_dir():
            return name
        return parts[-1] if parts[-1] not in ("", ".", "..") else Path(name).resolve().name

    def prepends_bos(self, prepend_bos: bool | None = None) -> bool:
        """`prepend_bos`, or what the model's configuration says where it is None."""
        if prepend_bos is None:
            return bool(getattr(self.cfg, "default_prepend_bos", True)) and self.tokenizer.bos_token_id is not None
        return prepend_bos

    # -- names and weights -------------------------------------------------------------------------------------------

    def hook_name(self, site: Site) -> str:
        """TransformerLens's name of a site.

        Raises:
            SurfaceError: the layer does not exist, or the model has no such place (parallel blocks have no
                `resid_mid`, gated MLPs no single `pre`).
        """
        self.check_layers([site.layer])
        block = f"blocks.{site.layer}"
        if site.kind == "key":
            return f"{block}.mlp.hook_post"
        if site.kind == "pre":
            if getattr(self.cfg, "gated_mlp", False):
                raise SurfaceError(
                    "the MLPs of this model are gated: their hidden activation is a product and has no value before a "
                    "nonlinearity. Use key."
                )
            return f"{block}.mlp.hook_pre"
        if site.kind == "z":
            return f"{block}.attn.hook_z"
        if site.kind == "value":
            return self._value_name(site.layer)
        if site.kind == "resid_mid" and self.parallel:
            raise SurfaceError("attention and MLP run in parallel in this model: it has no resid_mid. Use resid_pre.")
        return f"{block}.hook_{site.kind}"

    def check_layers(self, layers: Iterable[int]) -> None:
        """Raise `SurfaceError` for a layer that the model does not have."""
        for layer in layers:
            if not 0 <= layer < self.n_layers:
                raise SurfaceError(f"layer {layer} does not exist: the model has layers 0 to {self.n_layers - 1}.")

    def weight(self, layer: int) -> Tensor:
        """The live `W_out` of a block, `[d_mlp, d_model]`: writing to it changes the model."""
        mlp = getattr(self.model.blocks[layer], "mlp", None)
        weight = getattr(mlp, "W_out", None)
        if not isinstance(weight, torch.Tensor) or weight.ndim != 2:
            raise SurfaceError(
                f"block {layer} has no single dense W_out (its MLP is {type(mlp).__name__}); mixtures of experts and "
                "merged MLPs cannot be edited with a rank-one update."
            )
        return weight

    def parameter(self, layer: int, name: str) -> Tensor:
        """A live parameter in TransformerLens's orientation: writing to it in place changes the model.

        Args:
            layer: a block, or -1 for what lies outside the blocks (`W_E`, `W_pos`, `W_U`, `b_U`).
            name: TransformerLens's name, such as `W_in` `[d_model, d_mlp]`, `W_E` `[d_vocab, d_model]`.

        Raises:
            SurfaceError: no such layer or name, or the model has nothing live there (a copy, a fused matrix).
        """
        return self._live(layer, name)[0]

    def leaf(self, layer: int, name: str) -> nn.Parameter:
        """The leaf parameter in whose memory `parameter(layer, name)` lies: what gradients are taken of. On the bridge
        it may be the transpose (`nn.Linear`), or hold more (a fused matrix). Raises as `parameter`.
        """
        return self._live(layer, name)[1]

    def _live(self, layer: int, name: str) -> tuple[Tensor, nn.Parameter]:
        if layer != OUTSIDE:
            self.check_layers([layer])
        return live_parameter(self.model, layer, name)

    def bias(self, layer: int) -> Tensor:
        """`b_out` of a block, zeros `[d_model]` where the model has none."""
        bias = getattr(self.model.blocks[layer].mlp, "b_out", None)
        weight = self.weight(layer)
        return torch.zeros_like(weight[0]) if bias is None else bias.detach()

    def matrix_hooks(self, layer: int, name: str) -> MatrixHooks:
        """Hook points before and after one of `HOOKED_MATRICES` in a block.

        Raises:
            SurfaceError: no such layer or matrix, or the model has no hook points around it.
        """
        if name == "W_out":
            return MatrixHooks(self.hook_name(Site(layer, "key")), self.hook_name(Site(layer, "value")))
        self.parameter(layer, name)
        return self._inner_hooks(layer, name)

    def bias_hook(self, layer: int, name: str) -> str:
        """Hook point of the sum that one of `HOOKED_BIASES` in a block is the last term of.

        Raises:
            SurfaceError: no such layer or bias, or no such hook point.
        """
        self.parameter(layer, name)
        return self.hook_name(Site(layer, "value")) if name == "b_out" else self._inner_bias_hook(layer, name)

    @abstractmethod
    def _inner_hooks(self, layer: int, name: str) -> MatrixHooks:
        """Hook points around `W_in` or `W_gate`."""

    @abstractmethod
    def _inner_bias_hook(self, layer: int, name: str) -> str:
        """Hook point after `b_in` or `b_gate` is added."""

    @abstractmethod
    def _value_name(self, layer: int) -> str:
        """Hook name of the output of `W_out` plus bias, before any norm that follows it."""

    # -- text --------------------------------------------------------------------------------------------------------

    def encode(self, text: str, prepend_bos: bool | None = None) -> Encoding:
        """Tokenise with character offsets; see `Encoding`."""
        encoding = encode(self.tokenizer, text, self.prepends_bos(prepend_bos))
        check_length(text, len(encoding), self.n_ctx)
        return encoding

    def encode_ids(self, texts: Sequence[str], prepend_bos: bool | None = None) -> list[tuple[int, ...]]:
        """`encode(text).ids` of many texts, faster."""
        return encode_ids(self.tokenizer, texts, self.prepends_bos(prepend_bos), self.n_ctx)

    # -- runs --------------------------------------------------------------------------------------------------------

    def run(self, tokens: Tokens, hooks: FwdHooks | Sequence[tuple[str, HookFunction]] = ()) -> Tensor:
        """Logits `[batch, pos, d_vocab]` of a full run with `hooks` attached after the owner's."""
        with attached(self.model, hooks):
            return self._forward(tokens.to(self.device))

    def read(
        self, tokens: Tokens, sites: Sequence[Site], hooks: FwdHooks | Sequence[tuple[str, HookFunction]] = ()
    ) -> dict[Site, Tensor]:
        """Activations of `sites`, each `[batch, pos, ...]`, in a run that stops after the last layer needed. Nothing
        is run where there are no sites.
        """
        if not sites:
            return {}
        names = {site: self.hook_name(site) for site in sites}
        reader = Reader(names.values())
        stop = max(site.layer for site in sites) + 1
        with attached(self.model, [*hooks, *reader.hooks]):
            self._forward(tokens.to(self.device), stop_at_layer=stop)
        return {site: reader[name] for site, name in names.items()}

    @torch.no_grad()
    def embeddings(self, tokens: Int[Tensor, " token"]) -> Float[Tensor, "token d_model"]:
        """Token embeddings as `hook_embed` shows them without anybody's hooks, before any position embedding."""
        reader, found = Reader(["hook_embed"]), []
        with silenced(self.model), attached(self.model, reader.hooks):
            for part in tokens.split(self.n_ctx):
                self._forward(part[None].to(self.device), stop_at_layer=0)
                found.append(reader["hook_embed"][0])
        return torch.cat(found)

    @abstractmethod
    def _forward(self, tokens: Tokens, stop_at_layer: int | None = None) -> Tensor:
        """Plain forward: logits, or the residual entering block `stop_at_layer`."""

    def fresh_run(self, tokens: Tokens) -> BaseRun:
        """Only the residual that enters block 0: a run resumed from position 0 needs nothing more, in any block."""
        tokens = tokens.to(self.device)
        return BaseRun(tokens, (self._forward(tokens, stop_at_layer=0),), (), ())

    @abstractmethod
    def base_run(
        self,
        tokens: Tokens,
        hooks: FwdHooks | Sequence[tuple[str, HookFunction]] = (),
        keep: Sequence[Site] = (),
    ) -> BaseRun:
        """Run full sequences block by block and keep what a resumed run needs, and the sites of `keep`."""

    @abstractmethod
    def block(self, base: BaseRun, layer: int, resid: Residual, start: int) -> Residual:
        """One block of a resumed run.

        Args:
            resid: residual entering block `layer` at positions `start` and after; row `i` continues row `i %
                base.batch` of the base run. Positions that the base run counts as padding are not attended to.

        Returns:
            The residual that leaves the block, same shape.
        """

    def last_block(
        self, base: BaseRun, resid: Residual, start: int, read_from: int
    ) -> Float[Tensor, "batch read d_model"]:
        """The residual that leaves the last block of a resumed run at the positions from `read_from` on; what it
        computes at the others nobody may see.
        """
        return self.block(base, self.n_layers - 1, resid, start)[:, read_from - start :]

    def resume(self, base: BaseRun, layer: int, resid: Residual, start: int) -> Residual:
        """All blocks from `layer` on of a resumed run; see `block`."""
        for current in range(layer, self.n_layers):
            resid = self.block(base, current, resid, start)
        return resid

    def logits(self, resid: Residual) -> Tensor:
        """Final norm and unembedding of the residual that leaves the last block, `[..., pos, d_vocab]`."""
        logits = self.model.unembed(self.model.ln_final(resid))
        cap = float(getattr(self.cfg, "output_logits_soft_cap", -1.0) or -1.0)  # Gemma 2; not positive for none
        return cap * torch.tanh(logits / cap) if cap > 0 else logits
