"""Which share of a run this process does. Launchers (torchrun, accelerate, SLURM) are only read, never talked to."""

from collections.abc import Mapping
from dataclasses import dataclass

from lens_rome.errors import RunError


@dataclass(frozen=True)
class Worker:
    """Number `rank` (from 0) of `world` workers."""

    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise RunError(
                f"there is no worker {self.rank} among {self.world}: ranks go from 0 to the number of workers less one."
            )

    @classmethod
    def from_shard(cls, shard: str) -> "Worker":
        """The worker that people call `"3/8"`: the third of eight.

        >>> Worker.from_shard("3/8")
        Worker(rank=2, world=8)

        Raises:
            RunError: not two whole numbers, or the first is not from 1 to the second.
        """
        first, _, second = shard.partition("/")
        if not (_is_count(first) and _is_count(second) and 1 <= int(first) <= int(second)):
            raise RunError(f"shard {shard!r} is not of the form '3/8' (shard 3 of 8, from '1/8' to '8/8').")
        return cls(int(first) - 1, int(second))

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], shard: str | None = None) -> "Worker":
        """The share that was asked for or that a launcher gave: the first of these that is there.

        1. `shard`, such as `"3/8"`;
        2. `RANK` and `WORLD_SIZE` (torchrun, accelerate);
        3. a SLURM array, `SLURM_ARRAY_TASK_ID` with `_MIN`, `_COUNT` and `_STEP`;
        4. a SLURM step, `SLURM_PROCID` and `SLURM_NTASKS`. Only under `srun`, which sets `SLURM_STEP_ID`: a batch
           script has the same two variables, although it runs once, whatever its number of tasks;
        5. everything, `Worker(0, 1)`.

        Args:
            environ: the process's variables, `os.environ`. Empty ones count as not set.

        Raises:
            RunError: a variable is missing or not a number, or the array's tasks are not evenly spaced.
        """
        if shard is not None:
            return cls.from_shard(shard)
        if environ.get("RANK") or environ.get("WORLD_SIZE"):
            return cls(_number(environ, "RANK"), _number(environ, "WORLD_SIZE"))
        if environ.get("SLURM_ARRAY_TASK_ID"):
            return cls._of_array(environ)
        if environ.get("SLURM_PROCID") and environ.get("SLURM_STEP_ID"):
            return cls(_number(environ, "SLURM_PROCID"), _number(environ, "SLURM_NTASKS"))
        return cls()

    @classmethod
    def _of_array(cls, environ: Mapping[str, str]) -> "Worker":
        task, first, count = (_number(environ, f"SLURM_ARRAY_TASK_{name}") for name in ("ID", "MIN", "COUNT"))
        step = _number(environ, "SLURM_ARRAY_TASK_STEP", default=1)
        last = _number(environ, "SLURM_ARRAY_TASK_MAX", default=first + (count - 1) * step)
        rank, rest = divmod(task - first, step) if step else (0, 1)
        # A list such as --array=0,2,3 has no step; guessing a rank from it would leave a share undone.
        if rest or last != first + (count - 1) * step or not 0 <= rank < count:
            raise RunError(
                f"task {task} of a SLURM array of {count} tasks from {first} to {last} in steps of {step}: they are "
                "not evenly spaced, so shares cannot be told. Use --array=0-7, or pass a shard such as '3/8'."
            )
        return cls(rank, count)


def _number(environ: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environ.get(name, "")
    if not text and default is not None:
        return default
    if not _is_count(text):
        found = f"is {text!r}, not a whole number" if text else "is not set, although its companions are"
        raise RunError(f"the environment variable {name} {found}. Mend or unset it, or pass a shard such as '3/8'.")
    return int(text)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit()
