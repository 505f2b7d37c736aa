"""`lens-rome study edit`: one page about one edit."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lens_rome.cli.editors import (
    EditorName,
    EditorOptions,
    Layer,
    MomentsFile,
    PresetName,
    Settings,
    TrainedFile,
    moments_for,
)
from lens_rome.cli.models import load
from lens_rome.cli.options import Bos, Device, Dtype, ModelName, Precision, SurfaceName
from lens_rome.cli.reporting import CommandError, console, reporting, working
from lens_rome.cli.study_edit_asked import Given, read_record
from lens_rome.editing import Edit
from lens_rome.moments import SecondMoments
from lens_rome.studies.one_edit import GROUPS, NOT_ASKED, EditStory, edit_story, probe_edit
from lens_rome.studies.pages import save_edit_page
from lens_rome.studies.pages.report_page import check_replaceable
from lens_rome.studies.probes import Finding

_STEPS = 5
Texts = list[str] | None


class Probes(StrEnum):
    """Which probes of the edit's limits are run."""

    none = "none"
    ask = "ask"
    all = "all"


@reporting
def study_edit(
    fact: Annotated[
        str | None,
        typer.Argument(
            help="The prompt, ending right before its object: 'The Eiffel Tower is in the city of'.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[str | None, typer.Option("--to", "-n", help="The new object.")] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", "-s", help="The part of FACT that names whom it is about; or {} in it.")
    ] = None,
    target_true: Annotated[
        str | None,
        typer.Option("--target-true", help="The object until now; left out: the atlas' own, or what the model says."),
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--record", help="Fact and prompts from a file in the schema of CounterFact.")
    ] = None,
    case: Annotated[int | None, typer.Option("--case", help="The record's case_id, where a file has several.")] = None,
    model: ModelName = "atlas",
    editor: EditorName = "ROME",
    layer: Layer = None,
    preset_name: PresetName = None,
    settings: Settings = None,
    trained: TrainedFile = None,
    moments: MomentsFile = None,
    paraphrase: Annotated[Texts, typer.Option("--paraphrase", help="Another wording of FACT; repeatable.")] = None,
    neighbor: Annotated[
        Texts, typer.Option("--neighbor", help="A prompt of which the old object stays right; repeatable.")
    ] = None,
    keep: Annotated[
        Texts, typer.Option("--keep", help="Another fact of the subject, PROMPT=ANSWER; repeatable.")
    ] = None,
    related: Annotated[
        Texts, typer.Option("--related", help="A fact of a related subject, PROMPT=ANSWER; repeatable.")
    ] = None,
    describe: Annotated[
        Texts, typer.Option("--describe", help="FACT with a description in the subject's place; repeatable.")
    ] = None,
    reverse: Annotated[
        Texts, typer.Option("--reverse", help="A prompt that names an object and asks for the subject; repeatable.")
    ] = None,
    generate: Annotated[Texts, typer.Option("--generate", help="A prompt to continue freely; repeatable.")] = None,
    texts: Annotated[int, typer.Option("--texts", min=1, help="Texts for each such prompt.")] = 5,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="Length of a text, its prompt included.")] = 40,
    noise_samples: Annotated[int, typer.Option("--noise-samples", min=1, help="Noise samples of the trace.")] = 10,
    probes: Annotated[
        Probes,
        typer.Option(
            "--probes",
            help="`all`; `ask`: without those that make further edits, at every layer among others; `none`.",
        ),
    ] = Probes.all,
    surface: SurfaceName = None,
    device: Device = "cpu",
    dtype: Dtype = Precision.float32,
    bos: Bos = None,
    seed: Annotated[int, typer.Option("--seed", help="Of noise, context prefixes and texts.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="The page.")] = Path("edit.html"),
    save: Annotated[
        Path | None, typer.Option("--save", help="New folder for the story: edit, traces, findings, all numbers.")
    ] = None,
) -> None:
    """Write one page about one edit: where the fact showed, what was written, what changed, what did not, what leaked.

    On the atlas all prompts come from its world; elsewhere from a --record, or from the options for prompts.

    Example: lens-rome study edit "The Eiffel Tower is in the city of" --to Rome --out eiffel.html
    """
    _check_places(out, save)
    chosen = EditorOptions(editor, layer, preset_name, tuple(settings or ()), trained, seed, bos).make(model)
    known = None if moments in (None, "identity") else SecondMoments.load(str(moments))
    told = {"paraphrase": paraphrase, "neighbor": neighbor, "keep": keep, "related": related, "describe": describe,
            "reverse": reverse, "generate": generate}  # fmt: skip
    if case is not None and record is None:
        raise CommandError("--case names a record of a file; give the file by --record.")
    found = None if record is None else read_record(record, case)
    given = Given(fact, to, subject, target_true, found, {name: each or () for name, each in told.items()})
    loaded = load(model, surface, device, dtype)
    request = given.request(loaded, getattr(chosen, "prepend_bos", None))
    questions = given.questions(loaded, request)
    used = moments_for(chosen, loaded, known or moments)
    generation = given.generation_prompts(loaded, request)

    def probe(edit: Edit) -> Sequence[Finding]:
        more = chosen if probes is Probes.all else None
        return probe_edit(loaded.model, edit, request, questions=questions, generation_prompts=generation,
                          moments=used, seed=seed, editor=more)  # pyright: ignore[reportArgumentType]  # fmt: skip

    with working("study", _STEPS) as begin:
        story = edit_story(
            loaded.model,
            request,
            chosen,  # pyright: ignore[reportArgumentType]
            moments=used,
            questions=questions,
            generation_prompts=generation,
            probe=None if probes is Probes.none else probe,
            noise_samples=noise_samples,
            samples=texts,
            length=tokens,
            prepend_bos=bos,
            seed=seed,
            unchecked=given.unchecked(loaded, request),
            begin=begin,
        )
    _write(story, out, save)


def _check_places(out: Path, save: Path | None) -> None:
    """Refuse places that cannot be written before any work is done.

    Raises:
        CommandError: no such folder, a folder in a file's place, or a folder that holds something.
        FileFormatError: the file is there and no page of this package.
    """
    for path in (out, save):
        if path is not None and not path.parent.is_dir():
            raise CommandError(f"cannot write {path}: the folder {path.parent} does not exist. Create it first.")
    if out.is_dir():
        raise CommandError(f"cannot write {out}: it is a folder. Name a file in it.")
    if save is not None and (save.is_file() or (save.is_dir() and any(save.iterdir()))):
        raise CommandError(f"cannot write {save}: it is not an empty folder. Name a new one.")
    check_replaceable(out)


def _write(story: EditStory, out: Path, save: Path | None) -> None:
    """The page and the story, and a line on each group of prompts and each probe."""
    screen, request = console(), story.request
    if save is not None:
        story.save(save)
    save_edit_page(story, out)
    screen.print(f"{request.prompt}: {request.target_true} → {request.target_new}", soft_wrap=True, markup=False)
    if story.doubt:
        screen.print(f"  {story.doubt}", style="yellow", soft_wrap=True, markup=False)
    for name, group in GROUPS.items():
        share = story.right(story.group(name))
        if share.n:
            screen.print(f"  {group.title}: right in {share.after} of {share.n} (before {share.before})", markup=False)
    for finding in story.findings:
        screen.print(f"  {_told(finding)}", soft_wrap=True, markup=False)
    if save is not None:
        screen.print(f"{save}: the story; EditStory.load reads it", soft_wrap=True, markup=False)
    screen.print(f"{out}: open it in a browser", soft_wrap=True, markup=False)


def _told(finding: Finding) -> str:
    """The answer, or why there is none."""
    if finding.rows:
        return str(finding.answer)
    asked = "not asked" if finding.answer.name == NOT_ASKED else "cannot be told"
    return f"{finding.probe}: {asked}, {finding.missing[0].reason if finding.missing else finding.answer.reading}"
