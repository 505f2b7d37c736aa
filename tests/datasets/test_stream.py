"""Entries of a file come one at a time and are those of a plain JSON reader, wherever the file is cut in reading."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lens_rome.datasets import stream
from lens_rome.datasets.stream import read_entries
from lens_rome.errors import DatasetError

ENTRIES = [
    {"text": 'quoted "{}" [1, 2] \\ and a tab\t', "more": [1, [2.5e-3, -7], {}]},
    {"Léon": "J.\u00a0R. 😀", "escaped": "\u2028", "none": None, "yes": True},
    12,
    345678,
    "text of a thousand letters " * 40,
    [],
    -1.5,
]


def written(folder: Path, text: str) -> Path:
    path = folder / "some.json"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 1 << 20])
@pytest.mark.parametrize("form", [{}, {"indent": 2}, {"ensure_ascii": False}, {"separators": (",", ":")}], ids=str)
def test_a_list_is_read_whole_wherever_it_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, form: dict[str, Any]
) -> None:
    monkeypatch.setattr(stream, "_CHUNK", chunk)
    found = list(read_entries(written(tmp_path, f" \n{json.dumps(ENTRIES, **form)}\n ")))
    assert [item for _, item in found] == ENTRIES
    assert [place for place, _ in found] == [f"entry {number}" for number in range(1, len(ENTRIES) + 1)]


def test_lines_are_numbered_as_they_stand(tmp_path: Path) -> None:
    path = written(tmp_path, '{"a": 1}\r\n\n{"a": "one\u2028two"}')
    assert list(read_entries(path)) == [("line 1", {"a": 1}), ("line 3", {"a": "one\u2028two"})]


def test_no_more_of_the_file_is_read_than_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_CHUNK", 100)
    entries = read_entries(written(tmp_path, json.dumps(["a" * 50] * 5)[:-1] + ", broken"))
    assert [next(entries)[0] for _ in range(5)] == [f"entry {number}" for number in range(1, 6)]
    with pytest.raises(DatasetError, match="is not JSON"):
        next(entries)


def test_what_is_broken_early_does_not_bring_the_whole_file_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_CHUNK", 100)
    read = []
    text = stream._Buffer.value

    def spied(self: Any) -> Any:
        try:
            return text(self)
        finally:
            read.append(len(self._text))

    monkeypatch.setattr(stream._Buffer, "value", spied)
    with pytest.raises(DatasetError, match="Expecting ':' delimiter at character 1, entry 1"):
        list(read_entries(written(tmp_path, '[{"a" 1}, ' + '"much more", ' * 1000)))
    assert max(read) <= 200


@pytest.mark.parametrize("chunk", [3, 1 << 20])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2", "is not JSON: expected ',', found 'the end' at character 5, entry 2. Give a JSON list, or one"),
        ("[1 2]", "expected ',', found '2' at character 3, entry 1"),
        ("[1,]", "Expecting value at character 3, entry 2"),
        ('[{"a": 1}, {"a": ', "Expecting value at character 11, entry 2"),
        ('["a', "Unterminated string .* at character 1, entry 1"),
        ("[1] 2", "there is a '2' after the end of the list"),
        ("[", "Expecting value at character 1, entry 1"),
        ('{"a": 1}\n\n{broken', "some.json, line 3, is not JSON"),
        ("one", "some.json, line 1, is not JSON"),
    ],
)
def test_broken_json_is_named_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str, chunk: int
) -> None:
    monkeypatch.setattr(stream, "_CHUNK", chunk)
    with pytest.raises(DatasetError, match=message):
        list(read_entries(written(tmp_path, text)))


def test_empty_lists_and_files_have_no_entries(tmp_path: Path) -> None:
    assert list(read_entries(written(tmp_path, " [ ] "))) == []
    assert list(read_entries(written(tmp_path, "\n"))) == []


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=re.escape("none.json: No such file")):
        list(read_entries(tmp_path / "none.json"))
    (tmp_path / "bytes.json").write_bytes(b'["\xff\xfe"]')
    with pytest.raises(DatasetError, match=re.escape("bytes.json is not UTF-8 text")):
        list(read_entries(tmp_path / "bytes.json"))
