"""Snippets are read group by group and kept small; tf-idf and the reference score equal their definitions."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lens_rome.datasets import References, Snippets, TfIdf, read_snippets
from lens_rome.datasets.tfidf import cosine, terms
from lens_rome.errors import DatasetError
from tests.oracles.texts import cosine_by_definition

GROUPS = {
    ("P131", "Q220"): ("The Colosseum is a tower of Rome.", "Rome has a river, the Tiber; a Café."),
    ("P131", "Q90"): ("The Louvre is in Paris.",),
    ("P17", "Q38"): ("Milan is a city in Italy.",),
}


def items(groups: Any = GROUPS) -> list[dict[str, Any]]:
    return [
        {"relation_id": relation, "target_id": target, "samples": [{"name": "x", "text": text} for text in texts]}
        for (relation, target), texts in groups.items()
    ]


def written(folder: Path, content: Any, name: str = "snippets.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_wanted_groups_are_read_and_saved_and_recurring_ones_are_one(tmp_path: Path) -> None:
    path = written(tmp_path, [*items(), *items({("P131", "Q90"): ("More of Paris.",)})])
    assert dict(read_snippets(path).groups) == {
        **GROUPS,
        ("P131", "Q90"): ("The Louvre is in Paris.", "More of Paris."),
    }
    some = read_snippets(path, [("P17", "Q38"), ("P131", "Q220")])
    assert list(some.groups) == [("P17", "Q38"), ("P131", "Q220")]
    assert read_snippets(some.save(tmp_path / "small.json")) == some


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"relation_id": "P1"}], "entry 1 is not a group of snippets: the key 'target_id' is missing"),
        ([*items(), {"relation_id": "P131", "target_id": "Q90", "samples": [{}]}], "entry 4 .* 'text' is missing"),
        ([{"relation_id": "P131", "target_id": "Q90", "samples": [{"text": 1}]}], "a text is none"),
        ([5], "entry 1 is not a group of snippets"),
        (items({("P131", "Q90"): (" ",)}), "no text for 1 of the wanted groups; .* relation 'P131' and object 'Q90'"),
        ([], "no text for 1 of the wanted groups"),
    ],
)
def test_snippets_that_cannot_be_are_named(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_snippets(written(tmp_path, content), [("P131", "Q90")])


def test_an_empty_group_is_refused() -> None:
    with pytest.raises(DatasetError, match="relation 'a' and object 'b' are empty"):
        Snippets({("a", "b"): ("", " ")})


def test_words_are_those_of_scikit_learns_default() -> None:
    assert terms("It's a Café_2, in St. Malo (x)!") == ["it", "café_2", "in", "st", "malo"]


def test_weights_have_the_values_of_the_definition_by_hand() -> None:
    tfidf = TfIdf.fit(["the cat", "the dog the", "a bird"])
    assert tfidf.idf["the"] == pytest.approx(math.log(4 / 3) + 1)
    assert tfidf.idf["cat"] == pytest.approx(math.log(4 / 2) + 1)
    assert "a" not in tfidf.idf
    assert tfidf.weights("The cat saw the CAT, a fish") == pytest.approx(
        {"the": 2 * tfidf.idf["the"], "cat": 2 * tfidf.idf["cat"]}
    )


def test_the_reference_score_equals_the_dense_definition() -> None:
    references = References.of(Snippets(GROUPS))
    documents = [text for texts in GROUPS.values() for text in texts]
    told = ["A tower in Rome, Rome!", "the café of Paris and an unknown word"]
    for group, texts in GROUPS.items():
        expected = cosine_by_definition(" ".join(told), " ".join(texts), documents)
        assert references.score(told, group) == pytest.approx(expected, abs=1e-12)
        assert references.score(texts, group) == pytest.approx(1, abs=1e-12)


def test_texts_without_a_known_word_have_no_score() -> None:
    references = References.of(Snippets(GROUPS))
    assert references.score(["zzz", "a b c"], ("P17", "Q38")) is None
    assert references.score([], ("P17", "Q38")) is None
    assert references.score(["Louvre"], ("P17", "Q38")) == 0
    assert cosine({}, {"a": 1.0}) is None


def test_a_group_without_a_reference_is_named() -> None:
    with pytest.raises(DatasetError, match=r"relation 'P9' and object 'Q1'\. Read the snippets with wanted_groups"):
        References.of(Snippets(GROUPS)).score(["Rome"], ("P9", "Q1"))


def test_the_published_form_of_rarity_is_the_fitted_one(tmp_path: Path) -> None:
    fitted = TfIdf.fit(text for texts in GROUPS.values() for text in texts)
    columns = {term: column for column, term in enumerate(reversed(list(fitted.idf)))}
    np.save(tmp_path / "idf.npy", [fitted.idf[term] for term in columns])
    vocabulary = written(tmp_path, columns, "vocabulary.json")
    assert TfIdf.load(tmp_path / "idf.npy", vocabulary) == fitted
    np.save(tmp_path / "idf.npy", [1.0])
    with pytest.raises(DatasetError, match="do not belong together"):
        TfIdf.load(tmp_path / "idf.npy", vocabulary)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((2, 2)), "does not hold one vector"),
        (np.array([1]), "does not hold one vector"),
        (np.array([math.nan]), "NaN or infinity"),
        (np.array([{}], dtype=object), "is not a .npy file of numbers"),
    ],
)
def test_a_vector_that_is_none_is_refused(tmp_path: Path, values: np.ndarray, message: str) -> None:
    np.save(tmp_path / "idf.npy", values, allow_pickle=True)
    with pytest.raises(DatasetError, match=message):
        TfIdf.load(tmp_path / "idf.npy", written(tmp_path, {"a": 0}))


def test_a_vocabulary_that_is_none_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "idf.npy", [1.0])
    with pytest.raises(DatasetError, match="not an object of words and their columns"):
        TfIdf.load(tmp_path / "idf.npy", written(tmp_path, {"a": "0"}))
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    with pytest.raises(DatasetError, match="is not JSON"):
        TfIdf.load(tmp_path / "idf.npy", tmp_path / "broken.json")
    with pytest.raises(DatasetError, match="No such file"):
        TfIdf.load(tmp_path / "none.npy", tmp_path / "broken.json")
    with pytest.raises(DatasetError, match="no word of two letters"):
        TfIdf.fit(["a b", ""])
