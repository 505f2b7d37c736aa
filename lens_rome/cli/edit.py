"""`lens-rome edit`: rewrite a fact and see what that changed."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

import lens_rome
from lens_rome.cli.comparison import Comparison, Prompts, compare, world_prompts
from lens_rome.cli.models import Loaded, load
from lens_rome.cli.options import (
    Bos,
    Device,
    Dtype,
    ModelName,
    Out,
    Precision,
    SubjectName,
    SurfaceName,
    Template,
)
from lens_rome.cli.output import Folder
from lens_rome.cli.reporting import CommandError, console, reporting, working
from lens_rome.cli.show_edit import show_edit
from lens_rome.cli.tables import show_files
from lens_rome.editing import ROME, RROME, Edit, preset
from lens_rome.errors import EditError
from lens_rome.facts import EditRequest
from lens_rome.moments import SecondMoments
from lens_rome.plotting import plot_edit

EDITORS = {"ROME": ROME, "R-ROME": RROME}


@reporting
def edit(
    subject: SubjectName,
    template: Template,
    target_new: Annotated[str, typer.Option("--target-new", "-n", help="The new object.")],
    model: ModelName = "atlas",
    target_true: Annotated[
        str | None, typer.Option("--target-true", help="The object until now; left out: what the model says.")
    ] = None,
    editor: Annotated[str, typer.Option("--editor", help="`ROME` or `R-ROME`.")] = "ROME",
    layer: Annotated[int | None, typer.Option("--layer", "-l", help="Layer to edit, with default settings.")] = None,
    preset_name: Annotated[
        str | None,
        typer.Option("--preset", help="Model whose published settings to take; left out: those of --model."),
    ] = None,
    moments: Annotated[
        str | None,
        typer.Option("--moments", help="File of `lens-rome moments` or a published .npz; or `identity` for none."),
    ] = None,
    paraphrase: Annotated[
        list[str] | None, typer.Option("--paraphrase", help="Another wording of the prompt; repeatable.")
    ] = None,
    neighbor: Annotated[
        list[str] | None, typer.Option("--neighbor", help="A prompt that should keep the true object; repeatable.")
    ] = None,
    generate: Annotated[
        list[str] | None, typer.Option("--generate", help="A prompt to continue freely; repeatable.")
    ] = None,
    tokens: Annotated[int, typer.Option("--tokens", min=0, help="Length of the free continuations.")] = 25,
    save: Annotated[Path | None, typer.Option("--save", help="File to save the edit to (Edit.load reads it).")] = None,
    surface: SurfaceName = None,
    device: Device = "cpu",
    dtype: Dtype = Precision.float32,
    bos: Bos = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the context prefixes.")] = 0,
    out: Out = None,
) -> None:
    """Rewrite a fact and compare the model before and after: prompt, paraphrases, neighbours, continuations.

    On the atlas these prompts come from its world; elsewhere give --paraphrase, --neighbor and --generate.

    Example: lens-rome edit -s "Eiffel Tower" -t "The {} is in the city of" -n Rome --out out/edit
    """
    asked = EditRequest(subject, template, target_new)  # Refuses bad texts before a model is loaded.
    _check_save(save)
    chosen = choose_editor(editor, layer, preset_name, model, seed, bos)
    known = None if moments in (None, "identity") else SecondMoments.load(str(moments))
    folder = Folder(out) if out else None
    loaded = load(model, surface, device, dtype)
    request = _request(loaded, asked, target_true, chosen.prepend_bos)
    given = Prompts(tuple(paraphrase or ()), tuple(neighbor or ()), tuple(generate or ()))
    prompts = _together(world_prompts(loaded, request), given)
    made, comparison = run_edit(loaded, chosen, request, known or moments, prompts, tokens)
    screen = console()
    show_edit(screen, made, comparison)
    hint = loaded.hint(request.subject, request.template)
    if hint:
        screen.print(f"\n{escape(hint)}", style="yellow", soft_wrap=True)
    if not (prompts.paraphrases or prompts.neighbours):
        screen.print("\nGive --paraphrase and --neighbor to see how far the edit reaches.", style="dim")
    if save:
        made.save(save)
        screen.print(f"\nThe edit is in {save}; Edit.load('{save}').applied(model) puts it in.", soft_wrap=True)
    if folder:
        write_edit(folder, made, comparison)
        show_files(screen, folder)


def _check_save(save: Path | None) -> None:
    """Refuse a place that cannot be written before any work is done."""
    if save is not None and not save.parent.is_dir():
        raise CommandError(f"cannot write {save}: the folder {save.parent} does not exist. Create it first.")
    if save is not None and save.is_dir():
        raise CommandError(f"cannot write {save}: it is a folder. Name a file in it.")


def choose_editor(
    name: str, layer: int | None, preset_name: str | None, model: str, seed: int, bos: bool | None
) -> ROME | RROME:
    """The editor that the options describe.

    Raises:
        CommandError: unknown editor, layer and preset together, or no settings known for the model.
    """
    if name.upper() not in EDITORS:
        raise CommandError(f"unknown editor {name!r}; choose one of {', '.join(EDITORS)}.")
    if layer is not None and preset_name is not None:
        raise CommandError("--layer and --preset exclude each other; give one of them.")
    if layer is not None:
        return EDITORS[name.upper()](layer, seed=seed, prepend_bos=bos)
    try:
        found = replace(preset(name.upper(), preset_name or Path(model).name), seed=seed)
    except EditError as error:
        raise CommandError(f"{error} On the command line: --layer LAYER or --preset NAME.") from error
    return found if bos is None else replace(found, prepend_bos=bos)


def run_edit(
    loaded: Loaded,
    editor: ROME | RROME,
    request: EditRequest,
    moments: SecondMoments | str | None,
    prompts: Prompts,
    tokens: int = 25,
) -> tuple[Edit, Comparison]:
    """Make the edit and ask the model before and after, with progress."""
    if moments is None and loaded.world is not None:
        moments = loaded.world.moments
    if moments is None:
        raise CommandError(
            f"{editor.name} needs second moments of layer {editor.layer}. Collect them: lens-rome moments --layers "
            f"{editor.layer} --corpus FILE.txt --out moments.safetensors (same --model, same --bos/--no-bos); then "
            "give --moments moments.safetensors, or --moments identity to edit without."
        )
    with working("editing", 2) as begin:
        begin(f"{editor.name} at layer {editor.layer}")
        made = editor.edit(loaded.model, request, moments=moments)
        begin("asking before and after")
        return made, compare(loaded, request, made, prompts, tokens, editor.prepend_bos)


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


def _request(loaded: Loaded, asked: EditRequest, target_true: str | None, bos: bool | None) -> EditRequest:
    """The request with the true object that was given, or the world's, or what the model says."""
    if target_true is None:
        known = loaded.known_fact(asked.subject, asked.template)
        target_true = known.target if known else loaded.next_word(asked.prompt, bos)
        if not target_true:
            raise CommandError("the model's own next token is no word; give the object until now with --target-true.")
    return replace(asked, target_true=target_true)


def _together(first: Prompts, second: Prompts) -> Prompts:
    return Prompts(
        first.paraphrases + second.paraphrases, first.neighbours + second.neighbours, first.free + second.free
    )
