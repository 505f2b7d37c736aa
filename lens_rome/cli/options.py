"""Options that several commands share, and the reading of lists."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lens_rome.cli.reporting import CommandError

ModelName = Annotated[
    str,
    typer.Option("--model", "-m", help="`atlas` (bundled), a folder in the Hugging Face layout, or a name on the hub."),
]
SurfaceName = Annotated[
    str | None, typer.Option("--surface", help="`hooked` or `bridge`; left out: the best that there is.")
]
Device = Annotated[str, typer.Option("--device", help="Where to run, e.g. `cpu`, `cuda`, `cuda:1` or `mps`.")]
Bos = Annotated[
    bool | None,
    typer.Option("--bos/--no-bos", help="Whether to put a BOS token first; left out: as the model is configured."),
]
Subject = Annotated[str | None, typer.Option("--subject", "-s", help="The subject as it stands in the prompt.")]
Template = Annotated[
    str | None,
    typer.Option("--template", "-t", help="The prompt with one {} for the subject, ending right before the object."),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder for pictures and results; made if missing.")]


class Precision(StrEnum):
    """Precisions that a model can be loaded in."""

    float32 = "float32"
    float64 = "float64"
    float16 = "float16"
    bfloat16 = "bfloat16"


Dtype = Annotated[Precision, typer.Option("--dtype", help="Precision of the weights.")]


def split_names(text: str, option: str) -> list[str]:
    """The parts of a comma-separated option, each once, in order."""
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise CommandError(f"{option} is empty; separate its parts by commas.")
    return names


def split_places(text: str, option: str) -> list[int | str]:
    """The parts of a comma-separated option, each once, in order; whole numbers as numbers."""
    return [int(name) if name.removeprefix("-").isdecimal() else name for name in split_names(text, option)]


def split_numbers(text: str, option: str) -> list[int]:
    """The whole numbers of a comma-separated option, each once, in order."""
    names = split_names(text, option)
    try:
        return list(dict.fromkeys(int(name) for name in names))
    except ValueError as error:
        raise CommandError(f"{option} takes whole numbers separated by commas, such as 2,3; got {text!r}.") from error
