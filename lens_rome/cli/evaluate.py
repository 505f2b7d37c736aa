"""`lens-rome evaluate`: an editor's scores on many records, as the papers print them."""

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from lens_rome.cli.editors import TRAINED, EditorOptions, Layer, MomentsFile, PresetName, Settings, TrainedFile
from lens_rome.cli.engines import Engine, EngineName, Engines, RayAddress, RetryErrors, Shard, Workers
from lens_rome.cli.evaluate_data import Data, DataOptions, Sample, Split
from lens_rome.cli.evaluate_task import PROBLEMS, EvaluateTask, problem_of
from lens_rome.cli.options import Bos, Device, Dtype, ModelName, Precision, SurfaceName, split_names
from lens_rome.cli.reporting import CommandError, console, reporting
from lens_rome.cli.show_evaluation import one_of_each_kind, show_progress, show_report
from lens_rome.editing.presets import EDITORS
from lens_rome.evaluation import EvalReport, TextSettings, UnfinishedRunWarning, load_run
from lens_rome.evaluation.before import check_before
from lens_rome.evaluation.job import CHUNK_SIZE, Evaluation
from lens_rome.evaluation.needs import Needs
from lens_rome.evaluation.run_folder import WHAT, open_run
from lens_rome.runs import Worker

_NONE = "none"


@reporting
def evaluate(
    data: Data = "atlas",
    model: ModelName = "atlas",
    editor: Annotated[
        str | None,
        typer.Option("--editor", help=f"One of {', '.join((*EDITORS, *TRAINED))}, or none for the unedited model."),
    ] = None,
    edit: Annotated[
        Path | None, typer.Option("--edit", help="File of an edit, scored on all records that it is of.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the run: it survives a kill, and several workers may share it."),
    ] = None,
    zsre: Annotated[
        str | None, typer.Option("--zsre", help="The file is zsRE: `meng` for bare questions, `hase` for Hase et al.")
    ] = None,
    split: Split = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only records with a case id below it, as in the papers.")
    ] = None,
    sample: Sample = None,
    layer: Layer = None,
    preset_name: PresetName = None,
    settings: Settings = None,
    trained: TrainedFile = None,
    moments: MomentsFile = None,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", help="Names separated by commas, such as S,NS+,NKL: only what they need is asked."),
    ] = None,
    problem: Annotated[
        str | None, typer.Option("--problem", help=f"An editing problem of Hase et al.: {', '.join(PROBLEMS)}.")
    ] = None,
    noise: Annotated[
        float | None, typer.Option("--noise", help="Of the two problems with a noised subject: standard deviation.")
    ] = None,
    before: Annotated[bool, typer.Option("--before/--no-before", help="Score the unedited model too.")] = True,
    unedited: Annotated[
        Path | None,
        typer.Option(
            "--unedited", help="Run or report of `--editor none`, to stand before instead of scoring it again."
        ),
    ] = None,
    texts: Annotated[
        bool, typer.Option("--texts", help="Let each edited model write, and score that (GE). Takes long.")
    ] = False,
    length: Annotated[
        int | None, typer.Option("--length", min=1, help="Tokens of a text, its prompt included; left out: 100.")
    ] = None,
    references: Annotated[
        str | None,
        typer.Option("--references", help="Texts to compare with (RS): `atlas`, `counterfact`, or a snippets file."),
    ] = None,
    tfidf: Annotated[
        Path | None,
        typer.Option("--tfidf", help="Folder of idf.npy and tfidf_vocab.json; left out: counted in the file."),
    ] = None,
    essence: Annotated[
        bool, typer.Option("--essence", help="Score how likely the unedited model's texts about a subject remain.")
    ] = False,
    refused: Annotated[
        str, typer.Option("--refused", help="Records that the editor refuses: `raise`, or score them `unedited`.")
    ] = "raise",
    chunk: Annotated[
        int, typer.Option("--chunk", min=1, help="Records that are done and written together.")
    ] = CHUNK_SIZE,
    shard: Shard = None,
    engine: EngineName = Engine.local,
    workers: Workers = None,
    ray_address: RayAddress = None,
    retry_errors: RetryErrors = False,
    label: Annotated[str | None, typer.Option("--label", help="What the report calls itself.")] = None,
    surface: SurfaceName = None,
    device: Device = "cpu",
    dtype: Dtype = Precision.float32,
    bos: Bos = None,
    seed: Annotated[int, typer.Option("--seed", help="Of contexts, --sample, texts and zsRE's new objects.")] = 0,
) -> None:
    """Edit every record by itself, score it as the papers do, and print their table with 95% intervals.

    With --out every finished chunk is in the folder at once: the same command goes on after a stop.

    Example: lens-rome evaluate --data atlas --split evaluation --sample 200 --editor MEMIT --out runs/memit
    """
    engines = Engines(engine, workers, ray_address, shard, retry_errors)
    _check_ways(out, engines)
    plain = None if unedited is None else EvalReport.load(unedited)
    names = () if metrics is None else tuple(split_names(metrics, "--metrics"))
    texts = texts or (bool(names) and Needs.of(names).texts)
    if length is not None and not texts:
        raise CommandError("--length is of texts; add --texts.")
    given = EditorOptions(editor or "ROME", layer, preset_name, tuple(settings or ()), trained, seed, bos)
    task = EvaluateTask(
        model,
        DataOptions(data, zsre, split, limit, sample, seed),
        _chosen(editor, edit, given),
        edit,
        moments,
        surface,
        device,
        dtype,
        bos,
        TextSettings(length or TextSettings.length, seed=seed) if texts else None,
        references,
        tfidf,
        essence,
        before and plain is None,
        refused,
        names,
        problem_of(problem, noise),
    )
    name = label or task.label
    with one_of_each_kind():
        job = task.evaluation("cpu" if engine is Engine.ray else device)
        if plain is not None:  # Now, and not when all is computed.
            check_before(plain, job.settings(chunk), [record.case_id for record in job.records])
        if out is None:
            _show(job.report(name, progress=True), job, plain)
        else:
            _into_folder(out, job, name, chunk, engines, task, plain)


def _show(report: EvalReport, job: Evaluation, plain: EvalReport | None) -> None:
    """The report, beside that of the unedited model where there is one."""
    together = report if plain is None else report.with_before(plain)
    show_report(console(), together, unedited=job.asked.before or plain is not None)


def _check_ways(out: Path | None, engines: Engines) -> None:
    """Refuse ways of running that do not go together or need a folder, before a model is loaded."""
    engines.check()
    worker = Worker.from_environment(os.environ, engines.shard)
    if out is not None:
        if not out.parent.is_dir():
            raise CommandError(f"cannot make {out}: the folder {out.parent} does not exist. Create it first.")
        return
    if engines != Engines():
        raise CommandError("--shard, --engine and --retry-errors are for a run in a folder; name it by --out.")
    if worker.world > 1:
        raise CommandError(f"{worker.world} workers share a run in a folder; name it by --out, the same for all.")


def _chosen(editor: str | None, edit: Path | None, given: EditorOptions) -> EditorOptions | None:
    """The editor's options; None for the unedited model, or an edit, which take none."""
    if edit is None and (editor is None or editor.lower() != _NONE):
        return given
    if edit is not None and editor is not None:
        raise CommandError("--edit is made already; leave out --editor.")
    if (given.layer, given.preset, given.trained, given.settings) != (None, None, None, ()):
        raise CommandError("--layer, --preset, --set and --trained are of an editor; leave them out.")
    return None


def _into_folder(
    out: Path,
    job: Evaluation,
    label: str,
    chunk: int,
    engines: Engines,
    task: EvaluateTask,
    plain: EvalReport | None,
) -> None:
    """Do this process's share, or let a cluster do all, and print the table where the run is finished by it."""
    run = open_run(out, job, label, chunk)
    # Workers on other devices might sample other contexts than this process, which has told its own to the manifest.
    task = replace(task, contexts=job.contexts)
    try:
        engines.run(run, job.rows, task, chunk_size=chunk, device=task.device, what=WHAT)
    except KeyboardInterrupt:
        show_progress(console(), run, out)
        raise
    if not show_progress(console(), run, out):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnfinishedRunWarning)  # It has been said already.
        report = load_run(out, label=label)
    _show(report, job, plain)
