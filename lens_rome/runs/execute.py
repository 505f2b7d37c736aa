"""Do a worker's share of a run: chunk by chunk, every chunk on the disk before the next begins."""

from lens_rome.runs._progress import bar
from lens_rome.runs.chunk import Compute as Compute
from lens_rome.runs.chunk import FirstFailures, fill
from lens_rome.runs.parts import Part, Row
from lens_rome.runs.run import Run
from lens_rome.runs.workers import Worker


def execute(
    run: Run,
    compute: Compute,
    *,
    chunk_size: int,
    worker: Worker,
    retry_errors: bool = False,
    progress: bool = True,
    what: str = "facts",
) -> None:
    """Compute what the worker's share still lacks, and write it into the run's folder.

    A stop at any moment, also a kill, costs at most the chunk in progress; on Ctrl-C its finished rows are kept too. If
    `compute` raises, the chunk's other ids are computed one by one, and those that fail alone too get a row with their
    `error`. They are not tried again unless `retry_errors`.

    Args:
        compute: called with the ids of one chunk, fewer where some are done.
        chunk_size: ids that are computed together; also what is lost at most.
        retry_errors: compute the ids again that failed in earlier starts.
        progress: show a progress bar on stderr.
        what: what the ids are called there.

    Raises:
        RunError: every id of the first three chunks fails; `compute` gives other rows than it was asked for; or the
            folder cannot be written to.
    """
    remaining = run.remaining(worker, chunk_size=chunk_size, retry_errors=retry_errors)
    if not remaining:
        return
    total = sum(map(len, run.chunks(worker, chunk_size)))
    done = total - sum(map(len, remaining))
    share = f"worker {worker.rank + 1} of {worker.world}" if worker.world > 1 else ""
    first = FirstFailures(remaining, what)
    with (
        Part.create(run.folder, worker.rank) as part,
        bar(what, done, total, share=share, shown=progress) as advance,
    ):
        for ids in remaining:
            rows: dict[str, Row] = {}
            try:
                fill(rows, compute, ids, lambda: advance(1))
            finally:
                part.append(list(rows.values()))
            first.add(rows.values())
