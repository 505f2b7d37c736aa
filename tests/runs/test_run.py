"""What a run's folder says is done, failed and left, and how the work is shared."""

from pathlib import Path
from typing import Any

import pytest

from lens_rome.errors import RunError
from lens_rome.runs import Run, Worker
from lens_rome.runs.parts import Part
from lens_rome.runs.run import checked_ids
from tests.runs.support import IDS, do, failing_for, open_run, row_of


def add(folder: Path, *rows: dict[str, Any], rank: int = 0) -> None:
    with Part.create(folder, rank) as part:
        part.append(rows)


@pytest.mark.parametrize("world", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("size", [1, 4, 30, 100])
def test_the_workers_shares_are_all_chunks_each_once(tmp_path: Path, world: int, size: int) -> None:
    run = open_run(tmp_path)
    whole = [IDS[start : start + size] for start in range(0, len(IDS), size)]
    shares = [run.chunks(Worker(rank, world), size) for rank in range(world)]
    assert [shares[index % world][index // world] for index in range(len(whole))] == whole
    assert sum(map(len, shares)) == len(whole)
    assert [run.remaining(Worker(rank, world), chunk_size=size) for rank in range(world)] == shares


def test_chunks_keep_their_members_whatever_is_done(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    add(tmp_path, *map(row_of, [IDS[0], *IDS[4:8], IDS[29]]))
    left = run.remaining(Worker(), chunk_size=4)
    assert left == [IDS[1:4], *[IDS[start : start + 4] for start in range(8, 28, 4)], IDS[28:29]]


def test_a_new_run_has_nothing_and_a_finished_one_nothing_left(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    assert not run.finished and run.rows() == {} and run.done == frozenset() and run.errors == {}
    do(run)
    assert run.finished and run.done == frozenset(IDS) and run.errors == {}
    assert run.remaining(Worker(), chunk_size=4) == []


def test_rows_are_in_the_order_of_the_ids_whoever_wrote_them(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    for rank in (2, 0, 1):
        do(run, rank=rank, world=3)
    assert list(run.rows().items()) == [(key, row_of(key)) for key in IDS]
    assert Run.read(tmp_path, "trace").rows() == run.rows()


def test_errors_are_neither_rows_nor_done_but_finish_a_run(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    do(run, failing_for(IDS[5]))
    assert run.finished and Run.read(tmp_path, "trace").finished
    assert set(run.rows()) == run.done == set(IDS) - {IDS[5]}
    assert run.errors == {IDS[5]: "LookupError: no subject in case 5"}


def test_errors_are_left_out_unless_they_are_to_be_retried(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    do(run, failing_for(IDS[5], IDS[6], IDS[20]))
    assert run.remaining(Worker(), chunk_size=4) == []
    assert run.remaining(Worker(), chunk_size=4, retry_errors=True) == [IDS[5:7], [IDS[20]]]
    assert run.remaining(Worker(1, 2), chunk_size=4, retry_errors=True) == [IDS[5:7], [IDS[20]]]
    assert run.remaining(Worker(0, 2), chunk_size=4, retry_errors=True) == []


@pytest.mark.parametrize("error_first", [True, False])
def test_a_success_beats_an_error_without_a_warning(tmp_path: Path, error_first: bool) -> None:
    run = open_run(tmp_path)
    rows = [{"id": IDS[3], "error": "OSError: x"}, row_of(IDS[3])]
    add(tmp_path, *(rows if error_first else rows[::-1]))
    assert run.rows() == {IDS[3]: row_of(IDS[3])} and run.errors == {}


def test_of_two_errors_the_last_is_told(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    for text in ("first", "second"):
        add(tmp_path, {"id": IDS[3], "error": text})
    assert run.errors == {IDS[3]: "second"}


def test_repeated_rows_are_counted_in_a_warning_and_the_first_is_kept(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    add(tmp_path, {**row_of(IDS[0]), "score": 2.0}, row_of(IDS[1]), rank=1)
    add(tmp_path, {**row_of(IDS[0]), "score": 1.0}, row_of(IDS[2]), rank=0)
    add(tmp_path, row_of(IDS[1]), row_of(IDS[0]), rank=2)
    with pytest.warns(UserWarning, match="3 rows in .* the first of each is kept. .* give each its own") as caught:
        rows = run.rows()
    assert len(caught) == 1
    assert list(rows) == IDS[:3] and rows[IDS[0]]["score"] == 1.0 and rows[IDS[2]] == row_of(IDS[2])


def test_rows_of_other_workers_are_seen_without_opening_again(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    do(open_run(tmp_path), rank=0, world=2)
    assert len(run.rows()) == 16


def test_rows_of_ids_that_are_not_of_the_run_are_refused(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    add(tmp_path, row_of("stranger"))
    with pytest.raises(RunError, match=r"1 ids that are not of this run, such as 'stranger'. Take the files away"):
        run.rows()


def test_a_run_that_was_opened_to_be_read_cannot_be_continued(tmp_path: Path) -> None:
    open_run(tmp_path)
    with pytest.raises(RunError, match=r"opened to be read. Use Run.open"):
        Run.read(tmp_path, "trace").remaining(Worker(), chunk_size=4)


@pytest.mark.parametrize("size", [0, -1])
def test_a_chunk_of_nothing_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(RunError, match="chunk_size must be a whole number from 1 up"):
        open_run(tmp_path).remaining(Worker(), chunk_size=size)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "at least one id"),
        (["a", "b", "a"], "'a' is there 2 times. Leave the repeats out"),
        (["a", 7], r"list of texts, got 7. Use str"),
        ("abc", "list of texts, got 'abc'"),
    ],
)
def test_ids_that_cannot_name_rows_are_refused(ids: Any, message: str) -> None:
    with pytest.raises(RunError, match=message):
        checked_ids(ids)


def test_bad_ids_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="'a' is there 2 times"):
        open_run(tmp_path / "run", ["a", "a"])
    assert list(tmp_path.iterdir()) == []
