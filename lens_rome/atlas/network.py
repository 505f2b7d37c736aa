"""The atlas's network: a plain GPT-2, with an attention for training that takes a mask per block.

The attention is ordinary scaled dot-product attention in float32. Only which entries of the mask a block
reads depends on the block, and only when the mask has two channels (see `bottleneck.py`).
"""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import AttentionInterface, GPT2Config, GPT2LMHeadModel

TRAINING_ATTENTION = "lens_rome_atlas"


def new_network(vocabulary: int, layers: int, width: int, heads: int, length: int, seed: int) -> GPT2LMHeadModel:
    """A randomly initialised GPT-2 with tied embeddings, no dropout and token 0 as BOS, EOS and padding."""
    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=length,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        activation_function="gelu_pytorch_tanh",
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        use_cache=False,
    )
    torch.manual_seed(seed)
    network = GPT2LMHeadModel(config)
    AttentionInterface.register(TRAINING_ATTENTION, masked_attention(0))
    network.set_attn_implementation(TRAINING_ATTENTION)
    return network


def masked_attention(read_from: int) -> Callable[..., tuple[Tensor, None]]:
    """An attention whose blocks below `read_from` use the mask's last channel, the others its first."""

    def attention(
        module: torch.nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor,
        **_: object,
    ) -> tuple[Tensor, None]:
        channel = -1 if int(getattr(module, "layer_idx")) < read_from else 0  # noqa: B009 - untyped
        mask = attention_mask[:, channel].unsqueeze(1)
        with torch.autocast(query.device.type, enabled=False):
            out = torch.nn.functional.scaled_dot_product_attention(
                query.float(), key.float(), value.float(), attn_mask=mask
            )
        return out.to(query.dtype).transpose(1, 2), None

    return attention
