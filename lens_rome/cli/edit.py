"""`lens-rome edit`: rewrite one fact or many, and see what that changed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from lens_rome.atlas.bundled import MODEL_FOLDER
from lens_rome.cli.comparison import Prompts, world_prompts
from lens_rome.cli.edit_many import edit_many, show_many, write_many
from lens_rome.cli.edit_one import completed, run_edit, write_edit
from lens_rome.cli.editors import EditorName, EditorOptions, Layer, MomentsFile, PresetName, Settings, TrainedFile
from lens_rome.cli.models import ATLAS, Loaded, load
from lens_rome.cli.options import Bos, Device, Dtype, ModelName, Out, Precision, Subject, SurfaceName, Template
from lens_rome.cli.output import Folder
from lens_rome.cli.reporting import CommandError, console, reporting, working
from lens_rome.cli.show_edit import show_edit
from lens_rome.cli.tables import show_files
from lens_rome.datasets import read_requests
from lens_rome.editing import Edit
from lens_rome.facts import EditRequest
from lens_rome.moments import SecondMoments


@reporting
def edit(
    subject: Subject = None,
    template: Template = None,
    target_new: Annotated[str | None, typer.Option("--target-new", "-n", help="The new object.")] = None,
    requests: Annotated[
        Path | None,
        typer.Option(
            "--requests",
            help="Many facts in one edit: JSON list or JSON Lines of subject, template, target_new (target_true, "
            "relation), or CounterFact records.",
        ),
    ] = None,
    model: ModelName = "atlas",
    target_true: Annotated[
        str | None,
        typer.Option("--target-true", help="The object until now; left out: the atlas' own, or what the model says."),
    ] = None,
    editor: EditorName = "ROME",
    layer: Layer = None,
    preset_name: PresetName = None,
    settings: Settings = None,
    trained: TrainedFile = None,
    moments: MomentsFile = None,
    paraphrase: Annotated[
        list[str] | None, typer.Option("--paraphrase", help="Another wording of the prompt; repeatable.")
    ] = None,
    neighbor: Annotated[
        list[str] | None, typer.Option("--neighbor", help="A prompt that should keep the true object; repeatable.")
    ] = None,
    generate: Annotated[
        list[str] | None, typer.Option("--generate", help="A prompt to continue freely; repeatable.")
    ] = None,
    tokens: Annotated[
        int | None, typer.Option("--tokens", min=0, help="Length of the free continuations; left out: 25.")
    ] = None,
    save: Annotated[Path | None, typer.Option("--save", help="File to save the edit to (Edit.load reads it).")] = None,
    export: Annotated[
        Path | None, typer.Option("--export", help="New folder for the edited model as a Hugging Face checkpoint.")
    ] = None,
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

    Many facts in one edit: lens-rome edit --editor MEMIT --requests FILE --save edit.safetensors
    """
    of_one = (subject, template, target_new, target_true, paraphrase, neighbor, generate, tokens)
    asked = _asked(requests, subject, template, target_new, any(given not in (None, []) for given in of_one))
    _check_places(save, export)
    chosen = EditorOptions(editor, layer, preset_name, tuple(settings or ()), trained, seed, bos).make(model)
    known = None if moments in (None, "identity") else SecondMoments.load(str(moments))
    ends = _Ends(save, export, Folder(out) if out else None, None if model == ATLAS else model)
    loaded = load(model, surface, device, dtype)
    if isinstance(asked, list):
        made, outcomes = edit_many(loaded, chosen, asked, known or moments)
        show_many(console(), made, outcomes)
        ends.keep(loaded, made, lambda folder: write_many(folder, made, outcomes))
        return
    request = completed(loaded, asked, target_true, getattr(chosen, "prepend_bos", None))
    given = Prompts(tuple(paraphrase or ()), tuple(neighbor or ()), tuple(generate or ()))
    prompts = _together(world_prompts(loaded, request), given)
    made, comparison = run_edit(loaded, chosen, request, known or moments, prompts, 25 if tokens is None else tokens)
    screen = console()
    show_edit(screen, made, comparison)
    _hint(screen, loaded, request, prompts)
    ends.keep(loaded, made, lambda folder: write_edit(folder, made, comparison))


def _asked(
    requests: Path | None, subject: str | None, template: str | None, target_new: str | None, one: bool
) -> EditRequest | list[EditRequest]:
    """The request of the options, or all of a file; refused before a model is loaded."""
    if requests is not None:
        if one:
            raise CommandError(
                "--requests names the facts; leave out --subject, --template, --target-new, --target-true, "
                "--paraphrase, --neighbor, --generate and --tokens."
            )
        return read_requests(requests)
    if subject is None or template is None or target_new is None:
        raise CommandError("give --subject, --template and --target-new for one fact, or --requests for many.")
    return EditRequest(subject, template, target_new)


def _check_places(save: Path | None, export: Path | None) -> None:
    """Refuse places that cannot be written before any work is done."""
    for path in filter(None, (save, export)):
        if not path.parent.is_dir():
            raise CommandError(f"cannot write {path}: the folder {path.parent} does not exist. Create it first.")
    if save is not None and save.is_dir():
        raise CommandError(f"cannot write {save}: it is a folder. Name a file in it.")
    if export is not None and (export.is_file() or (export.is_dir() and any(export.iterdir()))):
        raise CommandError(f"cannot write {export}: it is not an empty folder. Name a new one.")


@dataclass(frozen=True)
class _Ends:
    """Where the edit goes."""

    save: Path | None
    export: Path | None
    folder: Folder | None
    source: str | None
    """The checkpoint of the model; None for the bundled one."""

    def keep(self, loaded: Loaded, made: Edit, write: Callable[[Folder], None]) -> None:
        """Save, export and write as far as asked, and say where everything is."""
        screen = console()
        if self.save:
            made.save(self.save)
            told = f"The edit is in {self.save}; Edit.load('{self.save}').applied(model) puts it in."
            screen.print(f"\n{escape(told)}", soft_wrap=True)
        if self.export:
            with working("exporting", 1) as begin:
                begin(str(self.export))
                made.export(loaded.model, self.export, source=self.source or MODEL_FOLDER)
            told = f"The edited model is in {self.export}; transformers and --model read it."
            screen.print(f"\n{escape(told)}", soft_wrap=True)
        if self.folder:
            write(self.folder)
            show_files(screen, self.folder)


def _hint(screen: Console, loaded: Loaded, request: EditRequest, prompts: Prompts) -> None:
    """What the bundled world does not know, and which prompts would tell more."""
    hint = loaded.hint(request.subject, request.template)
    if hint:
        screen.print(f"\n{escape(hint)}", style="yellow", soft_wrap=True)
    if not (prompts.paraphrases or prompts.neighbours):
        screen.print("\nGive --paraphrase and --neighbor to see how far the edit reaches.", style="dim")


def _together(first: Prompts, second: Prompts) -> Prompts:
    return Prompts(
        first.paraphrases + second.paraphrases, first.neighbours + second.neighbours, first.free + second.free
    )
