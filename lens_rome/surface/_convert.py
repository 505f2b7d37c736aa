"""Build a `HookedTransformer` from a Hugging Face model object; the weights go through TransformerLens's own
converters.

`HookedTransformer.from_pretrained` only takes names from its list, and guesses the architecture from the name; a
folder of one's own needs the configuration spelled out. Four shapes: GPT-2, GPT-J, GPT-NeoX, Llama.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch

from lens_rome._typing import Model
from lens_rome.surface._versions import HookedTransformer


def _gpt2(config: Any) -> dict[str, Any]:
    return {
        **_gpt_sizes(config),
        "scale_attn_by_inverse_layer_idx": config.scale_attn_by_inverse_layer_idx,
        "use_attn_scale": config.scale_attn_weights,
    }


def _gptj(config: Any) -> dict[str, Any]:
    return {
        **_gpt_sizes(config),
        "parallel_attn_mlp": True,
        "positional_embedding_type": "rotary",
        "rotary_dim": config.rotary_dim,
        "rotary_adjacent_pairs": True,
    }


def _gpt_sizes(config: Any) -> dict[str, Any]:
    return {
        "d_model": config.n_embd,
        "n_heads": config.n_head,
        "d_head": config.n_embd // config.n_head,
        "d_mlp": config.n_inner or 4 * config.n_embd,
        "n_layers": config.n_layer,
        "n_ctx": config.n_positions,
        "eps": config.layer_norm_epsilon,
        "act_fn": config.activation_function,
        "normalization_type": "LN",
    }


def _neox(config: Any) -> dict[str, Any]:
    d_head = config.hidden_size // config.num_attention_heads
    return {
        **_modern_sizes(config),
        "eps": config.layer_norm_eps,
        "parallel_attn_mlp": config.use_parallel_residual,
        "rotary_dim": round(_rope(config).get("partial_rotary_factor", 0.25) * d_head),
        "rotary_base": _rope(config)["rope_theta"],
        "normalization_type": "LN",
        "default_prepend_bos": False,
    }


def _llama(config: Any) -> dict[str, Any]:
    grouped = config.num_key_value_heads != config.num_attention_heads
    return {
        **_modern_sizes(config),
        "eps": config.rms_norm_eps,
        "n_key_value_heads": config.num_key_value_heads if grouped else None,
        "rotary_dim": config.hidden_size // config.num_attention_heads,
        "rotary_base": _rope(config)["rope_theta"],
        "normalization_type": "RMS",
        "final_rms": True,
        "gated_mlp": True,
    }


def _modern_sizes(config: Any) -> dict[str, Any]:
    return {
        "d_model": config.hidden_size,
        "n_heads": config.num_attention_heads,
        "d_head": config.hidden_size // config.num_attention_heads,
        "d_mlp": config.intermediate_size,
        "n_layers": config.num_hidden_layers,
        "n_ctx": config.max_position_embeddings,
        "act_fn": config.hidden_act,
        "positional_embedding_type": "rotary",
        "rotary_adjacent_pairs": False,
    }


def _rope(config: Any) -> dict[str, Any]:
    """Rotary settings, wherever this version of transformers keeps them."""
    settings = dict(getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {})
    settings.setdefault("rope_theta", getattr(config, "rope_theta", getattr(config, "rotary_emb_base", 10000)))
    return settings


_SHAPES: dict[str, tuple[Callable[[Any], dict[str, Any]], str]] = {
    "GPT2LMHeadModel": (_gpt2, "gpt2.convert_gpt2_weights"),
    "GPTJForCausalLM": (_gptj, "gptj.convert_gptj_weights"),
    "GPTNeoXForCausalLM": (_neox, "neox.convert_neox_weights"),
    "LlamaForCausalLM": (_llama, "llama.convert_llama_weights"),
}


def why_not_convertible(config: Any) -> str:
    """Why a configuration cannot become a `HookedTransformer` here; empty if it can."""
    architecture = (getattr(config, "architectures", None) or ["?"])[0]
    if architecture not in _SHAPES:
        return f"{architecture} is not one of {', '.join(_SHAPES)}"
    if architecture in ("LlamaForCausalLM", "GPTNeoXForCausalLM"):
        if (kind := _rope(config).get("rope_type", "default")) != "default":
            return f"its rotary embeddings are scaled ({kind})"
        # TransformerLens's converters write zeros for Llama's biases, and expect NeoX's.
        if getattr(config, "attention_bias", False) != (architecture == "GPTNeoXForCausalLM"):
            return f"attention_bias={config.attention_bias} has no converter"
        if getattr(config, "mlp_bias", False):
            return "its MLP biases have no converter"
        if getattr(config, "head_dim", None) not in (None, config.hidden_size // config.num_attention_heads):
            return f"head_dim={config.head_dim} has no converter"
    return ""


def hooked_from_hugging_face(
    weights: Any,
    tokenizer: Any,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    process_weights: bool = False,
) -> Model:
    """A `HookedTransformer` with the weights of a `transformers` model that `why_not_convertible` lets through."""
    from transformer_lens.config.hooked_transformer_config import HookedTransformerConfig

    architecture = type(weights).__name__
    describe, converter = _SHAPES[architecture]
    module, function = converter.split(".")
    config = HookedTransformerConfig.from_dict(
        {
            **describe(weights.config),
            "d_vocab": weights.config.vocab_size,
            "model_name": str(weights.config.name_or_path) or architecture,
            "original_architecture": architecture,
            "tokenizer_name": tokenizer.name_or_path,
            "init_weights": False,
            "dtype": dtype,
            "device": str(device),
        }
    )
    weights = weights.to(device=device, dtype=dtype)
    with torch.no_grad():
        convert = getattr(import_module(f"transformer_lens.pretrained.weight_conversions.{module}"), function)
        model = HookedTransformer(config, tokenizer, move_to_device=False)
        torch.nn.Module.to(model, device)  # TransformerLens's own `to` prints
        state = {name: tensor.detach().clone() for name, tensor in convert(weights, config).items()}
        processing = dict.fromkeys(
            ("fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases"), process_weights
        )
        model.load_and_process_state_dict(state, **processing)
    return model
