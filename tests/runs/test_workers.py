"""Which share a process does, from an option or from what a launcher set."""

import pytest

from lens_rome.errors import RunError
from lens_rome.runs import Worker


def array(task: int, first: int, count: int, step: int = 1) -> dict[str, str]:
    """What SLURM sets for one task of an evenly spaced array."""
    values = {"ID": task, "MIN": first, "COUNT": count, "STEP": step, "MAX": first + step * (count - 1)}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


SRUN = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "2", "SLURM_NTASKS": "5"}
TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}


@pytest.mark.parametrize(
    ("environ", "worker"),
    [
        ({}, Worker(0, 1)),
        ({"RANK": "", "WORLD_SIZE": "", "HOME": "x"}, Worker(0, 1)),
        (TORCHRUN, Worker(3, 4)),
        (array(0, 0, 8), Worker(0, 8)),
        (array(8, 1, 8), Worker(7, 8)),
        (array(14, 10, 4, step=4), Worker(1, 4)),
        (array(3, 3, 1), Worker(0, 1)),
        ({"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "3"}, Worker(1, 3)),
        (SRUN, Worker(2, 5)),
        ({**array(1, 0, 2), **SRUN}, Worker(1, 2)),
        ({**array(1, 0, 2), **SRUN, **TORCHRUN}, Worker(3, 4)),
    ],
)
def test_the_first_launcher_that_is_there_decides(environ: dict[str, str], worker: Worker) -> None:
    assert Worker.from_environment(environ) == worker


def test_a_batch_script_that_runs_once_does_everything_whatever_its_number_of_tasks() -> None:
    assert Worker.from_environment({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}) == Worker(0, 1)


def test_a_shard_is_counted_from_one_and_beats_every_launcher() -> None:
    assert Worker.from_environment(TORCHRUN, "3/8") == Worker(2, 8)
    assert [Worker.from_shard(f"{n}/3") for n in (1, 2, 3)] == [Worker(n, 3) for n in range(3)]


@pytest.mark.parametrize("shard", ["", "3", "0/8", "9/8", "1/0", "a/b", "-1/8", "1/8/9", "1.5/8", "3/", "²/3", " 1/2"])
def test_a_shard_of_another_form_is_refused(shard: str) -> None:
    with pytest.raises(RunError, match="not of the form '3/8'"):
        Worker.from_environment({}, shard)


@pytest.mark.parametrize(("rank", "world"), [(-1, 2), (2, 2), (0, 0), (0, -1)])
def test_a_worker_that_does_not_exist_is_refused(rank: int, world: int) -> None:
    with pytest.raises(RunError, match="ranks go from 0"):
        Worker(rank, world)


def test_a_rank_beyond_the_world_is_refused() -> None:
    with pytest.raises(RunError, match="no worker 4 among 4"):
        Worker.from_environment({"RANK": "4", "WORLD_SIZE": "4"})


@pytest.mark.parametrize("missing", ["RANK", "WORLD_SIZE"])
def test_half_of_a_launcher_is_refused_rather_than_every_process_doing_everything(missing: str) -> None:
    environ = {name: value for name, value in TORCHRUN.items() if name != missing}
    with pytest.raises(RunError, match=f"{missing} is not set, although .* pass a shard"):
        Worker.from_environment(environ)


@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE"])
@pytest.mark.parametrize("value", ["two", "-1", "1.0", "²"])
def test_a_variable_that_is_no_number_is_refused(name: str, value: str) -> None:
    with pytest.raises(RunError, match=f"{name} is '{value}', not a whole number.* pass a shard"):
        Worker.from_environment({**TORCHRUN, name: value})


@pytest.mark.parametrize("task", [0, 2, 3])
def test_an_array_of_listed_tasks_is_refused_in_every_task(task: int) -> None:
    listed = {**array(task, 0, 3), "SLURM_ARRAY_TASK_MAX": "3"}  # --array=0,2,3
    with pytest.raises(RunError, match="not evenly spaced"):
        Worker.from_environment(listed)


@pytest.mark.parametrize("environ", [array(9, 0, 8), array(5, 0, 8, step=2), array(0, 0, 8, step=0), array(0, 1, 8)])
def test_a_task_outside_its_array_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(RunError, match="Use --array=0-7"):
        Worker.from_environment(environ)


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_every_worker_of_every_launcher_is_there_exactly_once(world: int) -> None:
    everyone = [Worker(rank, world) for rank in range(world)]
    torchrun = [{"RANK": str(rank), "WORLD_SIZE": str(world)} for rank in range(world)]
    srun = [{**SRUN, "SLURM_PROCID": str(rank), "SLURM_NTASKS": str(world)} for rank in range(world)]
    arrays = [array(5 + 3 * rank, 5, world, step=3) for rank in range(world)]
    for launcher in (torchrun, srun, arrays):
        assert [Worker.from_environment(environ) for environ in launcher] == everyone
