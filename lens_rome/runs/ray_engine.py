"""`execute_on_ray`: a run on a Ray cluster, where actors pull chunks and this process alone writes rows."""

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from lens_rome.errors import RunError
from lens_rome.runs._crew import Crew, Share
from lens_rome.runs._crew import Task as Task
from lens_rome.runs._progress import bar
from lens_rome.runs._queue import ChunkQueue
from lens_rome.runs.chunk import FirstFailures
from lens_rome.runs.parts import Part, Row
from lens_rome.runs.run import Run
from lens_rome.runs.workers import Worker

_OBJECT_STORE = 200 * 2**20  # bytes of shared memory in a cluster of our own: rows are small
_LOCAL = "local"


class MissingRayError(RunError, ImportError):
    """Ray is not installed."""


def execute_on_ray(
    run: Run,
    task: Task,
    *,
    chunk_size: int,
    workers: int | None = None,
    gpus_each: float | None = None,
    cpus_each: float | None = None,
    address: str | None = None,
    retry_errors: bool = False,
    progress: bool = True,
    what: str = "facts",
) -> None:
    """Compute what the run still lacks on the workers of a Ray cluster, and write it into the run's folder.

    The same chunks as of `execute`, so the same rows; a run may go on with either. Only this process writes, so workers
    need no disk in common, and each finished chunk is on the disk at once. A stop costs at most the chunks in
    progress, one a worker. A chunk whose worker died is given out again, and the worker is started again; one that
    kills two workers is computed id by id, and an id that kills its worker alone gets a row with its `error`.
    Exceptions are treated as by `execute`.

    Args:
        task: called once in each worker; gives the function from ids to rows. Sent pickled: no model may be in it, and
            its module must be one that workers can import.
        chunk_size: ids that are computed together; also what a death costs at most.
        workers: how many; None for one a GPU, or one a machine where `gpus_each` is 0 or nobody has a GPU.
        gpus_each: GPUs of a worker, also a fraction; None for 1 where the cluster has any.
        cpus_each: CPU cores of a worker, also its threads; None for an equal share of what there is.
        address: of a cluster, such as `"auto"` or `"10.0.0.5:6379"`. None for the one this process is connected to, or
            else that of the variable RAY_ADDRESS, or else a local one that is shut down at the end.
        retry_errors: compute the ids again that failed in earlier starts.
        progress: show a progress bar on stderr.
        what: what the ids are called there.

    Raises:
        MissingRayError: Ray is not installed.
        RunError: as of `execute`; the cluster cannot be reached or has no room for a worker; the task cannot be sent or
            started; or workers die time and again.
    """
    everything = Worker()
    remaining = run.remaining(everything, chunk_size=chunk_size, retry_errors=retry_errors)
    if not remaining:
        return
    total = sum(map(len, run.chunks(everything, chunk_size)))
    done = total - sum(map(len, remaining))
    first = FirstFailures(remaining, what)
    with _connected(address) as ray:
        share = _share(ray, workers, gpus_each, cpus_each, len(remaining))
        workers_of = f"{share.workers} workers on Ray" if share.workers > 1 else "on Ray"
        with (
            Crew(ray, task, share) as crew,
            Part.create(run.folder, 0) as part,
            bar(what, done, total, share=workers_of, shown=progress) as advance,
        ):
            try:
                for rows in _computed(crew, ChunkQueue(remaining)):
                    part.append(rows)
                    advance(len(rows))
                    first.add(rows)
            except KeyboardInterrupt:
                part.append(list(crew.finished()))
                raise


def _computed(crew: Crew, queue: ChunkQueue) -> Iterator[list[Row]]:
    """The rows of all chunks as they come, until there are none left.

    Raises:
        RunError: a worker says that the program is wrong; after its rows.
    """
    while queue or crew.busy:
        crew.hand_out(queue)
        for item, answer in crew.wait():
            if answer is not None:
                yield list(answer.rows)
                if answer.failure is not None:
                    raise RunError(answer.failure)
            elif rows := queue.died(item):
                yield rows


@contextmanager
def _connected(address: str | None) -> Iterator[ModuleType]:
    """Ray, connected to a cluster; what was connected before stays so, what was not is not afterwards."""
    ray = _imported()
    if ray.is_initialized():
        if address is not None:
            raise RunError(
                f"this process is connected to a Ray cluster already, asked was for {address!r}. Leave out the "
                "address, or call ray.shutdown() first."
            )
        yield ray
        return
    try:
        _connect(ray, address or os.environ.get("RAY_ADDRESS") or _LOCAL)
        yield ray
    finally:
        ray.shutdown()


def _imported() -> ModuleType:
    try:
        return import_module("ray")
    except ImportError as error:
        raise MissingRayError(
            f"the engine 'ray' needs Ray, which cannot be imported ({error}). Run: pip install 'lens_rome[ray]'"
        ) from error


def _connect(ray: ModuleType, address: str) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address != _LOCAL:
            ray.init(address, **quiet)
            return
        with _variable("RAY_USAGE_STATS_ENABLED", "0"):  # nothing is sent to anyone
            ray.init(_LOCAL, include_dashboard=False, object_store_memory=_OBJECT_STORE, **quiet)
    except Exception as error:  # whatever Ray's services raise
        if address == _LOCAL:
            raise RunError(f"cannot start Ray on this machine: {error}. Its logs are in /tmp/ray.") from error
        # Ray looks for a token by itself with `auto` only, so that no stranger is sent one, and does not say so.
        raise RunError(
            f"cannot connect to the Ray cluster at {address!r}: {error}. This machine must be one of the cluster's: "
            "see `ray status`. If it asks for a token, start this process with RAY_AUTH_MODE=token and the token "
            "(~/.ray/auth_token or RAY_AUTH_TOKEN)."
        ) from error


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """An environment variable for the time of a block."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _share(ray: ModuleType, workers: int | None, gpus: float | None, cpus: float | None, chunks: int) -> Share:
    """What each worker takes.

    Raises:
        RunError: no machine of the cluster has that much, or numbers that make no sense.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    all_cpus, all_gpus = (_sum(node.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU"))
    if (workers is not None and workers < 1) or (gpus is not None and gpus < 0) or (cpus is not None and cpus < 0):
        raise RunError(
            f"workers must be a whole number from 1 up and shares not negative, got workers={workers}, "
            f"gpus_each={gpus}, cpus_each={cpus}."
        )
    if gpus is None:
        gpus = 1.0 if all_gpus else 0.0
    if workers is None:
        workers = max(1, int(all_gpus / gpus) if gpus else sum("CPU" in node for node in nodes))
    if cpus is None:
        each = all_cpus / workers
        cpus = float(math.floor(each)) if each >= 1 else math.floor(each * 1000) / 1000
        cpus = min(cpus, max(node.get("CPU", 0.0) for node in nodes))
    if not any(node.get("CPU", 0.0) >= cpus and node.get("GPU", 0.0) >= gpus for node in nodes):
        raise RunError(
            f"no machine of the Ray cluster has {cpus:g} CPUs and {gpus:g} GPUs for a worker; all {len(nodes)} "
            f"together have {all_cpus:g} and {all_gpus:g}. Ask for less of each."
        )
    return Share(min(workers, chunks), cpus, gpus)


def _sum(numbers: Iterable[float]) -> float:
    return float(sum(numbers))
