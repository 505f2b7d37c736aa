"""`lens-rome edit` of one fact: make the edit, ask the model before and after, write what was found."""

from dataclasses import asdict, replace
from typing import Any

import lens_rome
from lens_rome.cli.comparison import Comparison, Prompts, compare
from lens_rome.cli.editors import Editor, described, moments_for
from lens_rome.cli.models import Loaded
from lens_rome.cli.object_until_now import said
from lens_rome.cli.output import Folder
from lens_rome.cli.reporting import CommandError, console, working
from lens_rome.editing import Edit
from lens_rome.facts import EditRequest
from lens_rome.moments import SecondMoments
from lens_rome.plotting import plot_edit


def run_edit(
    loaded: Loaded,
    editor: Editor,
    request: EditRequest,
    moments: SecondMoments | str | None,
    prompts: Prompts,
    tokens: int = 25,
) -> tuple[Edit, Comparison]:
    """Make the edit and ask the model before and after, with progress.

    Raises:
        CommandError: the editor needs moments and there are none.
    """
    moments = moments_for(editor, loaded, moments)
    with working("editing", 2) as begin:
        begin(described(editor))
        made = editor.edit(loaded.model, request, moments=moments)
        begin("asking before and after")
        return made, compare(loaded, request, made, prompts, tokens, made.provenance.get("prepend_bos"))


def write_edit(folder: Folder, made: Edit, comparison: Comparison) -> None:
    """Picture, JSON, and the edit itself."""
    request = comparison.request
    folder.picture(
        "edit.png",
        "each prompt before and after",
        lambda: plot_edit(comparison.frame(), true=request.target_true, new=request.target_new),
    )
    folder.json("edit.json", "all numbers and texts", describe_edit(made, comparison))
    folder.save("edit.safetensors", "read it with Edit.load", made.save)


def describe_edit(made: Edit, comparison: Comparison) -> dict[str, Any]:
    """Comparison and provenance for JSON."""
    return {
        "lens_rome": lens_rome.__version__,
        "request": asdict(comparison.request),
        "prompts": [{**asdict(row), "as_intended": row.as_intended} for row in comparison.rows],
        "continuations": [asdict(text) for text in comparison.continuations],
        "edit": dict(made.provenance),
    }


def completed(loaded: Loaded, asked: EditRequest, target_true: str | None, bos: bool | None) -> EditRequest:
    """The request with the true object that was given, or the world's, or what the model says, which is printed.

    Raises:
        CommandError: none was given, and what the model says is no name or word, or none that ends.
        FactError: the object until now is the new one.
    """
    if target_true is not None:
        return replace(asked, target_true=target_true)
    if known := loaded.known_fact(asked.subject, asked.template):
        return replace(asked, target_true=known.target)
    found = said(loaded, asked.prompt, bos)
    if not found.text:
        raise CommandError("the model's own next token is no word; give the object until now with --target-true.")
    if not found.ends:
        raise CommandError(
            f"the model's own answer is not to be told from what it says after it: {found.text!r}…; give the object "
            "until now with --target-true."
        )
    told = f"The object until now is what the model says, {found.text!r}; --target-true names another."
    console().print(told, style="dim", soft_wrap=True, markup=False)
    return replace(asked, target_true=found.text)
