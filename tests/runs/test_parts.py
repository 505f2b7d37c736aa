"""Append-only files of rows: torn ends are left out, damage is named, nothing is ever written twice into a file."""

import json
import math
import os
from pathlib import Path

import pytest
import torch

from lens_rome.errors import RunError
from lens_rome.runs.parts import Part, encode_row, read_parts
from tests.runs.support import IDS, do, open_run, row_of


def written(folder: Path, count: int = 3, rank: int = 0) -> Path:
    with Part.create(folder, rank) as part:
        part.append([row_of(key) for key in IDS[:count]])
    return part.path


def test_rows_come_back_as_they_were_in_the_order_of_the_names_of_the_parts(tmp_path: Path) -> None:
    assert written(tmp_path, 1, rank=2).name == "part-0002-0001.jsonl"
    assert written(tmp_path, 2, rank=0).name == "part-0000-0001.jsonl"
    assert written(tmp_path, 1, rank=0).name == "part-0000-0002.jsonl"
    assert [row["id"] for row in read_parts(tmp_path)] == [IDS[0], IDS[1], IDS[0], IDS[0]]
    assert list(read_parts(tmp_path))[1] == row_of(IDS[1])


def test_a_part_never_reuses_a_number_even_of_a_part_that_was_deleted_before_the_last(tmp_path: Path) -> None:
    paths = [written(tmp_path) for _ in range(3)]
    paths[0].unlink()
    assert written(tmp_path).name == "part-0000-0004.jsonl"


def test_a_number_that_another_process_takes_at_the_same_moment_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path)
    monkeypatch.setattr(
        Path, "glob", lambda *_: iter(())
    )  # as if the other had not been there when the folder was read
    with Part.create(tmp_path, 0) as part:
        assert part.path.name == "part-0000-0002.jsonl"


def test_a_row_is_one_line_of_strict_json_in_ascii(tmp_path: Path) -> None:
    row = {"id": "Zürich\n\u2028\ud800", "text": "a\r\nb\x00"}
    line = encode_row(row)
    assert line.isascii() and line.count(b"\n") == 1 and b"\r" not in line
    with Part.create(tmp_path, 0) as part:
        part.append([row])
    assert list(read_parts(tmp_path)) == [row]
    for bad in (math.nan, math.inf, torch.zeros(1), {1, 2}):
        with pytest.raises((TypeError, ValueError)):
            encode_row({"id": "a", "x": bad})


def test_the_rows_of_one_append_are_one_write_that_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    write, sync = os.write, os.fsync
    part = Part.create(tmp_path, 0)
    monkeypatch.setattr(os, "write", lambda *a: (calls.append("write"), write(*a))[1])
    monkeypatch.setattr(os, "fsync", lambda *a: (calls.append("sync"), sync(*a))[1])
    part.append([row_of(key) for key in IDS])
    part.append([])
    assert calls == ["write", "sync"]
    part.close()


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data)[:7]))
    written(tmp_path)
    assert [row["id"] for row in read_parts(tmp_path)] == IDS[:3]


def test_a_last_line_torn_at_any_byte_is_left_out_and_computed_again(tmp_path: Path) -> None:
    ids = IDS[:4]
    do(open_run(tmp_path, ids))
    (path,) = tmp_path.glob("part-*")
    whole, rows = path.read_bytes(), open_run(tmp_path, ids).rows()
    start = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(start, len(whole)):
        path.write_bytes(whole[:cut])
        run = open_run(tmp_path, ids)
        assert list(run.rows()) == ids[:3]
        do(run)
        assert run.rows() == rows and run.finished
        assert path.read_bytes() == whole[:cut]  # nothing is appended to a torn line
        (tmp_path / "part-0000-0002.jsonl").unlink()


def test_a_last_line_of_rubbish_is_left_out_although_it_ends_with_a_newline(tmp_path: Path) -> None:
    path = written(tmp_path)
    with path.open("ab") as file:
        file.write(b'{"id":"ca\0\0\0\n')
    assert [row["id"] for row in read_parts(tmp_path)] == IDS[:3]


def test_a_torn_part_in_the_middle_of_the_list_of_parts_hides_no_other(tmp_path: Path) -> None:
    path = written(tmp_path, rank=0)
    path.write_bytes(path.read_bytes()[:-4])
    written(tmp_path, rank=1)
    assert [row["id"] for row in read_parts(tmp_path)] == [*IDS[:2], *IDS[:3]]


@pytest.mark.parametrize("damage", [b"rubbish", b"", b'{"id":"a"', b"\xff\xfe", b'{"id":"a"}{"id":"b"}'])
def test_a_damaged_line_that_is_not_the_last_is_named(tmp_path: Path, damage: bytes) -> None:
    path = written(tmp_path)
    lines = path.read_bytes().splitlines(True)
    path.write_bytes(lines[0] + damage + b"\n" + lines[2])
    with pytest.raises(RunError, match=r"part-0000-0001.jsonl, line 2 is damaged: .*Delete that line"):
        list(read_parts(tmp_path))
    path.write_bytes(lines[0] + lines[2])
    assert len(list(read_parts(tmp_path))) == 2


@pytest.mark.parametrize("row", [[1], "text", None, {}, {"id": 7}, {"score": 1.0}])
def test_a_line_that_is_no_row_is_named_wherever_it_stands(tmp_path: Path, row: object) -> None:
    path = written(tmp_path, 1)
    with path.open("a", encoding="ascii") as file:
        file.write(json.dumps(row) + "\n")
    with pytest.raises(RunError, match="line 2 is damaged: it is not a JSON object with a text 'id'"):
        list(read_parts(tmp_path))


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot write rows to .* Make it writable"):
        Part.create(tmp_path / "missing", 0)


def test_after_a_failed_write_nothing_is_appended_to_what_may_be_a_torn_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 50:
            return write(descriptor, bytes(data)[:50])
        raise OSError(28, "No space left on device")

    with Part.create(tmp_path, 0) as part:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(RunError, match=r"No space left.* Make room"):
                part.append([row_of(IDS[0])])
        with pytest.raises(RunError, match=r"is closed. Open a new part"):
            part.append([row_of(IDS[1])])
    assert list(read_parts(tmp_path)) == []


def test_after_a_ctrl_c_within_a_write_nothing_is_appended_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    part = Part.create(tmp_path, 0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            part.append([row_of(IDS[0])])
    with pytest.raises(RunError, match="is closed"):
        part.append([row_of(IDS[0])])
