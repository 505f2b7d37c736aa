"""Evaluations in a folder that survives an interruption."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lens_rome._installed import versions
from lens_rome._warnings import warn_caller
from lens_rome.errors import EditError, FileFormatError, RunError
from lens_rome.evaluation.job import Evaluation
from lens_rome.evaluation.report import EvalReport
from lens_rome.evaluation.row_lines import AnyRow, from_line
from lens_rome.evaluation.rows import PromptScore, RecordCase, RecordTexts
from lens_rome.runs import Run, Worker, execute

RUN_KIND = "evaluation"
WHAT = "records"
"""What ids are called in messages."""


class UnfinishedRunWarning(UserWarning):
    """A report has not all records of its run: some are not done yet, or failed."""


def open_run(folder: str | Path, job: Evaluation, label: str = "", chunk_size: int = 32) -> Run:
    """The run of an evaluation, new or to go on with.

    Raises:
        RunError: the folder holds a run of another model, other records or other settings; nothing is written then.
    """
    about = versions() | ({"label": label} if label else {})
    return Run.open(folder, RUN_KIND, job.settings(chunk_size), ids=job.ids, created_by=about, what=WHAT)


def check_ways(out: str | Path | None, chunk_size: object, shard: str | None, retry_errors: bool) -> None:
    """`EditError` for ways of running that do not go together."""
    if isinstance(chunk_size, bool) or not isinstance(chunk_size, int) or chunk_size < 1:
        raise EditError(f"chunk_size must be a whole number from 1 up, got {chunk_size!r}.")
    if out is None and shard is not None:
        raise EditError(f"shard={shard!r} is a share of a run in a folder; pass out=, the same for all shares.")
    if out is None and retry_errors:
        raise EditError("retry_errors=True tries again what failed in a run's folder; pass out=.")


def work_on(
    run: Run, job: Evaluation, *, chunk_size: int, shard: str | None, retry_errors: bool, progress: bool
) -> None:
    """Do this process's share."""
    worker = Worker.from_environment(os.environ, shard)
    execute(
        run,
        job.rows,
        chunk_size=chunk_size,
        worker=worker,
        retry_errors=retry_errors,
        progress=progress,
        what=WHAT,
    )


def is_run(folder: Path) -> bool:
    """Whether a folder is of a run."""
    return (folder / "manifest.json").is_file()


def load_run(folder: str | Path, *, label: str | None = None) -> EvalReport:
    """The report of what a run's folder holds so far, in the order of the records.

    A run of which records are missing or failed gives the report of the others, with an `UnfinishedRunWarning`.

    Args:
        label: None for the one that the run was begun with.

    Raises:
        RunError: no run of an evaluation there, a damaged one, or one in which every record failed.
        FileFormatError: a row that is none of an evaluation.
    """
    run = Run.read(folder, RUN_KIND)
    found, errors = run.rows(), run.errors
    _tell(run, len(found), errors)
    about = dict(run.manifest.created_by)
    begun_as = str(about.pop("label", ""))
    rows = [row for _, row in sorted(map(_read, found.values()), key=lambda pair: pair[0]) for row in row]
    return EvalReport(
        tuple(row for row in rows if isinstance(row, PromptScore)),
        begun_as if label is None else label,
        tuple(row for row in rows if isinstance(row, RecordTexts)),
        dict(run.manifest.settings) | {"versions": about},
        tuple(row for row in rows if isinstance(row, RecordCase)),
    )


def _read(row: Mapping[str, Any]) -> tuple[int, list[AnyRow]]:
    """Place and rows of a record."""
    try:
        return int(row["place"]), [from_line(line) for line in row["rows"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(
            f"the row of {row['id']!r} is not of an evaluation: {error!r}. Delete its line; it is computed again."
        ) from error


def _tell(run: Run, done: int, errors: Mapping[str, str]) -> None:
    """Say what is missing."""
    total = run.manifest.n_ids
    left = total - done - len(errors)
    parts = [f"{left} are still to be done (start it again, or wait for its other workers)"] if left else []
    if errors:
        name, error = next(iter(errors.items()))
        parts.append(
            f"{len(errors)} failed, the first (case {name}) with {error} retry_errors=True tries them again, and "
            "refused='unedited' beside it scores those that the editor refuses without an edit"
        )
    told = f"{run.folder} holds {done} of {total} records: {'; '.join(parts)}."
    if errors and not done and not left:
        raise RunError(told)
    if parts:
        warn_caller(told, UnfinishedRunWarning)
