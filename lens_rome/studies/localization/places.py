"""Whether a folder can hold a study, and whether the one that is there is the same: asked before any writing."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lens_rome.errors import RunError
from lens_rome.runs import Run

RUN_KIND = "localization"


def check_place(out: str | Path) -> None:
    """Raise `RunError` where the folder of a study cannot be: no folder above it, or a file of its name.

    No model is needed, so that it can be asked before one is loaded.
    """
    folder = Path(out)
    if not folder.parent.is_dir():
        raise RunError(f"cannot make {folder}: the folder {folder.parent} does not exist. Create it first.")
    if folder.exists() and not folder.is_dir():
        raise RunError(f"cannot make the folder {folder}: there is a file of that name. Give another name.")


def check_same_study(edits: Path, settings: Mapping[str, Any]) -> None:
    """Raise `RunError` where the edits in a folder are of other methods, problems or layers, in these words alone.

    All other settings follow, and `Run.open` compares them: they differ in many places where a method does, which
    nobody can read. What is no run, or a damaged one, is for `Run.open` to tell.
    """
    try:
        there = Run.read(edits, RUN_KIND).manifest.settings
    except RunError:
        return
    differing = list(_differing(_choices(there), _choices(settings)))
    if differing:
        raise RunError(
            f"{edits.parent} holds another study: {'; '.join(differing)}. Nothing was written. Name another folder, "
            "or ask for the same."
        )


def _choices(settings: Mapping[str, Any]) -> dict[str, Sequence[Any]]:
    """What was chosen to be studied, in the words of the caller."""
    return {
        "methods": list(settings.get("widths", ())),
        "problems": list(settings.get("problems", ())),
        "layers": list(settings.get("layers", ())),
    }


def _differing(there: Mapping[str, Sequence[Any]], asked: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    for name, values in asked.items():
        if list(there[name]) != list(values):
            yield f"{name} are {', '.join(map(str, there[name]))} there, {', '.join(map(str, values))} asked for"
