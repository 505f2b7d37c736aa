"""A worker's share, done chunk by chunk: what is kept, what is tried again, what stops."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lens_rome.errors import RunError
from lens_rome.runs import Run, Worker, execute
from tests.runs.support import IDS, Compute, compute, do, failing_for, lines, open_run, row_of


class Recorded:
    """A function that remembers the ids it was asked for."""

    def __init__(self, function: Compute = compute) -> None:
        self.function, self.calls = function, []

    def __call__(self, ids: list[str]) -> Iterator[dict[str, Any]]:
        self.calls.append(list(ids))
        yield from self.function(ids)


def test_every_id_is_computed_once_in_its_chunk_and_written(tmp_path: Path) -> None:
    run, function = open_run(tmp_path), Recorded()
    do(run, function)
    assert function.calls == [IDS[start : start + 4] for start in range(0, 30, 4)]
    assert [json.loads(line) for line in lines(tmp_path)] == [row_of(key) for key in IDS]


def test_a_second_start_computes_nothing_and_makes_no_file(tmp_path: Path) -> None:
    run, function = open_run(tmp_path), Recorded()
    do(run)
    before = sorted(tmp_path.iterdir())
    do(run, function)
    assert function.calls == [] and sorted(tmp_path.iterdir()) == before


def test_a_chunk_is_on_the_disk_before_the_next_begins(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    seen = []

    def counting(ids: list[str]) -> Iterator[dict[str, Any]]:
        seen.append(len(run.done))
        yield from compute(ids)

    do(run, counting)
    assert seen == list(range(0, 30, 4))


def test_rows_may_come_in_any_order_and_as_a_list(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    do(run, lambda ids: [row_of(key) for key in reversed(ids)])
    assert list(run.rows()) == IDS


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_the_finished_rows_of_a_chunk_survive_an_interruption(tmp_path: Path, stop: type[BaseException]) -> None:
    run = open_run(tmp_path)

    def interrupted(ids: list[str]) -> Iterator[dict[str, Any]]:
        for key in ids:
            if key == IDS[6]:
                raise stop
            yield row_of(key)

    with pytest.raises(stop):
        do(run, interrupted)
    assert list(run.rows()) == IDS[:6] and run.errors == {}
    function = Recorded()
    do(run, function)
    assert function.calls[0] == IDS[6:8] and list(run.rows()) == IDS


def test_the_members_of_a_failing_chunk_are_computed_one_by_one_and_only_the_bad_get_an_error(tmp_path: Path) -> None:
    run, function = open_run(tmp_path), Recorded(failing_for(IDS[5], IDS[7]))
    do(run, function)
    assert function.calls[1:6] == [IDS[4:8], [IDS[5]], [IDS[6]], [IDS[7]], IDS[8:12]]
    assert run.errors == {key: f"LookupError: no subject in {key}" for key in (IDS[5], IDS[7])}
    assert run.done == set(IDS) - {IDS[5], IDS[7]} and len(lines(tmp_path)) == 30


def test_what_fails_only_together_succeeds_alone(tmp_path: Path) -> None:
    run = open_run(tmp_path)

    def out_of_memory(ids: list[str]) -> list[dict[str, Any]]:
        if len(ids) > 1:
            raise MemoryError("too many")
        return [row_of(ids[0])]

    do(run, out_of_memory)
    assert run.rows() == {key: row_of(key) for key in IDS} and run.errors == {}


def test_an_id_that_is_a_chunk_of_its_own_is_not_computed_twice(tmp_path: Path) -> None:
    run, function = open_run(tmp_path), Recorded(failing_for(IDS[5]))
    do(run, function, size=1)
    assert function.calls == [[key] for key in IDS] and list(run.errors) == [IDS[5]]


def test_errors_are_tried_again_only_if_asked_for(tmp_path: Path) -> None:
    run, function = open_run(tmp_path), Recorded()
    do(run, failing_for(IDS[5]))
    do(run, function)
    assert function.calls == []
    do(run, function, retry_errors=True)
    assert function.calls == [[IDS[5]]] and run.errors == {} and list(run.rows()) == IDS


def test_an_exception_after_the_last_row_is_not_swallowed(tmp_path: Path) -> None:
    run = open_run(tmp_path)

    def late(ids: list[str]) -> Iterator[dict[str, Any]]:
        yield from compute(ids)
        raise OSError("cleaning up failed")

    with pytest.raises(OSError, match="cleaning up failed"):
        do(run, late)
    assert list(run.rows()) == IDS[:4]


@pytest.mark.parametrize("value", [math.nan, {1}, object()], ids=lambda value: type(value).__name__)
def test_a_row_that_json_cannot_hold_is_that_ids_error(tmp_path: Path, value: object) -> None:
    run = open_run(tmp_path)
    do(run, lambda ids: [{**row_of(key), "score": value if key == IDS[2] else 1.0} for key in ids])
    assert list(run.errors) == [IDS[2]] and "JSON" in run.errors[IDS[2]] and len(run.rows()) == 29


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda ids: [row_of(key) for key in ids[1:]], r"gave none for \['case 0'\]. It must give one row"),
        (lambda ids: [row_of(key) for key in [*ids, ids[0]]], "gave one of id 'case 0' that is a second one"),
        (lambda _: [row_of("other")], r"gave one of id 'other' that .* not asked for \(\['case 0', "),
        (lambda _: [{"score": 1.0}], "gave one of id None"),
        (lambda _: [{"id": ["case 0"]}], r"gave one of id \['case 0'\]"),
    ],
)
def test_a_function_that_gives_other_rows_than_it_was_asked_for_stops_the_run(
    tmp_path: Path, give: Compute, message: str
) -> None:
    run = open_run(tmp_path)
    with pytest.raises(RunError, match=message):
        do(run, give)
    assert run.errors == {}  # a mistake of the program, not of an id


def test_a_broken_setup_stops_after_three_chunks_and_shows_the_first_error(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    with pytest.raises(
        RunError,
        match=r"all 12 facts of the first 3 chunks failed, the first \('case 0'\) with LookupError: no subject in "
        r"case 0. .* retry_errors=True",
    ):
        do(run, failing_for(*IDS))
    assert list(run.errors) == IDS[:12]
    do(run, retry_errors=True)
    assert list(run.rows()) == IDS and run.errors == {}


def test_one_success_in_the_first_three_chunks_lets_the_run_go_on(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    do(run, failing_for(*IDS[:11], *IDS[12:]))
    assert list(run.rows()) == [IDS[11]] and run.finished


def test_fewer_than_three_chunks_of_failures_are_only_recorded(tmp_path: Path) -> None:
    run = open_run(tmp_path, IDS[:8])
    do(run, failing_for(*IDS))
    assert list(run.errors) == IDS[:8] and run.finished


def test_the_message_counts_what_was_left_of_each_chunk(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    do(run, failing_for(*IDS[1:3]))
    with pytest.raises(RunError, match="all 3 prompts of the first 3 chunks"):
        do(open_run(tmp_path / "other", IDS[:4]), failing_for(*IDS), size=1, what="prompts")


def test_a_world_that_changes_between_starts_leaves_nothing_out(tmp_path: Path) -> None:
    run = open_run(tmp_path)

    def stopped_at(last: str) -> Compute:
        def rows(ids: list[str]) -> Iterator[dict[str, Any]]:
            for key in ids:
                if key == last:
                    raise KeyboardInterrupt
                yield row_of(key)

        return rows

    for rank, world, last in [(0, 2, IDS[9]), (1, 2, IDS[21]), (2, 5, IDS[10]), (0, 3, IDS[26])]:
        with pytest.raises(KeyboardInterrupt):
            do(run, stopped_at(last), rank=rank, world=world)
    for rank in range(4):
        do(run, rank=rank, world=4)
    assert list(run.rows()) == IDS and len(lines(tmp_path)) == 30  # and nothing was done twice


def test_a_run_that_was_opened_to_be_read_is_not_written_to(tmp_path: Path) -> None:
    open_run(tmp_path)
    with pytest.raises(RunError, match="opened to be read"):
        do(Run.read(tmp_path, "trace"))
    assert len(list(tmp_path.iterdir())) == 1


def test_the_progress_bar_is_on_stderr_only_if_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    do(open_run(tmp_path / "quiet"))
    assert capsys.readouterr() == ("", "")
    execute(open_run(tmp_path / "loud"), compute, chunk_size=4, worker=Worker())
    assert capsys.readouterr().out == ""


def test_the_progress_bar_counts_what_was_done_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = open_run(tmp_path)
    do(run, failing_for(IDS[3]), rank=0, world=2)
    bars: list[Any] = []
    module = __import__("lens_rome.runs._progress", fromlist=["Progress"])

    class Bar(module.Progress):
        def add_task(self, *args: Any, **kwargs: Any) -> Any:
            bars.append(self)
            return super().add_task(*args, **kwargs)

    monkeypatch.setattr(module, "Progress", Bar)
    execute(run, compute, chunk_size=3, worker=Worker(1, 2), progress=True, what="facts")
    (task,) = bars[0].tasks
    assert (task.total, task.completed) == (15, 15)
    assert "facts: {task.completed:.0f} of {task.total:.0f} (worker 2 of 2)" in bars[0].columns[0].text_format
