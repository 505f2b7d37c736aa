"""Records of a file: all of them, or one error that names the record."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from lens_rome.datasets import iter_records, read_records
from lens_rome.errors import DatasetError
from tests.helpers import data_folder


def record(case_id: int = 0, **changes: Any) -> dict[str, Any]:
    rewrite = {
        "prompt": "The {} is in",
        "relation_id": "P131",
        "target_new": {"str": "Rome", "id": "Q220"},
        "target_true": {"str": "Paris", "id": "Q90"},
        "subject": "Eiffel Tower",
    }
    prompts = {
        "paraphrase_prompts": ["It rained. The Eiffel Tower stands in"],
        "neighborhood_prompts": ["The Louvre is in"],
        "attribute_prompts": ["The Colosseum is in"],
        "generation_prompts": ["Near the Eiffel Tower you", "Near the Eiffel Tower you"],
    }
    known = {key: value for key, value in changes.items() if key not in rewrite}
    return {
        "case_id": case_id,
        "pararel_idx": 1,
        "requested_rewrite": {**rewrite, **{key: value for key, value in changes.items() if key in rewrite}},
        **prompts,
        **known,
    }


def written(folder: Path, content: Any) -> Path:
    path = folder / "some.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_list_and_lines_hold_the_same_records_and_come_back_exactly(tmp_path: Path) -> None:
    items = [record(0), record(3, subject="Louvre", paraphrase_prompts=[], generation_prompts=[])]
    as_list = read_records(written(tmp_path, items))
    assert [each.to_dict() for each in as_list] == items
    assert read_records(written(tmp_path, "\n".join(map(json.dumps, items)))) == as_list


def test_the_limit_is_of_case_ids_as_in_the_papers(tmp_path: Path) -> None:
    path = written(tmp_path, [record(5), record(0), record(2)])
    assert [each.case_id for each in read_records(path, limit=3)] == [0, 2]
    with pytest.raises(DatasetError, match="holds no records with a case_id below 0"):
        read_records(path, limit=0)


def test_records_come_one_at_a_time(tmp_path: Path) -> None:
    records = iter_records(written(tmp_path, [record(0), {"case_id": 1}]))
    assert next(records).case_id == 0
    with pytest.raises(DatasetError, match="record 1 is not in the CounterFact schema"):
        next(records)


BAD = {
    "key": ([record(), {"case_id": 8}], "some.json: entry 2: record 8 is not in .*'requested_rewrite' is missing"),
    "no slot": (
        [record(7, prompt="It is in")],
        "entry 1: record 7: template must contain '{}' exactly once, found it 0",
    ),
    "two slots": ([record(7, prompt="{} is {} in")], "record 7: template must .* found it 2 times"),
    "same target": ([record(7, target_new={"str": "Paris"})], "record 7: target_new equals the target"),
    "no target": ([record(7, target_new={"id": "Q220"})], "record 7 is not .* the key 'str' is missing"),
    "no id": (
        [{k: v for k, v in record().items() if k != "case_id"}],
        "entry 1: record .* the key 'case_id' is missing",
    ),
    "twice": ([record(7), record(7)], "entry 2: the case_id 7 is there twice. Give each its own"),
    "no object": ([5], "entry 1: record .* must be an object, got int"),
    "broken": ("[{", "some.json is not JSON"),
    "empty": ([], "holds no records"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_entry_that_is_no_record_is_named(tmp_path: Path, name: str) -> None:
    content, message = BAD[name]
    with pytest.raises(DatasetError, match=message):
        read_records(written(tmp_path, content))


def test_prompts_without_their_subject_are_one_warning_or_refused(tmp_path: Path) -> None:
    items = [record(0), record(1, paraphrase_prompts=["It is in"]), record(2, generation_prompts=["Near it you"])]
    path = written(tmp_path, items)
    with pytest.warns(UserWarning, match="2 records have .* the first: record 1: subject 'Eiffel Tower'") as told:
        assert len(read_records(path)) == 3
    assert len(told) == 1
    with pytest.raises(DatasetError, match=r"record 1: subject .* not in the prompt 'It is in'. Leave the record out"):
        read_records(path, strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_records(path, limit=1, strict=True)) == 1


@pytest.mark.parametrize("name", ["zsre", "multi_counterfact"])
def test_a_data_set_without_a_known_checksum_is_not_fetched(name: str) -> None:
    with pytest.raises(DatasetError, match="Give the path of a copy"):
        read_records(name)


def test_a_record_refers_to_texts_by_relation_and_new_object(tmp_path: Path) -> None:
    (known,) = read_records(written(tmp_path, [record()]))
    assert known.reference_group == ("P131", "Q220")
    (named,) = read_records(written(tmp_path, [record(target_new={"str": "Rome"})]))
    assert named.reference_group == ("P131", "Rome")


def test_the_real_records_are_read_and_come_back_exactly() -> None:
    path = data_folder() / "counterfact" / "counterfact_sample.json"
    records = read_records(path, strict=True)
    assert len(records) == 380
    assert [each.to_dict() for each in records] == json.loads(path.read_text(encoding="utf-8"))
    assert all(each.case_id < 20 for each in read_records(path, limit=20))
    assert records[0].reference_group == ("P103", "Q1860")
