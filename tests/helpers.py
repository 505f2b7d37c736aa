"""Tiny random models for the tests: which there are, how they are made, and how exact each surface computes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    CohereConfig,
    Gemma2Config,
    GPT2Config,
    GPTJConfig,
    GPTNeoXConfig,
    GraniteConfig,
    LlamaConfig,
    MixtralConfig,
    Olmo2Config,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)

from lens_rome.facts import Fact
from lens_rome.surface._versions import HookedTransformer

DATA = Path(__file__).parent / "data"
GOLDEN = DATA / "golden"

ARCHITECTURES = ("gpt2", "gptj", "neox", "llama")
SURFACES = ("hooked", "bridge")
N_LAYERS = 4
VOCAB = 420

FACTS = {
    "subject first": Fact("Steve Jobs", "{} was the", "E"),
    "subject in the middle": Fact("Eiffel Tower", "The {} is", "E"),
    "subject ends the prompt": Fact("Eiffel Tower", "The {}", "E"),
    "subject of one token": Fact("Catalonia", "The {} is", "E"),
}
"""Short prompts, for the oracle's time grows fast; one for each place that a subject can have."""


@dataclass(frozen=True)
class Case:
    """One way to load a tiny model."""

    architecture: str
    surface: str = "bridge"
    processed: bool = False
    dtype: torch.dtype = torch.float64

    def __str__(self) -> str:
        weights = "processed" if self.processed else "raw"
        return f"{self.architecture}-{self.surface}-{weights}-{str(self.dtype).removeprefix('torch.')}"

    def with_surface(self, surface: str) -> "Case":
        return replace(self, surface=surface)

    @property
    def tolerance(self) -> float:
        """Largest difference between two ways to compute the same number with this model."""
        if self.dtype == torch.float32:
            return 1e-5
        # TransformerLens casts Llama's softmax and RMSNorm to float32, transformers does so in GPT-J's attention and in
        # the rotary tables and softmax of NeoX and Llama (DESIGN §5).
        exact = self.architecture == "gpt2" or (self.surface == "hooked" and self.architecture != "llama")
        return 1e-12 if exact else 1e-6


def all_cases(*, processed: bool = True) -> list[Case]:
    """Every architecture on every surface in float64, with raw and (if asked) processed weights."""
    cases = []
    for architecture in ARCHITECTURES:
        for surface in SURFACES:
            cases.append(Case(architecture, surface))
            if processed:
                # TransformerLens 3.9 itself fails to process a GPT-J bridge in float64 (it mixes float32 and float64).
                lame = (architecture, surface) == ("gptj", "bridge")
                cases.append(Case(architecture, surface, True, torch.float32 if lame else torch.float64))
    return cases


def skip_without_hooked(surface: str) -> None:
    """Skip the running test if it needs HookedTransformer and this TransformerLens has none."""
    if surface == "hooked" and HookedTransformer is None:
        pytest.skip("this TransformerLens (4.x) has no HookedTransformer")


def data_folder() -> Path:
    """The folder of real data that the environment names; skips the running test without it."""
    folder = os.environ.get("LENS_ROME_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("LENS_ROME_DATA does not name the folder of real data")
    return Path(folder)


def gpt2_tokenizer() -> PreTrainedTokenizerFast:
    """GPT-2's real tokenizer, from the folder of real data; skips the running test without it."""
    folder = data_folder() / "tokenizers" / "gpt2"
    tokenizer = Tokenizer(models.BPE.from_file(str(folder / "encoder.json"), str(folder / "vocab.bpe")))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|endoftext|>")


def tiny_config(architecture: str) -> PreTrainedConfig:
    """A configuration of 4 layers and width 32; weights large enough that no prediction is flat."""
    gpt = {"n_positions": 64, "n_embd": 32, "n_layer": N_LAYERS, "n_head": 4}
    modern = {
        "max_position_embeddings": 64,
        "hidden_size": 32,
        "num_hidden_layers": N_LAYERS,
        "num_attention_heads": 4,
    }
    shared = {"vocab_size": VOCAB, "bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.2}
    match architecture:
        case "gpt2":
            return GPT2Config(**gpt, **shared)
        case "gptj":
            return GPTJConfig(**gpt, rotary_dim=4, **shared)
        case "neox":
            return GPTNeoXConfig(**modern, intermediate_size=96, **shared)
        case "llama":  # grouped-query attention: two heads share keys and values
            return LlamaConfig(**modern, intermediate_size=80, num_key_value_heads=2, **shared)
        case "gemma2":  # norms after attention and MLP, capped logits, every other block sees three positions
            return Gemma2Config(
                **modern, intermediate_size=80, num_key_value_heads=2, head_dim=8, sliding_window=3, **shared
            )
        case "cohere":  # scales its logits after the unembedding; bridge only
            return CohereConfig(**modern, intermediate_size=80, num_key_value_heads=2, logit_scale=0.5, **shared)
        case "olmo2":  # norms after attention and MLP only; bridge only
            return Olmo2Config(**modern, intermediate_size=80, num_key_value_heads=2, pad_token_id=0, **shared)
        case "granite":  # half of what a block writes is added; bridge only
            return GraniteConfig(
                **modern, intermediate_size=80, num_key_value_heads=2, residual_multiplier=0.5, **shared
            )
        case "mixtral":  # two experts a block: no single W_out; bridge only
            return MixtralConfig(**modern, intermediate_size=80, num_key_value_heads=2, num_local_experts=2, **shared)
    raise ValueError(architecture)


def save_tiny_model(architecture: str, folder: Path) -> Path:
    """Write a random model of `architecture` with the golden model's tokenizer; the same weights every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(tiny_config(architecture))
        for parameter in model.parameters():
            if parameter.ndim == 1:  # biases start at 0 and norms at 1, which would hide a forgotten one
                parameter.data.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(GOLDEN / "model").save_pretrained(folder)
    return folder


@contextmanager
def assert_untouched(model: Any) -> Iterator[None]:
    """Assert that weights (bit for bit), gradient flags, training mode and hooks are afterwards as they were before."""
    before = _state(model)
    try:
        yield
    finally:
        after = _state(model)
        assert before["weights"].keys() == after["weights"].keys()
        for name, weight in before["weights"].items():
            # Bytes, so that NaN equals itself and -0.0 differs from 0.0.
            assert torch.equal(_bytes(weight), _bytes(after["weights"][name])), name
        for part in ("flags", "training", "hooks", "hook lists"):
            assert before[part] == after[part], part


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.flatten().view(torch.uint8)


def _state(model: Any) -> dict[str, Any]:
    return {
        "weights": {name: tensor.detach().clone().contiguous() for name, tensor in model.state_dict().items()},
        "flags": {name: parameter.requires_grad for name, parameter in model.named_parameters()},
        "training": {name: module.training for name, module in model.named_modules()},
        "hooks": {
            name: (_hook_ids(module._forward_hooks), _hook_ids(module._forward_pre_hooks))
            for name, module in model.named_modules()
        },
        "hook lists": {name: len(getattr(module, "fwd_hooks", ())) for name, module in model.named_modules()},
    }


def _hook_ids(hooks: dict[int, Any]) -> list[int]:
    # A bridge's first forward wires the libraries' own plumbing and leaves it there.
    plumbing = ("transformers.", "transformer_lens.model_bridge.")
    return [key for key, hook in hooks.items() if not getattr(hook, "__module__", "").startswith(plumbing)]
