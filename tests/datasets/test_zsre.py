"""zsRE's questions become records in the papers' two forms, or are refused with their place."""

import json
from pathlib import Path
from typing import Any

import pytest

from lens_rome.datasets import read_zsre
from lens_rome.errors import DatasetError
from lens_rome.facts import EditRequest
from tests.helpers import data_folder

ITEM = {
    "subject": "Ovda Regio",
    "src": "On what is Ovda Regio, and who found Ovda Regio?",
    "rephrase": "Where is Ovda Regio?",
    "answers": ["Venus", "planet Venus"],
    "alt": "Titan",
    "loc": "nq question: when was it published",
    "loc_ans": "September 1999",
}
ITEMS = [ITEM, *({**ITEM, "answers": [other]} for other in ("Mars", "Venus", "Earth", "Io"))]


def written(folder: Path, content: Any) -> Path:
    path = folder / "zsre.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_record_in_the_form_of_meng_corrects_the_model(tmp_path: Path) -> None:
    (record,) = read_zsre(written(tmp_path, [ITEM]))
    assert record.request == EditRequest("Ovda Regio", "On what is {}, and who found Ovda Regio?", "Venus")
    assert record.paraphrase_prompts == ("Where is Ovda Regio?",)
    assert record.neighborhood_prompts == ("nq question: when was it published?",)
    assert record.neighborhood_answers == ("September 1999",)
    assert record.attribute_prompts == record.generation_prompts == ()
    assert record.extra["zsre"] == ITEM


def test_a_record_in_the_form_of_hase_injects_the_answer_of_another(tmp_path: Path) -> None:
    path = written(tmp_path, ITEMS)
    records = read_zsre(path, form="hase", seed=0)
    assert [record.request.target_true for record in records] == ["Venus", "Mars", "Venus", "Earth", "Io"]
    assert all(record.request.target_new != record.request.target_true for record in records)
    first = records[0]
    assert first.request.template == "Question: On what is {}, and who found Ovda Regio? Answer:"
    assert first.paraphrase_prompts == ("Question: Where is Ovda Regio? Answer:",)
    assert first.neighborhood_prompts == ("Question: when was it published? Answer:",)
    assert first.extra["seed"] == 0


def test_new_objects_are_seeded_each_by_itself_and_drawn_from_the_whole_file(tmp_path: Path) -> None:
    path = written(tmp_path, ITEMS)
    drawn = [
        [record.request.target_new for record in read_zsre(path, form="hase", seed=seed, limit=limit)]
        for seed, limit in [(0, None), (0, None), (0, 2), *((seed, None) for seed in range(1, 30))]
    ]
    assert drawn[0] == drawn[1]
    assert drawn[2] == drawn[0][:2]
    assert {each[0] for each in drawn} == {"Mars", "Earth", "Io"}


BAD = {
    "a key": ([ITEM, {k: v for k, v in ITEM.items() if k != "src"}], "entry 2: src must be a text, got None"),
    "no answer": ([{**ITEM, "answers": []}], "entry 1: answers must be a list of texts, got \\[\\]"),
    "subject elsewhere": ([ITEM, {**ITEM, "src": "On what?"}], "zsre.json: record 1: subject 'Ovda Regio' is not in"),
    "no question": ([{**ITEM, "loc": "when"}], "entry 1: loc must have 'nq question: ' in it"),
    "no object": ([3], "entry 1 is not a record but 3"),
    "slot": ([{**ITEM, "src": "Is {} Ovda Regio?"}], "record 0: .* has a slot"),
    "broken": ("[1,", "is not a record but 1"),
    "empty": ([], "holds no records. A zsRE record has subject"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_entry_that_is_no_record_is_named(tmp_path: Path, name: str) -> None:
    content, message = BAD[name]
    with pytest.raises(DatasetError, match=message):
        read_zsre(written(tmp_path, content))


def test_only_the_form_that_draws_takes_a_seed_and_it_must(tmp_path: Path) -> None:
    path = written(tmp_path, ITEMS)
    with pytest.raises(DatasetError, match="'hase' draws its new objects and needs a seed"):
        read_zsre(path, form="hase")
    with pytest.raises(DatasetError, match="'meng' has none to draw"):
        read_zsre(path, seed=0)
    with pytest.raises(DatasetError, match="every record has the answer 'Venus': there is no other"):
        read_zsre(written(tmp_path, [ITEM, ITEM]), form="hase", seed=0)
    with pytest.raises(DatasetError, match="cannot be fetched"):
        read_zsre("zsre")


def test_the_real_records_are_read_in_both_forms() -> None:
    folder = data_folder() / "zsre"
    for name, count in (("zsre_mend_eval_with_coupled_entities_10.json", 2), ("zsre_with_dependancies_18.json", 18)):
        records = read_zsre(folder / name)
        assert [record.case_id for record in records] == list(range(count))
        assert all(record.neighborhood_answers[0] == record.extra["zsre"]["loc_ans"] for record in records)
        assert all(record.request.subject in record.paraphrase_prompts[0] for record in records)
        assert len(read_zsre(folder / name, form="hase", seed=1)) == count
