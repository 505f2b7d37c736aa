"""Requests of a file: all of them, or one error that names the entry."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lens_rome.datasets import read_requests
from lens_rome.errors import DatasetError
from lens_rome.facts import EditRequest

PLAIN = {"subject": "Eiffel Tower", "template": "The {} is in", "target_new": "Rome"}
WANTED = EditRequest("Eiffel Tower", "The {} is in", "Rome")
RECORD = {
    "case_id": 7,
    "requested_rewrite": {
        "prompt": "The {} is in",
        "subject": "Eiffel Tower",
        "target_new": {"str": "Rome", "id": "Q220"},
        "target_true": {"str": "Paris"},
        "relation_id": "P131",
    },
    "paraphrase_prompts": [],
}


def written(folder: Path, content: Any) -> Path:
    """A file with a text, or with JSON."""
    path = folder / "wanted.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "entry",
    [
        PLAIN,
        {**PLAIN, "id": 3, "comment": "ignored"},
        {"subject": "Eiffel Tower", "prompt": "The {} is in", "target_new": "Rome"},
        {"subject": "Eiffel Tower", "prompt": "The Eiffel Tower is in", "target_new": "Rome"},
        {**PLAIN, "target_new": {"str": "Rome"}},
    ],
    ids=["template", "more keys", "prompt with a slot", "prompt without a slot", "target as an object"],
)
def test_every_form_of_a_plain_entry_is_the_same_request(tmp_path: Path, entry: dict[str, Any]) -> None:
    assert read_requests(written(tmp_path, [entry])) == [WANTED]


def test_a_counterfact_record_is_its_request(tmp_path: Path) -> None:
    (found,) = read_requests(written(tmp_path, [RECORD]))
    assert found == EditRequest("Eiffel Tower", "The {} is in", "Rome", "Paris", "P131")


def test_a_list_and_lines_hold_the_same_requests_in_order(tmp_path: Path) -> None:
    entries = [{**PLAIN, "target_true": "Paris", "relation": "city"}, {**PLAIN, "subject": "Louvre"}, RECORD]
    as_list = read_requests(written(tmp_path, entries))
    as_lines = read_requests(written(tmp_path, "\n".join(map(json.dumps, entries)) + "\n\n"))
    assert as_list == as_lines
    assert [request.subject for request in as_list] == ["Eiffel Tower", "Louvre", "Eiffel Tower"]
    assert as_list[0] == EditRequest("Eiffel Tower", "The {} is in", "Rome", "Paris", "city")


def test_a_line_ends_at_line_breaks_only(tmp_path: Path) -> None:
    text = json.dumps({**PLAIN, "comment": "one\u2028two\x85three"}, ensure_ascii=False)
    assert read_requests(written(tmp_path, f"{text}\r\n{text}")) == [WANTED, WANTED]


BAD = {
    "no slot": ([PLAIN, {**PLAIN, "template": "It is in"}], "wanted.json: entry 2 is not a request: template must"),
    "a key": ([{"subject": "a", "template": "{} is"}], "entry 1 is not a request: the key 'target_new' is missing. An"),
    "no template": ([{"subject": "a", "target_new": "b"}], "the key 'prompt' is missing"),
    "subject elsewhere": ([{"subject": "a", "prompt": "The cow", "target_new": "b"}], "'a' is not in the prompt"),
    "a target of another kind": (
        [{**PLAIN, "target_new": 5}],
        "entry 1 is not a request: target_new must be a text, got 5",
    ),
    "target without text": ([{**PLAIN, "target_new": {"id": "Q1"}}], "target_new must be a text, got {'id'"),
    "template of another kind": ([{**PLAIN, "template": None}], "template must be a text, got None"),
    "empty target": ([{**PLAIN, "target_new": " "}], "target_new must be a non-empty string"),
    "same target": ([{**PLAIN, "target_true": "Rome"}], "Ask for another object"),
    "record": ([PLAIN, {"requested_rewrite": {}}], "entry 2 is not a request: record .* CounterFact schema"),
    "no object": ([PLAIN, 3], "entry 2 is not a request but 3"),
    "line": (f"{json.dumps(PLAIN)}\n\n{{broken", "wanted.json, line 3, is not JSON: .* one JSON object a line"),
    "line of another kind": (f"{json.dumps(PLAIN)}\n5", "wanted.json: line 2 is not a request but 5"),
    "list": ("[1,", "wanted.json is not JSON"),
    "empty list": ([], "holds no requests. An entry needs"),
    "empty file": ("\n", "holds no requests"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_entry_that_is_no_request_is_named(tmp_path: Path, name: str) -> None:
    content, advice = BAD[name]
    with pytest.raises(DatasetError, match=advice):
        read_requests(written(tmp_path, content))


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=re.escape("none.json: No such file")):
        read_requests(tmp_path / "none.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    with pytest.raises(DatasetError, match=re.escape("bytes.json is not UTF-8 text")):
        read_requests(tmp_path / "bytes.json")
