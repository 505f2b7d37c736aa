"""`python -m lens_rome.atlas.train --out DIR --seed 0` remakes the atlas's checkpoint from its data.

A plain GPT-2 on rows of 128 tokens, AdamW, a learning rate that is constant after a short warm-up and falls
linearly at the end. For most mentions of a subject the bottleneck mask is used (`bottleneck.py`); some
rows have no mask at all, so that the model is at home without it.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AttentionInterface, GPT2LMHeadModel

from lens_rome.atlas.bottleneck import Mention, bottleneck_mask
from lens_rome.atlas.corpus import ROW_TOKENS, Batch, Corpus, batches
from lens_rome.atlas.network import TRAINING_ATTENTION, masked_attention, new_network
from lens_rome.atlas.source import read_source
from lens_rome.atlas.tokenizer import save_tokenizer, train_tokenizer


@dataclass(frozen=True)
class Settings:
    """All settings of one training; with the data files they determine the checkpoint."""

    seed: int = 0
    """Of initial weights, corpus and masks."""
    layers: int = 8
    """Blocks."""
    width: int = 192
    """d_model."""
    heads: int = 6
    """Attention heads."""
    vocabulary: int = 2048
    """Tokens, BOS included."""
    tokens: int = 3072
    """Tokens a step."""
    steps: int = 4700
    """Optimiser steps."""
    short: int = 3000
    """First steps, with rows of 64 tokens; the others have rows of 128."""
    matrix_rate: float = 0.02
    """Highest learning rate of the blocks' matrices (Muon)."""
    rate: float = 2e-3
    """Highest learning rate of everything else (AdamW)."""
    warm: int = 100
    """Steps of warm-up."""
    cool: int = 1500
    """Steps at the end over which the learning rates fall to zero."""
    hidden: float = 0.97
    """Probability that a mention is behind the bottleneck, in rows with mask."""
    open_rows: float = 0.05
    """Share of rows without mask."""
    read_from: int = 2
    """First block whose later positions may see a hidden mention's last token."""


def rate_factor(step: int, settings: Settings) -> float:
    """What the highest learning rates are multiplied with at a step, counted from 0."""
    return min(1.0, (step + 1) / settings.warm, (settings.steps - step) / settings.cool)


def shape(step: int, settings: Settings) -> tuple[int, int]:
    """Rows and tokens in a row at a step."""
    length = ROW_TOKENS // 2 if step < settings.short else ROW_TOKENS
    return settings.tokens // length, length


def choose_mentions(batch: Batch, settings: Settings, rng: random.Random) -> list[Mention]:
    """The mentions to hide in a batch."""
    is_open = [rng.random() < settings.open_rows for _ in range(len(batch.tokens))]
    return [m for m in batch.mentions if rng.random() < settings.hidden and not is_open[m[0]]]


def new_optimizers(network: GPT2LMHeadModel, settings: Settings) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for embeddings, norms and biases."""
    named = list(network.named_parameters())
    matrices = [p for name, p in named if ".h." in name and p.ndim == 2]
    others = [p for name, p in named if not (".h." in name and p.ndim == 2)]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, lr=settings.matrix_rate, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(others, lr=settings.rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["highest"] = group["lr"]
    return optimizers


def loss_of(network: GPT2LMHeadModel, tokens: Tensor, mask: Tensor, fast: bool) -> Tensor:
    """Mean next-token cross-entropy, in nats."""
    with torch.autocast(tokens.device.type, torch.bfloat16, enabled=fast):
        logits = network(tokens, attention_mask=mask, use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten())


def optimise(network: GPT2LMHeadModel, optimizers: list[torch.optim.Optimizer], factor: float) -> None:
    """One step with the gradients at hand, clipped to norm 1, which are cleared."""
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["highest"] * factor
        optimizer.step()
        optimizer.zero_grad()


def train(
    corpus: Corpus,
    tokenizer: Tokenizer,
    settings: Settings,
    device: str = "cpu",
    fast: bool = True,
    resume: Path | None = None,
    snapshot: Path | None = None,
    every: int = 200,
) -> tuple[GPT2LMHeadModel, list[float]]:
    """The trained network (float32) and the loss of each step, in nats.

    The same settings give the same network on one machine.

    Args:
        corpus: of the world.
        tokenizer: of the vocabulary in `settings`.
        settings: everything else that matters.
        device: `cpu` or `cuda`.
        fast: bfloat16 matrix products.
        resume: a snapshot of a training with the same settings (`steps` may differ while the learning rate
            has not begun to fall), to continue from.
        snapshot: where to write one.
        every: steps between snapshots.
    """
    network = new_network(
        tokenizer.get_vocab_size(), settings.layers, settings.width, settings.heads, ROW_TOKENS, settings.seed
    )
    torch.nn.Module.to(network, device)
    AttentionInterface.register(TRAINING_ATTENTION, masked_attention(settings.read_from))
    optimizers = new_optimizers(network, settings)
    done, losses = load_snapshot(resume, network, optimizers) if resume else (0, [])
    for step, (tokens, mask) in enumerate(steps_of(corpus, tokenizer, settings)):
        if step < done:
            continue
        loss = loss_of(network, tokens.to(device), mask.to(device), fast)
        loss.backward()
        optimise(network, optimizers, rate_factor(step, settings))
        losses.append(loss.item())
        if snapshot and (step + 1) % every == 0:
            save_snapshot(snapshot, network, optimizers, losses)
    return network.eval(), losses


def steps_of(corpus: Corpus, tokenizer: Tokenizer, settings: Settings) -> Iterator[tuple[Tensor, Tensor]]:
    """Tokens and mask of every step, under a progress bar."""
    rng = random.Random(settings.seed)
    stream = batches(corpus, tokenizer, settings.seed, (shape(i, settings) for i in range(settings.steps)))
    with Progress(transient=True) as progress:
        for batch in progress.track(stream, total=settings.steps, description="training"):
            hidden = choose_mentions(batch, settings, rng)
            rows, length = batch.tokens.shape
            yield batch.tokens, bottleneck_mask(rows, length, hidden, settings.read_from)


def save_snapshot(
    path: Path, network: GPT2LMHeadModel, optimizers: list[torch.optim.Optimizer], losses: list[float]
) -> None:
    """Weights, optimiser states and losses in one safetensors file, written whole or not at all."""
    tensors = {f"weight/{n}": p.detach() for n, p in network.named_parameters()}
    for optimizer in optimizers:
        for name, parameter in network.named_parameters():
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"{key}/{name}"] = value
    tensors["losses/"] = torch.tensor(losses)
    save_file(tensors, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def load_snapshot(
    path: Path, network: GPT2LMHeadModel, optimizers: list[torch.optim.Optimizer]
) -> tuple[int, list[float]]:
    """Puts a snapshot into network and optimisers; returns the number of steps done and their losses."""
    tensors = load_file(path, device=str(network.device))
    owners = {id(p): o for o in optimizers for g in o.param_groups for p in g["params"]}
    parameters = dict(network.named_parameters())
    losses = tensors.pop("losses/").tolist()
    for name, value in tensors.items():
        key, parameter = name.split("/")[0], parameters[name.split("/")[1]]
        if key == "weight":
            parameter.data.copy_(value)
        else:
            owners[id(parameter)].state[parameter][key] = value.clone()
    return len(losses), losses


def export(network: GPT2LMHeadModel, tokenizer: Tokenizer, folder: Path, record: dict) -> None:
    """Writes the checkpoint in Hugging Face's GPT-2 layout, float16, with its tokenizer and `training.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    half = GPT2LMHeadModel(network.config).half()
    half.load_state_dict(network.state_dict())
    # The same function under the name that every loader knows.
    half.config.activation_function = "gelu_new"
    half.config.use_cache = True
    half.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    save_tokenizer(tokenizer, folder, ROW_TOKENS)
    (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m lens_rome.atlas.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--exact", action="store_true", help="float32 products instead of bfloat16")
    parser.add_argument("--resume", type=Path, help="snapshot of a shorter training to continue")
    for setting in fields(Settings):
        parser.add_argument(f"--{setting.name.replace('_', '-')}", type=setting.type, default=setting.default)
    given = vars(parser.parse_args())
    settings = Settings(**{f.name: given[f.name] for f in fields(Settings)})
    given["out"].mkdir(parents=True, exist_ok=True)
    corpus, began = Corpus(read_source()), time.perf_counter()
    tokenizer = train_tokenizer(corpus.sentences(), settings.vocabulary)
    network, losses = train(
        corpus, tokenizer, settings, given["device"], not given["exact"],
        given["resume"], given["out"] / "snapshot.safetensors",
    )  # fmt: skip
    record = {
        "settings": asdict(settings),
        "device": given["device"],
        "bfloat16": not given["exact"],
        "versions": {"torch": torch.__version__},
        "seconds": round(time.perf_counter() - began),
        "loss_every_100_steps": [round(x, 4) for x in losses[::100]],
    }
    export(network, tokenizer, given["out"], record)


if __name__ == "__main__":
    main()
