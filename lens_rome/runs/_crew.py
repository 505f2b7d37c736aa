"""The Ray actors of a run: started, given chunks, and started again when they die. Ray is handed in, never imported."""

import os
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from lens_rome.errors import RunError
from lens_rome.runs._queue import ChunkQueue, Item
from lens_rome.runs.chunk import Compute, fill
from lens_rome.runs.parts import Row

Task = Callable[[], Compute]
"""Called once in each worker: loads what is needed and gives the function from ids to rows. Must be picklable."""

_STARTS = 3  # of one worker in a row that fail before it is given up
_DEATHS = 20, 3  # in a row without a single row: so many, and so many more for each worker, end the run
_PATIENCE = 1800.0  # seconds without any worker that has started: long enough to load a large model
_LOOK = 1.0  # seconds between two looks at the clock


@dataclass(frozen=True)
class Share:
    """How many actors there are, and what each of them takes of the cluster."""

    workers: int
    cpus: float
    gpus: float


@dataclass(frozen=True)
class Answer:
    """What an actor made of a chunk."""

    rows: tuple[Row, ...]
    failure: str | None = None
    """Why the run cannot go on: a mistake of the program, not of an id."""


class Hand:
    """Runs inside an actor. Gives exceptions back as text: not each can be pickled, and none may pass for a death."""

    def __init__(self) -> None:
        self._compute: Compute | None = None

    def start(self, task: Task, folder: Path) -> str | None:
        """Load what the task needs; why it cannot be, if so. Relative paths are of `folder`, where it is there."""
        if folder.is_dir():
            os.chdir(folder)  # `ray start` may have been run in another
        try:
            self._compute = task()
        except Exception as error:
            return _told(error)
        return None

    def answer(self, ids: list[str]) -> Answer:
        """The rows of one chunk."""
        assert self._compute is not None
        rows: dict[str, Row] = {}
        failure = None
        try:
            fill(rows, self._compute, ids, lambda: None)
        except RunError as error:
            failure = str(error)
        except Exception as error:
            failure = _told(error)
        return Answer(tuple(rows.values()), failure)


@dataclass(eq=False)
class _Place:
    """Where one actor after the other works."""

    actor: Any = None
    failed_starts: int = 0
    item: Item | None = None
    """What it was given last."""


class Crew:
    """The actors of a run. Use it in a `with`: its end kills them."""

    def __init__(self, ray: ModuleType, task: Task, share: Share) -> None:
        self._ray, self._share = ray, share
        self._task = _sent(ray, task)
        self._places: list[_Place] = []
        self._idle: list[_Place] = []
        self._starting: dict[Any, _Place] = {}
        self._working: dict[Any, _Place] = {}
        self._deaths = 0  # since the last row
        self._waiting_since = time.monotonic()
        self._reason = "none has started yet"

    def __enter__(self) -> "Crew":
        for _ in range(self._share.workers):
            self._places.append(_Place())
            self._start(self._places[-1])
        return self

    def __exit__(self, *_: object) -> None:
        for place in self._places:
            self._ray.kill(place.actor)

    @property
    def busy(self) -> bool:
        """Whether a chunk is being computed."""
        return bool(self._working)

    def hand_out(self, queue: ChunkQueue) -> None:
        """Give chunks to all actors that have none."""
        while self._idle and queue:
            place = self._idle.pop()
            place.item = queue.take()
            self._working[place.actor.answer.remote(list(place.item.ids))] = place

    def wait(self) -> Iterator[tuple[Item, Answer | None]]:
        """What came about next: chunks with their answers, None where the actor died. May be nothing.

        Raises:
            RunError: the task cannot be started, no actor comes up, or they die and die.
        """
        self._check_alive()
        ready, _ = self._ray.wait([*self._starting, *self._working], num_returns=1, timeout=_LOOK)
        for ref in ready:
            if ref in self._starting:
                self._started(ref)
            else:
                yield self._answered(ref)

    def finished(self) -> Iterator[Row]:
        """The rows of chunks that have been computed and not been asked for, without waiting."""
        if not self._working:
            return
        ready, _ = self._ray.wait(list(self._working), num_returns=len(self._working), timeout=0)
        for ref in ready:
            _, answer = self._answered(ref, again=False)
            if answer is not None:
                yield from answer.rows

    def _start(self, place: _Place) -> None:
        kind: Any = self._ray.remote(Hand)
        place.actor = kind.options(num_cpus=self._share.cpus, num_gpus=self._share.gpus, max_restarts=0).remote()
        self._starting[place.actor.start.remote(self._task, Path.cwd())] = place

    def _started(self, ref: Any) -> None:
        place = self._starting[ref]
        try:
            failure = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            failure = _told(error.cause or error)
        except self._ray.exceptions.RayError as error:
            del self._starting[ref]
            self._lost(place, error)
            place.failed_starts += 1
            if place.failed_starts < _STARTS:
                self._start(place)
            return
        if failure is not None:
            raise RunError(
                f"a worker on Ray could not load what it needs: {failure.rstrip('.')}. Mend that and start again."
            )
        del self._starting[ref]
        place.failed_starts = 0
        self._idle.append(place)

    def _answered(self, ref: Any, again: bool = True) -> tuple[Item, Answer | None]:
        place = self._working[ref]  # taken out once it is known what came of it: Ctrl-C may come in between
        item = place.item
        assert item is not None
        try:
            answer: Answer | None = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            answer = Answer((), _told(error.cause or error))
        except self._ray.exceptions.RayError as error:
            del self._working[ref]
            self._lost(place, error)
            if again:
                self._start(place)
            return item, None
        del self._working[ref]
        self._deaths = 0
        self._idle.append(place)
        return item, answer

    def _lost(self, place: _Place, error: Exception) -> None:
        """The actor is dead, or cannot be reached: then it must not go on."""
        self._ray.kill(place.actor)
        self._deaths += 1
        self._reason = f"the last death: {' '.join(str(error).split())[:300]}"

    def _check_alive(self) -> None:
        if self._idle or self._working:
            self._waiting_since = time.monotonic()
        waited = time.monotonic() - self._waiting_since
        if not (self._starting or self._working):
            why = f"each of {self._share.workers} workers failed to start {_STARTS} times"
        elif self._deaths > _DEATHS[0] + _DEATHS[1] * self._share.workers:
            why = f"{self._deaths} workers died in a row without a single row"
        elif waited > _PATIENCE:
            why = f"no worker has started for {waited:.0f} s (each needs {self._share.cpus:g} CPUs and "
            why += f"{self._share.gpus:g} GPUs)"
        else:
            return
        raise RunError(
            f"gave up on Ray: {why}; {self._reason}. What was done is kept; mend the cause (memory? see `ray "
            "logs`) and start again, with Ray or without."
        )


def _sent(ray: ModuleType, task: Task) -> Any:
    """The task in the cluster's memory, once for all actors."""
    try:
        return ray.put(task)
    except Exception as error:  # TypeError, PicklingError, AttributeError: whatever its parts raise
        raise RunError(
            f"the task cannot be sent to Ray's workers ({_told(error)}). Pass a function or a frozen dataclass of a "
            "module that the workers can import too, which loads the model and does not hold one."
        ) from error


def _told(error: BaseException) -> str:
    return " ".join(traceback.format_exception_only(error)[-1].split())[:2000]
