"""What this machine can do, and how to time things on it."""

import tempfile
import time
from collections.abc import Callable
from statistics import median

import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

import lens_rome as lr
from lens_rome.atlas.load import MODEL_FOLDER


def seconds(run: Callable[[], object], repeats: int = 3) -> float:
    """Median wall-clock seconds of `run`, after one warm-up."""
    run()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return median(times)


def multiply_adds_per_second(rows: int, width: int, device: str = "cpu") -> float:
    """The machine's own float32 matrix rate on matrices of the size a tracer's MLP sees: `[rows, width] @ [width,
    4·width]`.
    """
    left, right = torch.randn(rows, width, device=device), torch.randn(width, 4 * width, device=device)
    return rows * width * 4 * width / seconds(lambda: left @ right, repeats=7)


def random_gpt2(layers: int, width: int, heads: int, vocabulary: int, surface: str, device: str = "cpu"):
    """A GPT-2 with random weights and the atlas's tokenizer, loaded from a temporary folder."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=vocabulary, n_positions=256, n_embd=width, n_layer=layers, n_head=heads)
    with tempfile.TemporaryDirectory() as folder:
        GPT2LMHeadModel(config).save_pretrained(folder)
        AutoTokenizer.from_pretrained(MODEL_FOLDER).save_pretrained(folder)
        return lr.load_model(folder, surface, device=device)
