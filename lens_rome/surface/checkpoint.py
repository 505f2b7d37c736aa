"""Write a model as a checkpoint folder that Hugging Face transformers loads."""

import copy
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lens_rome._typing import Tensor
from lens_rome.errors import FileFormatError, SurfaceError
from lens_rome.surface._abstract import AbstractSurface

# What the bridge puts into the names of the modules that it wraps.
_WRAPPED = "._original_component"


@torch.no_grad()
def write_checkpoint(surface: AbstractSurface, folder: Path) -> None:
    """Write configuration, weights (safetensors) and tokenizer of a bridge's own Hugging Face model into `folder`.

    Raises:
        SurfaceError: not a bridge with raw weights, or its weights are not all those of the architecture.
    """
    if surface.name != "bridge" or why_processed(surface):
        raise SurfaceError("only a TransformerBridge with raw weights holds a Hugging Face model to be written.")
    held = surface.model.original_model
    config = copy.deepcopy(held.config)
    config.output_attentions = False  # the bridge's wish, not the checkpoint's
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    found = {name.replace(_WRAPPED, ""): tensor for name, tensor in held.state_dict().items()}
    expected = model.state_dict().keys()
    if missing := sorted(expected - found.keys()):
        raise SurfaceError(f"the model cannot be written: {', '.join(missing[:3])} is not among its weights.")
    _check_extra(found, expected)
    model.load_state_dict({name: found[name] for name in expected}, assign=True)
    model.tie_weights()
    if getattr(held, "generation_config", None) is not None:
        model.generation_config = copy.deepcopy(held.generation_config)
    model.save_pretrained(folder)
    for weights in folder.glob("*.safetensors"):  # written for the owner's eyes alone
        shutil.copymode(folder / "config.json", weights)
    _tokenizer(surface).save_pretrained(folder)


def why_processed(surface: AbstractSurface) -> str:
    """How TransformerLens has processed the weights so that no Hugging Face model has them; empty if it has not."""
    kind = str(getattr(surface.cfg, "normalization_type", None))
    if surface.name == "hooked" and kind.endswith("Pre"):
        return f"its norms are folded into the weights after them (normalization_type={kind!r})"
    if surface.name == "bridge" and getattr(surface.model, "_weights_processed", False):
        return "TransformerLens has folded its norms and centred its weights (enable_compatibility_mode)"
    return ""


def _check_extra(found: dict[str, Tensor], expected: Any) -> None:
    """The bridge gives the unembedding a bias; a checkpoint without one can only stand for a bias of zeros."""
    for name, tensor in found.items():
        if name not in expected and name.endswith("lm_head.bias") and bool(tensor.any()):
            raise SurfaceError("the model has a bias b_U that its architecture has no place for in a checkpoint.")


def _tokenizer(surface: AbstractSurface) -> Any:
    """The tokenizer as it was before TransformerLens made it prepend BOS, where it can still be read."""
    try:
        return AutoTokenizer.from_pretrained(surface.tokenizer.name_or_path)
    except (OSError, ValueError):
        return surface.tokenizer


@contextmanager
def folder_written_whole(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`, which takes its place when the block ends well and is gone if it does not.

    Raises:
        FileFormatError: `folder` holds something already, is a file, or lies in no folder.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise FileFormatError(f"cannot write {folder}: it is not an empty folder. Name a new one.")
    if not folder.parent.is_dir():
        raise FileFormatError(f"cannot write {folder}: the folder {folder.parent} does not exist. Create it first.")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        if folder.is_dir():
            folder.rmdir()
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
