"""Texts of many edited models, written together, are those of each model with its edit applied, alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from lens_rome.datasets import References, Snippets
from lens_rome.editing import Edit
from lens_rome.errors import DatasetError, EditError
from lens_rome.evaluation import EvalReport, RecordTexts, TextSettings, evaluate, read_essences, score_texts
from lens_rome.facts import EvalRecord
from lens_rome.surface import position_free
from tests.evaluation import support
from tests.evaluation.support import dense, inner, rank_one, several_layers
from tests.helpers import Case, assert_untouched

SETTINGS = TextSettings(length=18, seed=3, essence_samples=2, rows=4)
PROMPTS = (("Steve Jobs was", "Steve Jobs was", "The house of Steve Jobs"), (), ("People who visit Rome",))
RECORDS = [
    replace(record, request=replace(record.request, relation=f"P{i}"), generation_prompts=prompts)
    for i, (record, prompts) in enumerate(zip(support.RECORDS, PROMPTS, strict=True))
]
REFERENCES = References.of(
    Snippets(
        {
            ("P0", "Spanish piano"): ("a piano in the house was here", "of the"),
            ("P2", "E"): ("Rome is in the city of people",),
        }
    )
)
ALL: dict[str, Any] = {"before": True, "texts": SETTINGS, "references": REFERENCES, "essence": True}


def edits_of(model: Any) -> dict[int, Edit]:
    """With and without hook form."""
    return {11: inner(model, 9), 12: several_layers(model, 7), 13: dense(model)}


def by_definition(model: Any, records: Sequence[EvalRecord], edits: Mapping[int, Edit]) -> list[RecordTexts]:
    """Each record by itself, with its edit in the weights and before."""
    essences = read_essences(model, [record.request.subject for record in records], settings=SETTINGS)
    given: dict[str, Any] = {"settings": SETTINGS, "references": REFERENCES}
    rows = []
    for record in records:
        (before,) = score_texts(model, [record], **given, essences=essences)
        with edits[record.case_id].applied(model):
            (row,) = score_texts(model, [record], **given, essences=essences)
        rows.append(row.with_before(before))
    return rows


def assert_same(found: Sequence[RecordTexts], expected: Sequence[RecordTexts]) -> None:
    for one, other in zip(found, expected, strict=True):
        # Texts to the letter, and so what is counted in them; perplexities differ in the last digits.
        inexact: dict[str, Any] = {"essence": None, "perplexity": None, "before_perplexity": None}
        assert replace(one, **inexact) == replace(other, **inexact)
        for name in inexact:
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-8, abs=1e-8)


def test_texts_of_many_edited_models_are_those_of_each_with_its_edit_applied(gpt2: Any) -> None:
    edits = edits_of(gpt2)
    with assert_untouched(gpt2):
        report = evaluate(gpt2, RECORDS, edits, **ALL)
    expected = by_definition(gpt2, RECORDS, edits)
    assert_same(report.texts, expected)
    assert [row.relation for row in report.texts] == ["P0", "P1", "P2"]
    assert all(row.texts != row.before_texts for row in report.texts if row.texts)
    assert min(row.essence for row in report.texts) < 1


@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize("rows", [1, 32])
def test_how_many_are_written_together_changes_nothing(
    gpt2: Any, together: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits = edits_of(gpt2)
    expected = evaluate(gpt2, RECORDS, edits, **ALL)
    monkeypatch.setattr("lens_rome.evaluation.making._SCORED", together)
    found = evaluate(gpt2, RECORDS, edits, **ALL | {"texts": replace(SETTINGS, rows=rows)})
    assert_same(found.texts, expected.texts)
    assert found.settings == expected.settings


def test_hooks_and_weights_write_the_same_texts(raw_model: Any) -> None:
    edit = several_layers(raw_model, 7)
    asked: dict[str, Any] = {"before": True, "texts": SETTINGS}
    hooks, weights = (evaluate(raw_model, RECORDS, edit, weights=each, **asked) for each in (False, True))
    assert hooks.texts == weights.texts
    assert [row.case_id for row in hooks.texts] == [11, 13]  # nothing is written for a record without a prompt


def test_without_edits_the_model_writes_once_and_is_its_own_before(gpt2: Any) -> None:
    report = evaluate(gpt2, RECORDS, **ALL)
    for row in report.texts:
        assert row.before == replace(row.before, texts=row.texts, ngram_entropy=row.ngram_entropy)
        assert row.essence == pytest.approx(1)
        assert row.reference_score == row.before_reference_score
    plain = evaluate(gpt2, RECORDS, texts=SETTINGS)
    assert [row.texts for row in plain.texts] == [row.texts for row in report.texts if row.texts]
    assert all(row.before_texts == () and row.essence is None for row in plain.texts)


def test_hooks_of_the_owner_take_part_and_edits_are_then_in_the_weights(gpt2: Any) -> None:
    edit = rank_one(gpt2, 1)
    hook = [("blocks.1.hook_mlp_out", lambda activation, hook: 0.5 * activation)]  # noqa: ARG005 - its name
    free = [("blocks.2.hook_resid_pre", position_free(lambda activation, hook: 1.1 * activation))]  # noqa: ARG005
    for hooks in (hook, free):
        with gpt2.hooks(fwd_hooks=hooks):
            with assert_untouched(gpt2):
                report = evaluate(gpt2, RECORDS[:1], edit, texts=SETTINGS)
            with edit.applied(gpt2):
                (expected,) = score_texts(gpt2, RECORDS[:1], settings=SETTINGS)
        assert report.texts == (expected,)


def test_a_report_has_every_score_of_the_papers_table(gpt2: Any) -> None:
    report = evaluate(gpt2, RECORDS, edits_of(gpt2), **ALL)
    found = report.summary()
    wanted = ("ES", "EM", "PS", "PM", "NS", "NM", "GE", "RS")
    assert found.keys() >= {*wanted, "Ess", *(f"{name} before" for name in wanted)}
    assert {(row.case_id, row.relation) for row in report.scores} == {(11, "P0"), (12, "P1"), (13, "P2")}
    assert report.breakdown()["P0"].case_ids == (11,)


def test_a_report_tells_how_it_was_made_and_comes_back_from_a_file(gpt2: Any, gpt2_case: Case, tmp_path: Any) -> None:
    halves = replace(several_layers(gpt2, 7).scaled(0.5), provenance={"editor": "E", "scaled": 0.5})
    other = replace(rank_one(gpt2, 1), provenance={"editor": "F", "settings": {"bound": float("inf"), "at": (1, 2)}})
    both = replace(other, provenance={"sum": [dict(halves.provenance), dict(other.provenance)], "scaled": 2.0})
    edits = {11: halves, 12: both, 13: halves}
    report = evaluate(gpt2, RECORDS, edits, before=True, texts=SETTINGS)
    settings = dict(report.settings)
    assert settings.pop("versions").keys() >= {"torch", "transformer-lens"}
    assert settings.pop("texts") == {"length": 18, "top_k": 5, "seed": 3, "essence_samples": 0}
    assert settings.pop("model") and settings.pop("prepend_bos") is True
    told = {"bound": "inf", "at": [1, 2]}
    assert settings == {
        "surface": gpt2_case.surface,
        "dtype": "float64",
        "edits": [
            {"editor": "E", "settings": {}, "scaled": 0.5},
            {"editor": "E", "settings": {}},
            {"editor": "F", "settings": told, "scaled": 2.0},
        ],
        "before": True,
        "groups": ["rewrite", "paraphrase", "neighborhood"],
        "weights": False,
    }
    assert EvalReport.load(report.save(tmp_path / "report.jsonl")) == report
    json.dumps(dict(evaluate(gpt2, RECORDS, prepend_bos=False).settings), allow_nan=False)
    assert evaluate(gpt2, RECORDS, prepend_bos=False).settings["prepend_bos"] is False


def test_edits_made_with_either_setting_of_bos_are_scored_so(gpt2: Any) -> None:
    edits = {
        case: replace(edit, provenance={"prepend_bos": case != 11})
        for case, edit in {11: rank_one(gpt2, 1), 12: rank_one(gpt2, 2), 13: rank_one(gpt2, 2)}.items()
    }
    report = evaluate(gpt2, RECORDS, edits, before=True, texts=SETTINGS)
    assert report.settings["prepend_bos"] == [False, True]
    for row, record, bos in zip(report.texts, (RECORDS[0], RECORDS[2]), (False, True), strict=True):
        (before,) = score_texts(gpt2, [record], settings=SETTINGS, prepend_bos=bos)
        assert row.before_texts == before.texts


def test_what_is_asked_of_texts_without_settings_is_refused(gpt2: Any) -> None:
    asks: list[dict[str, Any]] = [{"references": REFERENCES}, {"essence": True}]
    for asked in asks:
        with pytest.raises(EditError, match=r"say how they are written: texts=TextSettings\(\)"):
            evaluate(gpt2, RECORDS, **asked)


def test_records_without_generation_prompts_have_no_texts(gpt2: Any) -> None:
    with pytest.raises(EditError, match="no record has generation_prompts"):
        evaluate(gpt2, RECORDS[1:2], texts=SETTINGS)


def test_missing_references_are_told_before_an_edit_is_made(gpt2: Any) -> None:
    class Unused:
        def edit_each(self, *args: Any, **kwargs: Any) -> list[Edit]:  # noqa: ARG002 - the protocol's
            raise AssertionError

    strange = [replace(RECORDS[0], request=replace(RECORDS[0].request, relation="P9"))]
    with pytest.raises(DatasetError, match="no reference texts for relation 'P9'"):
        evaluate(gpt2, strange, Unused(), texts=SETTINGS, references=REFERENCES)
