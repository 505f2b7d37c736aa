"""Load a model by name or folder onto either surface, with raw weights unless asked otherwise."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from lens_rome._typing import Model
from lens_rome.errors import SurfaceError
from lens_rome.surface._convert import hooked_from_hugging_face, why_not_convertible
from lens_rome.surface._versions import HookedTransformer, TransformerBridge

SURFACES = ("hooked", "bridge")


def load_model(
    name_or_folder: str | Path,
    surface: str | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    *,
    process_weights: bool = False,
) -> Model:
    """Load a Hugging Face checkpoint as `HookedTransformer` or `TransformerBridge`, in evaluation mode.

    Args:
        name_or_folder: a folder in the Hugging Face layout, or a name that the hub knows (needs a network).
        surface: `"hooked"`, `"bridge"`, or None for the best there is: hooked for GPT-2, GPT-J, GPT-NeoX and Llama
            shapes where TransformerLens still has it (3.x), the bridge for all else.
        process_weights: fold norms and centre weights as TransformerLens does by default; keys and probabilities
            stay, `W_out` and residuals change, and edits made for one setting do not fit the other.

    Raises:
        SurfaceError: unknown surface, no such model, or a surface that this model or TransformerLens version does not
            have.
    """
    if surface not in (None, *SURFACES):
        raise SurfaceError(f"unknown surface {surface!r}; choose one of {SURFACES} or None.")
    source = _existing(name_or_folder)
    config = _read(AutoConfig, source)
    obstacle = _why_not_hooked(config)
    if surface == "hooked" and obstacle:
        raise SurfaceError(obstacle)
    tokenizer = _read(AutoTokenizer, source)
    if surface == "bridge" or obstacle:
        model = _read(_Boot, source, dtype=dtype, device=str(device), tokenizer=tokenizer)
        if process_weights:
            model.enable_compatibility_mode(disable_warnings=True)
    else:
        weights = _read(AutoModelForCausalLM, source, dtype=dtype)
        model = hooked_from_hugging_face(
            weights, tokenizer, dtype=dtype, device=device, process_weights=process_weights
        )
    return model.eval()


def _existing(name_or_folder: str | Path) -> str:
    """The argument as Hugging Face takes it; a path-like name must be a checkpoint folder."""
    folder = Path(name_or_folder)
    looks_like_path = isinstance(name_or_folder, Path) or folder.is_absolute() or str(name_or_folder).startswith(".")
    if folder.is_dir() or looks_like_path:
        if not (folder / "config.json").is_file():
            raise SurfaceError(f"{folder} is not a model folder: it has no config.json.")
        return str(folder)
    return str(name_or_folder)


class _Boot:
    """`TransformerBridge`'s loader under the name that Hugging Face's loaders have."""

    from_pretrained = staticmethod(TransformerBridge.boot_transformers)


def _read(loader: Any, source: str, **kwargs: Any) -> Any:
    try:
        return loader.from_pretrained(source, **kwargs)
    except (OSError, ValueError, SafetensorError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise SurfaceError(
            f"cannot load {source!r}: {first_line} Give a folder with config.json, weights and tokenizer files, "
            "or a hub name "
            "where there is a network; `load_atlas()` needs neither."
        ) from error


def _why_not_hooked(config: Any) -> str:
    if HookedTransformer is None:
        return (
            "this TransformerLens (4.x) has no HookedTransformer; use surface='bridge' or install transformer-lens<4."
        )
    reason = why_not_convertible(config)
    return f"the model cannot be loaded as HookedTransformer here: {reason}; use surface='bridge'." if reason else ""
