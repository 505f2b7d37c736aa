"""What the driver of a run on Ray does, with a Ray that is played: deaths, refusals, what each worker takes."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lens_rome.errors import RunError
from lens_rome.runs import MissingRayError, Run, _crew, execute_on_ray, ray_engine
from tests.runs.fake_ray import FakeRay
from tests.runs.support import IDS, Compute, compute, do, failing_for, lines, open_run, row_of

Play = Callable[..., FakeRay]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """`play(dies)`: from now on Ray is a played one."""

    def start(*args: Any, **options: Any) -> FakeRay:
        ray = FakeRay(*args, **options)
        monkeypatch.setattr(ray_engine, "import_module", lambda _: ray)
        return ray

    return start


def on_ray(run: Run, function: Compute = compute, *, size: int = 4, **more: Any) -> None:
    execute_on_ray(run, lambda: function, chunk_size=size, progress=False, **more)


def at(key: str) -> Callable[[str, Any, int], bool]:
    """Whoever computes that id dies."""
    return lambda method, given, _: method == "answer" and key in given


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_rows_are_those_of_a_plain_worker_whatever_the_number_of_workers(
    tmp_path: Path, play: Play, workers: int
) -> None:
    ray, run = play(), open_run(tmp_path)
    on_ray(run, workers=workers)
    assert list(run.rows().items()) == [(key, row_of(key)) for key in IDS] and run.finished
    assert sorted(ids for _, ids in ray.asked) == sorted(tuple(IDS[start : start + 4]) for start in range(0, 30, 4))
    assert [path.name for path in tmp_path.glob("part-*")] == ["part-0000-0001.jsonl"]
    assert ray.made == workers and ray.killed == set(range(workers)) and ray.shut == 1


def test_a_run_goes_on_from_plain_workers_to_ray_and_back(tmp_path: Path, play: Play) -> None:
    ray, run = play(), open_run(tmp_path)
    do(run, rank=1, world=2)
    ray.dies = at(IDS[8])
    on_ray(run, failing_for(IDS[0]))
    assert next(ids for _, ids in ray.asked) == tuple(IDS[:4]) and set(run.errors) == {IDS[0], *IDS[8:9]}
    do(run, retry_errors=True)
    assert list(run.rows()) == IDS and len(lines(tmp_path)) == 32
    on_ray(run)
    assert ray.shut == 1  # nothing was left, so nothing was started


def test_a_chunk_whose_worker_dies_once_is_computed_by_another(tmp_path: Path, play: Play) -> None:
    ray = play(lambda method, given, number: method == "answer" and number == 0 and IDS[4] in given)
    run = open_run(tmp_path)
    on_ray(run, workers=1)
    assert run.finished and run.errors == {} and ray.asked[1] == (1, tuple(IDS[4:8]))
    assert ray.made == 2 and ray.killed == {0, 1} and len(lines(tmp_path)) == 30


def test_a_chunk_that_kills_two_workers_is_computed_id_by_id_and_only_the_bad_get_an_error(
    tmp_path: Path, play: Play
) -> None:
    ray, run = play(at(IDS[5])), open_run(tmp_path)
    on_ray(run, workers=1)
    assert list(run.errors) == [IDS[5]] and run.errors[IDS[5]].startswith("WorkerDied: ")
    assert run.done == set(IDS) - {IDS[5]} and ray.made == 4
    assert [ids for _, ids in ray.asked][1:4] == [(IDS[4],), (IDS[6],), (IDS[7],)]


def test_an_id_that_is_a_chunk_of_its_own_has_two_lives(tmp_path: Path, play: Play) -> None:
    ray, run = play(at(IDS[5])), open_run(tmp_path)
    on_ray(run, size=1, workers=2)
    assert list(run.errors) == [IDS[5]] and ray.made == 4


def test_workers_that_die_at_everything_end_the_run_after_the_first_chunks(tmp_path: Path, play: Play) -> None:
    play(lambda method, *_: method == "answer")
    run = open_run(tmp_path)
    with pytest.raises(RunError, match=r"all 12 facts of the first 3 chunks failed, the first \('case 0'\) with W"):
        on_ray(run, workers=2)
    assert len(run.errors) == 12


def test_workers_that_never_start_end_the_run_and_what_was_done_is_kept(tmp_path: Path, play: Play) -> None:
    ray = play(lambda method, *_: method == "start")
    run = open_run(tmp_path)
    with pytest.raises(RunError, match=r"each of 2 workers failed to start 3 times; the last death: The actor is dead"):
        on_ray(run, workers=2)
    assert ray.made == 6
    ray = play(lambda method, given, number: number > 0 if method == "start" else IDS[8] in given)
    with pytest.raises(RunError, match=r"gave up on Ray: each of 1 workers .* What was done is kept"):
        on_ray(run, workers=1)
    assert list(run.rows()) == IDS[:8] and run.errors == {} and ray.shut == 1


def test_workers_that_start_and_die_without_a_row_are_not_started_for_ever(tmp_path: Path, play: Play) -> None:
    play(lambda method, *_: method == "answer")
    run = open_run(tmp_path, [f"case {number}" for number in range(2000)])
    with pytest.raises(RunError, match="27 workers died in a row without a single row; the last death: The actor"):
        on_ray(run, size=500, workers=2)
    assert 0 < len(run.errors) < 30


def test_a_cluster_without_room_is_not_waited_for_for_ever(
    tmp_path: Path, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_crew, "_PATIENCE", -1.0)
    play(room=0)
    with pytest.raises(RunError, match=r"no worker has started for 0 s \(each needs 1 CPUs and 0 GPUs\); none has sta"):
        on_ray(open_run(tmp_path), workers=2)


def test_a_worker_that_never_comes_up_does_not_hold_up_the_others(tmp_path: Path, play: Play) -> None:
    ray, run = play(room=1), open_run(tmp_path)
    on_ray(run, workers=2)
    assert run.finished and {number for number, _ in ray.asked} == {0} and ray.killed == {0, 1}


def test_exceptions_are_treated_as_by_a_plain_worker(tmp_path: Path, play: Play) -> None:
    play()
    run = open_run(tmp_path)
    on_ray(run, failing_for(IDS[5], IDS[7]))
    assert run.errors == {key: f"LookupError: no subject in {key}" for key in (IDS[5], IDS[7])}
    with pytest.raises(RunError, match="all 12 prompts of the first 3 chunks failed"):
        on_ray(open_run(tmp_path / "other"), failing_for(*IDS), what="prompts")
    with pytest.raises(RunError, match=r"gave none for \['case 0'\]"):
        on_ray(open_run(tmp_path / "wrong"), lambda ids: [row_of(key) for key in ids[1:]])
    assert list(open_run(tmp_path / "wrong").rows()) == IDS[1:4]


def test_a_task_that_cannot_be_loaded_stops_the_run_with_its_error(tmp_path: Path, play: Play) -> None:
    play()

    def broken() -> Compute:
        raise FileNotFoundError("no weights")

    with pytest.raises(RunError, match="could not load what it needs: FileNotFoundError: no weights"):
        execute_on_ray(open_run(tmp_path), broken, chunk_size=4, progress=False)


def test_a_task_that_cannot_be_sent_says_what_a_task_is(
    tmp_path: Path, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(play(), "put", pickle.dumps)
    with pytest.raises(RunError, match=r"cannot be sent to Ray's workers \(.*does not hold one"):
        on_ray(open_run(tmp_path))


def test_ctrl_c_keeps_what_workers_have_finished(tmp_path: Path, play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    ray, run = play(), open_run(tmp_path)
    get, calls = ray.get, []

    def interrupted(ref: Any) -> Any:
        calls.append(ref)
        if len(calls) == 5:  # two starts, two chunks; the third's answer is being fetched
            raise KeyboardInterrupt
        return get(ref)

    monkeypatch.setattr(ray, "get", interrupted)
    with pytest.raises(KeyboardInterrupt):
        on_ray(run, workers=2)
    assert list(run.rows()) == IDS[:16] and run.errors == {} and ray.killed == {0, 1} and ray.shut == 1


@pytest.mark.parametrize(
    ("cluster", "asked", "wanted"),
    [
        ({}, {}, (1, 2.0, 0.0)),
        ({}, {"workers": 2}, (2, 1.0, 0.0)),
        ({}, {"workers": 3}, (3, 0.666, 0.0)),
        ({"cpus": 17.0, "gpus": 4.0}, {}, (4, 4.0, 1.0)),
        ({"cpus": 16.0, "gpus": 4.0}, {"gpus_each": 0.5}, (8, 2.0, 0.5)),
        ({"cpus": 16.0, "gpus": 4.0}, {"gpus_each": 0.0}, (1, 16.0, 0.0)),
        ({"cpus": 16.0}, {"workers": 99, "cpus_each": 1.0}, (8, 1.0, 0.0)),  # no more than there are chunks
    ],
)
def test_a_worker_takes_its_share_of_the_cluster(
    tmp_path: Path, play: Play, cluster: dict[str, float], asked: dict[str, Any], wanted: tuple[int, float, float]
) -> None:
    ray = play(**cluster)
    on_ray(open_run(tmp_path), **asked)
    made = [call[0] for call in ray.calls if "num_cpus" in call[0]]
    assert (len(made), made[0]["num_cpus"], made[0]["num_gpus"]) == wanted


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"gpus_each": 1.0}, "has 2 CPUs and 1 GPUs for a worker; all 1 together have 2 and 0. Ask for less"),
        ({"cpus_each": 3.0}, "no machine of the Ray cluster has 3 CPUs"),
        ({"workers": 0}, "workers must be a whole number from 1 up"),
    ],
)
def test_what_no_machine_has_is_refused(tmp_path: Path, play: Play, asked: dict[str, Any], message: str) -> None:
    ray = play()
    with pytest.raises(RunError, match=message):
        on_ray(open_run(tmp_path), **asked)
    assert ray.made == 0 and not list(tmp_path.glob("part-*"))


def test_a_cluster_of_our_own_is_small_and_sends_nothing_home(
    tmp_path: Path, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray = play()
    on_ray(open_run(tmp_path))
    (address, options), *_ = ray.calls
    assert address == "local" and options["include_dashboard"] is False and options["object_store_memory"] < 2**28


def test_another_cluster_is_connected_to_by_its_address_and_one_of_the_callers_is_left_alone(
    tmp_path: Path, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = play()
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.5:6379")
    on_ray(open_run(tmp_path / "a"), address="auto")
    on_ray(open_run(tmp_path / "b"))
    assert [call[0] for call in ray.calls if isinstance(call[0], str)] == ["auto", "10.0.0.5:6379"] and ray.shut == 2
    ray.up = True
    on_ray(open_run(tmp_path / "c"))
    assert ray.up and ray.shut == 2
    with pytest.raises(RunError, match=r"connected to a Ray cluster already, asked was for 'auto'. Leave out"):
        on_ray(open_run(tmp_path / "d"), address="auto")


def test_a_cluster_that_cannot_be_reached_is_named(tmp_path: Path, play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("nobody there")

    monkeypatch.setattr(play(), "init", refuse)
    with pytest.raises(RunError, match="cannot connect to the Ray cluster at 'somewhere': nobody there"):
        on_ray(open_run(tmp_path), address="somewhere")


def test_without_ray_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingRayError, match=r"pip install 'lens_rome\[ray\]'"):
        on_ray(open_run(tmp_path))
