"""Facts from files of every kind; what is not a fact is an error that names the record."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from lens_rome.datasets import read_facts
from lens_rome.datasets.fetch import KNOWN, fetch
from lens_rome.errors import DatasetError
from lens_rome.facts import Fact
from tests.helpers import data_folder

KNOWN_RECORD = {
    "known_id": 7,
    "subject": "Lake Orno",
    "attribute": "Norway",
    "template": "{} is located in",
    "prediction": " the south of Norway.",
    "prompt": "Lake Orno is located in the south of",
    "relation_id": "P17",
}
RECORD = {
    "case_id": 3,
    "requested_rewrite": {
        "prompt": "{} is a bridge over the river",
        "subject": "Marlow Span",
        "relation_id": "P177",
        "target_new": {"str": "Danube", "id": "Q1"},
        "target_true": {"str": "Thames", "id": "Q2"},
    },
}


def written(folder: Path, value: Any) -> Path:
    path = folder / "facts.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def test_the_papers_file_gives_its_prompts_and_not_its_templates(tmp_path: Path) -> None:
    facts = read_facts(written(tmp_path, [KNOWN_RECORD]))
    assert facts == {"7": Fact("Lake Orno", "{} is located in the south of", "Norway", "P17")}


def test_counterfact_records_give_the_true_fact(tmp_path: Path) -> None:
    facts = read_facts(written(tmp_path, [RECORD]))
    assert facts == {"3": Fact("Marlow Span", "{} is a bridge over the river", "Thames", "P177")}


def test_plain_facts_are_read_with_template_or_prompt(tmp_path: Path) -> None:
    plain = [
        {"subject": "Eiffel Tower", "template": "The {} is in", "target": "Paris"},
        {"id": "x", "subject": "Louvre", "prompt": "The Louvre is in", "target": "Paris", "relation": "city"},
    ]
    assert read_facts(written(tmp_path, plain)) == {
        "0": Fact("Eiffel Tower", "The {} is in", "Paris"),
        "x": Fact("Louvre", "The {} is in", "Paris", "city"),
    }


def test_all_of_the_papers_facts_are_read() -> None:
    facts = read_facts(data_folder() / "known" / "known_1000.json")
    assert len(facts) == 1209 and list(facts)[-1] == "1208"
    assert all(fact.prompt and fact.target for fact in facts.values())


def test_real_counterfact_records_are_read() -> None:
    assert len(read_facts(data_folder() / "counterfact" / "counterfact_sample.json")) > 10


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "not a JSON list of records"),
        ("{}", "not a JSON list of records"),
        ("[1]", "not a JSON list of records"),
        ('[{"a": 1}]', r"records with the keys a; known are"),
        (
            json.dumps([KNOWN_RECORD, {**KNOWN_RECORD, "known_id": 8, "subject": "Lake Elsewhere"}]),
            "record 8 is not a fact",
        ),
        (json.dumps([KNOWN_RECORD, KNOWN_RECORD]), "the id '7' is there twice"),
        (json.dumps([RECORD, {"case_id": 9}]), "record 9 is not a fact"),
        (
            json.dumps([KNOWN_RECORD, {"known_id": 8, "subject": KNOWN_RECORD["subject"]}]),
            "record 8 is not a fact: the key 'prompt' is missing",
        ),
        (json.dumps([{"case_id": 9, "requested_rewrite": {"subject": "x"}}]), "record 9 .*the key 'prompt' is missing"),
    ],
)
def test_what_is_not_a_file_of_facts_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "facts.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        read_facts(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"cannot read .*Check the path"):
        read_facts(tmp_path / "none.json")


def test_a_published_file_is_fetched_once_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LENS_ROME_CACHE", str(tmp_path / "cache"))
    source = written(tmp_path, [KNOWN_RECORD])
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    kept = fetch(source.as_uri(), digest)
    assert kept.parent == tmp_path / "cache" and kept.read_bytes() == source.read_bytes()
    source.unlink()
    assert fetch(source.as_uri(), digest) == kept, "from the cache now"
    kept.write_bytes(b"damaged")
    with pytest.raises(DatasetError, match=r"cannot fetch .*give the path of a copy"):
        fetch(source.as_uri(), digest)


def test_a_file_of_other_contents_is_refused_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LENS_ROME_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DatasetError, match="the published file has changed or the transfer was cut"):
        fetch(written(tmp_path, [KNOWN_RECORD]).as_uri(), "0" * 64)
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_papers_file_is_known_by_the_checksum_of_a_real_copy() -> None:
    path = data_folder() / "known" / "known_1000.json"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == KNOWN[1] and KNOWN[0].endswith("/known_1000.json")
