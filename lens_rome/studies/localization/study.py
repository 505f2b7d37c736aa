"""`localization`: the whole study in a folder that survives an interruption, and the reading of it."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_rome._installed import versions
from lens_rome._typing import Model
from lens_rome.editing import EditingProblem, editing_problems
from lens_rome.errors import RunError
from lens_rome.evaluation import TextSettings
from lens_rome.evaluation.making import Moments
from lens_rome.facts import EvalRecord
from lens_rome.runs import Run, Worker, execute
from lens_rome.studies.localization.effects import WINDOWS, check_traces, read_effects, skipped, trace_records
from lens_rome.studies.localization.job import LocalizationJob
from lens_rome.studies.localization.methods import Method
from lens_rome.studies.localization.places import RUN_KIND, check_place, check_same_study
from lens_rome.studies.localization.report import LocalizationReport
from lens_rome.studies.localization.scoring import SCORES, CellScores
from lens_rome.surface import as_surface

if TYPE_CHECKING:
    import pandas as pd

WHAT = "edits"
_TRACES, _EDITS = "traces", "edits"


def localization(
    model: Model,
    records: Sequence[EvalRecord],
    methods: Sequence[Method],
    *,
    out: str | Path,
    noise: float,
    moments: Moments = None,
    problems: Sequence[EditingProblem] | None = None,
    layers: Sequence[int] | None = None,
    windows: Sequence[int] = WINDOWS,
    samples: int = 10,
    essence: bool = True,
    seed: int = 0,
    shard: str | None = None,
    retry_errors: bool = False,
    progress: bool = True,
) -> LocalizationReport:
    """Does tracing tell where to edit? Trace every record, edit it by every method at every layer for every problem,
    and score the edits (Hase et al., https://arxiv.org/abs/2301.04213).

    Every record is edited by itself in the unedited model, which comes back bit for bit. What the unedited model says
    to a prompt is asked once for all methods, layers and problems. A stop at any moment costs the chunk in progress;
    the same call goes on, and several processes may share one folder.

    Args:
        records: which the model should know, see `known_records`.
        methods: as of `study_methods`.
        out: the folder; made if it does not exist.
        noise: standard deviation on the subject's embeddings: of the traces, tracing reversal and fact forcing.
        moments: for ROME and MEMIT.
        problems: None for all five.
        layers: at which every method is put; None for all.
        windows: of the traces; zeroing has 5.
        samples: noise samples of a trace.
        essence: score too how likely the unedited model's texts about the subject remain; takes about a third of the
            time of cheap methods.
        seed: of the essence texts.
        shard: this process's share, such as `"2/8"`; None to take it from torchrun's or SLURM's environment.
        retry_errors: try traces and edits again that failed in an earlier call.
        progress: show a progress bar.

    Returns:
        What is there so far, other processes' share included.

    Raises:
        EditError: nothing to study, a record without true object, something named twice, a layer that does not exist,
            windows, samples or noise that are none.
        RunError: the folder is of another study; nothing is written then. Or the first edits all fail.
        MomentError: ROME or MEMIT is put at a layer without a moment, or with one of another model; nothing is traced.
        TraceError: as `trace_facts`.
    """
    check_traces(windows, samples)
    check_place(out)
    job = study_job(
        model, records, methods, noise=noise, moments=moments, problems=problems, layers=layers, essence=essence,
        seed=seed,
    )  # fmt: skip
    run = open_study(out, job)
    trace_study(out, job, windows=windows, samples=samples, shard=shard, retry_errors=retry_errors, progress=progress)
    worker = Worker.from_environment(os.environ, shard)
    execute(
        run,
        job.rows,
        chunk_size=job.chunk_size,
        worker=worker,
        retry_errors=retry_errors,
        progress=progress,
        what=WHAT,
    )
    return load_localization(out)


def study_job(
    model: Model,
    records: Sequence[EvalRecord],
    methods: Sequence[Method],
    *,
    noise: float,
    moments: Moments = None,
    problems: Sequence[EditingProblem] | None = None,
    layers: Sequence[int] | None = None,
    essence: bool = True,
    seed: int = 0,
) -> LocalizationJob:
    """The edits of `localization` with these arguments. Raises as that."""
    every = range(as_surface(model).n_layers) if layers is None else layers
    asked = editing_problems(noise) if problems is None else problems
    texts = TextSettings(seed=seed) if essence else None
    return LocalizationJob(model, list(records), list(asked), list(methods), list(every), noise, moments, texts)


def open_study(out: str | Path, job: LocalizationJob) -> Run:
    """The run of the edits in the folder of a study, new or to go on with.

    Raises:
        RunError: as `check_place` and `Run.open`.
    """
    check_place(out)
    edits = Path(out) / _EDITS
    settings = job.settings()
    check_same_study(edits, settings)
    _make(Path(out))
    return Run.open(edits, RUN_KIND, settings, ids=job.ids, created_by=versions(), what=WHAT)


def trace_study(
    out: str | Path,
    job: LocalizationJob,
    *,
    windows: Sequence[int] = WINDOWS,
    samples: int = 10,
    shard: str | None = None,
    retry_errors: bool = False,
    progress: bool = True,
) -> None:
    """This process's share of the traces. Raises as `trace_records`."""
    folder = Path(out) / _TRACES
    _make(folder)
    trace_records(
        job.model,
        job.records,
        folder,
        noise=job.noise,
        windows=windows,
        samples=samples,
        prepend_bos=job.prepend_bos,
        shard=shard,
        retry_errors=retry_errors,
        progress=progress,
    )


def load_localization(folder: str | Path, *, clipped: bool = True) -> LocalizationReport:
    """What the folder of a study holds so far. No model is needed.

    Args:
        clipped: rewrite and paraphrase scores are never below 0, as in the released code.

    Raises:
        RunError: no study there, or a damaged one.  EditError: no traces there.
    """
    path = Path(folder)
    run = Run.read(path / _EDITS, RUN_KIND)
    settings = dict(run.manifest.settings)
    rows = [*run.rows().values(), *(_failed(name, error) for name, error in run.errors.items())]
    left = run.manifest.n_ids - len(rows)
    effects = read_effects(path / _TRACES)
    return LocalizationReport(
        _frame(sorted(rows, key=_in_order(settings)), clipped), effects, settings, left, skipped(path / _TRACES)
    )


def _make(folder: Path) -> None:
    """Make a folder, unless it is there.

    Raises:
        RunError: it cannot be made.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder {folder}: {error.strerror}. Name another place.") from error


def _failed(name: str, error: str) -> dict[str, Any]:
    """A row of a cell that failed, with what its id tells."""
    record, problem, method, layer = name.split("|")
    told = {"record": record, "problem": problem, "method": method, "layer": int(layer)}
    return {**told, "missing": f"failed: {error}"}


def _in_order(settings: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], tuple[int, int, int, str]]:
    """Sorts rows by problem and method as the study has them, then by layer and record."""
    problems, methods = list(settings["problems"]), list(settings["widths"])
    return lambda row: (problems.index(row["problem"]), methods.index(row["method"]), row["layer"], row["record"])


def _frame(rows: Sequence[dict[str, Any]], clipped: bool) -> "pd.DataFrame":
    """One row a cell: id, problem, method, layer, the scores, seconds, change, prob_before, prob_after, missing."""
    import pandas as pd

    columns = ("id", "problem", "method", "layer", *SCORES, "seconds", "change", "prob_before", "prob_after", "missing")
    found: list[dict[str, Any]] = []
    for row in rows:
        told = {"id": row["record"], **{name: row[name] for name in ("problem", "method", "layer")}}
        told |= {"missing": row["missing"], "seconds": row.get("seconds"), "change": row.get("change")}
        values = row.get("clipped" if clipped else "scores")
        if values is not None:
            own = CellScores(**{name: float("nan") if value is None else value for name, value in values.items()})
            told |= {name: getattr(own, name) for name in SCORES}
        if row.get("probs"):
            told |= dict(zip(("prob_before", "prob_after"), row["probs"], strict=True))
        found.append(told)
    numbers = [*SCORES, "seconds", "change", "prob_before", "prob_after"]
    return pd.DataFrame(found, columns=list(columns)).astype(dict.fromkeys(numbers, float))
