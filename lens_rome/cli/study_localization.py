"""`lens-rome study localization`: does tracing tell where to edit?"""

import os
from pathlib import Path
from typing import Annotated

import typer

from lens_rome.cli.editors import MomentsFile
from lens_rome.cli.engines import Engine, EngineName, Engines, RayAddress, RetryErrors, Shard, Workers
from lens_rome.cli.evaluate_data import Data, DataOptions, Sample, Split
from lens_rome.cli.evaluate_task import PROBLEMS
from lens_rome.cli.localization_task import LocalizationTask
from lens_rome.cli.models import ATLAS, Recipe
from lens_rome.cli.options import Bos, Device, Dtype, ModelName, Precision, SurfaceName, split_names, split_numbers
from lens_rome.cli.reporting import CommandError, console, reporting
from lens_rome.cli.show_evaluation import one_of_each_kind
from lens_rome.cli.show_localization import show_study
from lens_rome.runs import Worker
from lens_rome.studies.localization import METHODS, WINDOWS, open_study, trace_study
from lens_rome.studies.localization.effects import check_traces
from lens_rome.studies.localization.places import check_place
from lens_rome.studies.localization.study import WHAT


@reporting
def localization(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the study: it survives a kill.")],
    data: Data = ATLAS,
    model: ModelName = ATLAS,
    split: Split = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only records with a case id below it; the paper has 2000.")
    ] = None,
    sample: Sample = None,
    methods: Annotated[
        str, typer.Option("--methods", help=f"Out of {', '.join(METHODS)}.", show_default="all")
    ] = ",".join(METHODS),
    preset: Annotated[
        str | None, typer.Option("--preset", help="Model whose settings the methods have; left out: that of --model.")
    ] = None,
    problems: Annotated[
        str,
        # A comma behind the longest name would make it too long for the column at 80 characters.
        typer.Option("--problems", help=f"By commas, out of {' | '.join(PROBLEMS)}.", show_default="all"),
    ] = ",".join(PROBLEMS),
    layers: Annotated[
        str | None, typer.Option("--layers", help="Layers to edit at, such as 0,4,9; left out: all.")
    ] = None,
    windows: Annotated[
        str,
        typer.Option(
            "--windows",
            help="Layers that a trace restores together, a run each.",
            show_default=", ".join(map(str, WINDOWS)),
        ),
    ] = ",".join(map(str, WINDOWS)),
    window: Annotated[
        int | None,
        typer.Option("--window", help="That of the printed tables; left out: the paper's 5, fewer for shallow models."),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option("--noise", help="Standard deviation; left out: the paper's, or 3σ of the subjects' embeddings."),
    ] = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Noise samples of a trace.")] = 10,
    essence: Annotated[
        bool, typer.Option("--essence/--no-essence", help="Score what is left of the subject; takes about a third.")
    ] = True,
    moments: MomentsFile = None,
    shard: Shard = None,
    engine: EngineName = Engine.local,
    workers: Workers = None,
    ray_address: RayAddress = None,
    retry_errors: RetryErrors = False,
    surface: SurfaceName = None,
    device: Device = "cpu",
    dtype: Dtype = Precision.float32,
    bos: Bos = None,
    seed: Annotated[int, typer.Option("--seed", help="Of --sample, contexts and essence texts.")] = 0,
) -> None:
    """Trace the facts that the model knows, edit each at every layer, and ask how much the one tells about the other.

    The study of Hase et al. (arXiv 2301.04213): four methods, five editing problems, and regressions of each score on
    the layer, on the layer's tracing effect, and on both. The same command goes on after a stop.

    Example: lens-rome study localization --sample 100 --out runs/localization
    """
    engines = Engines(engine, workers, ray_address, shard, retry_errors)
    engines.check()
    check_place(out)
    traced = split_numbers(windows, "--windows")
    check_traces(traced, samples)
    if window is not None and window not in traced:
        raise CommandError(f"--window {window} is not traced; --windows has {', '.join(map(str, traced))}.")
    task = LocalizationTask(
        Recipe(model, surface, device, dtype),
        DataOptions(data, None, split, limit, sample, seed),
        _named(methods, METHODS, "--methods"),
        preset,
        _named(problems, tuple(PROBLEMS), "--problems"),
        None if layers is None else tuple(split_numbers(layers, "--layers")),
        noise,
        moments,
        essence,
        bos,
        seed,
    )
    with one_of_each_kind():
        job = task.job("cpu" if engine is Engine.ray else device)
        console().print(f"{len(job.records)} known facts, {len(job.ids)} edits.")
        run = open_study(out, job)
        trace_study(out, job, windows=traced, samples=samples, shard=shard, retry_errors=retry_errors)
        # Workers on other devices might find other facts known, another noise and other contexts than this process,
        # whose own are in the manifest.
        engines.run(
            run,
            job.rows,
            task.as_found(job),
            chunk_size=job.chunk_size,
            device=device,
            what=WHAT,
        )
        alone = Worker.from_environment(os.environ, shard).world == 1
        done = not run.remaining(Worker(), chunk_size=job.chunk_size)
        show_study(console(), out, window, task.marks, draws=alone or done)


def _named(text: str, known: tuple[str, ...], option: str) -> tuple[str, ...]:
    """The names of an option, each of which there is."""
    names = split_names(text, option)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise CommandError(f"{option} takes some of {', '.join(known)}; got {unknown[0]!r}.")
    return tuple(names)
