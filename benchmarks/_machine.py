"""What this machine can do, and how to time things on it."""

import tempfile
import time
from collections.abc import Callable
from statistics import median

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, LlamaConfig, PreTrainedConfig

import lens_rome as lr
from lens_rome.atlas.load import MODEL_FOLDER


def seconds(run: Callable[[], object], repeats: int = 3, warm_up: Callable[[], object] | None = None) -> float:
    """Median wall-clock seconds of `run`, after one warm-up: `run` itself, or something shorter."""
    (warm_up or run)()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return median(times)


def multiply_adds_per_second(rows: int, width: int, device: str = "cpu", dtype: torch.dtype = torch.float32) -> float:
    """The machine's own matrix rate on matrices of the size a tracer's MLP sees: `[rows, width] @ [width,
    4·width]`.
    """
    left = torch.randn(rows, width, device=device, dtype=dtype)
    right = torch.randn(width, 4 * width, device=device, dtype=dtype)
    return rows * width * 4 * width / seconds(lambda: left @ right, repeats=7)


def random_gpt2(
    layers: int,
    width: int,
    heads: int,
    vocabulary: int,
    surface: str,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
):
    """A GPT-2 with random weights and the atlas's tokenizer."""
    config = GPT2Config(vocab_size=vocabulary, n_positions=256, n_embd=width, n_layer=layers, n_head=heads)
    return _random(config, surface, device, dtype)


def random_llama(surface: str, device: str = "cpu", dtype: torch.dtype = torch.float32):
    """A model of the shape of Llama 3.2 1B with random weights and the atlas's tokenizer."""
    config = LlamaConfig(
        vocab_size=128256,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=256,
        tie_word_embeddings=True,
    )
    return _random(config, surface, device, dtype)


def _random(config: PreTrainedConfig, surface: str, device: str, dtype: torch.dtype):
    """Loaded from a temporary folder."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        AutoModelForCausalLM.from_config(config, dtype=dtype).save_pretrained(folder)
        AutoTokenizer.from_pretrained(MODEL_FOLDER).save_pretrained(folder)
        return lr.load_model(folder, surface, dtype=dtype, device=device)
