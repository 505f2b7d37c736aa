"""Facts, requests and records: what they hold, and what they refuse."""

import dataclasses
import json
from typing import Any

import pytest
from jaxtyping import TypeCheckError

from lens_rome.errors import FactError, LensRomeError
from lens_rome.facts import EditRequest, EvalRecord, Fact
from tests.helpers import data_folder

TEMPLATE = "The {} is in the city of"

RECORD: dict[str, Any] = {
    "case_id": 7,
    "pararel_idx": 2796,
    "requested_rewrite": {
        "prompt": "The mother tongue of {} is",
        "relation_id": "P103",
        "target_new": {"str": "English", "id": "Q1860"},
        "target_true": {"str": "French", "id": "Q150"},
        "subject": "Danielle Darrieux",
    },
    "paraphrase_prompts": ["Danielle Darrieux spoke the language"],
    "neighborhood_prompts": ["The mother tongue of Léon Blum is"],
    "attribute_prompts": ["The mother tongue of Douglas Adams is"],
    "generation_prompts": ["Danielle Darrieux was born in"],
}


def test_a_fact_fills_its_template() -> None:
    fact = Fact("Eiffel Tower", TEMPLATE, "Paris")
    assert fact.prompt == "The Eiffel Tower is in the city of"
    assert str(fact) == "The Eiffel Tower is in the city of → Paris"


def test_braces_around_other_text_stay() -> None:
    assert Fact("x", "{a} {} {b: 1}", "y").prompt == "{a} x {b: 1}"
    assert Fact("{a}", "The {} is", "y").prompt == "The {a} is"


def test_a_rewrite_keeps_everything_but_the_object() -> None:
    request = Fact("Eiffel Tower", TEMPLATE, "Paris", "city").rewrite("Rome")
    assert request == EditRequest("Eiffel Tower", TEMPLATE, "Rome", "Paris", "city")
    assert request.prompt == "The Eiffel Tower is in the city of" and str(request).endswith("→ Rome")


def test_space_around_subject_and_targets_is_dropped() -> None:
    assert Fact(" Eiffel Tower ", TEMPLATE, " Paris") == Fact("Eiffel Tower", TEMPLATE, "Paris")
    assert EditRequest(" Eiffel Tower", TEMPLATE, " Rome ", " Paris") == EditRequest(
        "Eiffel Tower", TEMPLATE, "Rome", "Paris"
    )


@pytest.mark.parametrize("value", [Fact("a", "{} b", "c"), EditRequest("a", "{} b", "c")], ids=["fact", "request"])
def test_values_are_frozen_and_hashable(value: Any) -> None:
    assert hash(value) == hash(dataclasses.replace(value))
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.subject = "d"


@pytest.mark.parametrize("kind", [Fact, EditRequest])
@pytest.mark.parametrize(
    ("subject", "template", "target", "message"),
    [
        (
            "Eiffel Tower",
            "The Eiffel Tower is in",
            "Paris",
            r"found it 0 times in .*Write it like '\{\} is in the city of'",
        ),
        ("Eiffel Tower", "{} is in {}", "Paris", "found it 2 times in .*Keep one of them"),
        ("", TEMPLATE, "Paris", "subject must be a non-empty string, got ''"),
        ("  ", TEMPLATE, "Paris", "subject must be a non-empty string"),
        ("Eiffel Tower", TEMPLATE, "", "target.* must be a non-empty string, got ''"),
        ("Eiffel Tower", TEMPLATE, "\n", "target.* must be a non-empty string"),
    ],
)
def test_a_fact_or_request_that_cannot_be_used_is_refused(
    kind: type, subject: str, template: str, target: str, message: str
) -> None:
    with pytest.raises(FactError, match=message):
        kind(subject, template, target)


def test_an_empty_new_target_is_refused_by_rewrite() -> None:
    with pytest.raises(FactError, match="target_new must be a non-empty string, got ''"):
        Fact("Eiffel Tower", TEMPLATE, "Paris").rewrite("")


def test_a_rewrite_to_what_holds_already_is_refused() -> None:
    with pytest.raises(FactError, match=r"already holds: 'Paris'\. Ask for another object"):
        Fact("Eiffel Tower", TEMPLATE, "Paris").rewrite(" Paris")


def test_fact_errors_are_value_errors() -> None:
    assert issubclass(FactError, LensRomeError) and issubclass(FactError, ValueError)


def test_a_record_reads_the_counterfact_schema() -> None:
    record = EvalRecord.from_dict(RECORD)
    assert record.request == EditRequest("Danielle Darrieux", "The mother tongue of {} is", "English", "French", "P103")
    assert record.case_id == 7 and record.neighborhood_prompts == ("The mother tongue of Léon Blum is",)
    assert record.extra["pararel_idx"] == 2796


def test_a_record_survives_a_round_trip_through_json() -> None:
    record = EvalRecord.from_dict(RECORD)
    again = EvalRecord.from_dict(json.loads(json.dumps(record.to_dict())))
    assert again == record and again.to_dict() == record.to_dict() == RECORD
    # Also what is not known, and white space that the request drops.
    rewrite = RECORD["requested_rewrite"] | {"subject": " Danielle Darrieux", "prompt": "{} spoke ", "source": {"n": 1}}
    rewrite["target_new"] = {"str": " English", "id": None, "alias": ["Modern English"]}
    rewrite = {key: value for key, value in rewrite.items() if key != "relation_id"}
    odd = RECORD | {"requested_rewrite": rewrite, "note": [None]}
    assert EvalRecord.from_dict(odd).to_dict() == odd


def test_another_request_in_a_record_does_not_keep_the_ids_of_the_old_objects() -> None:
    record = EvalRecord.from_dict(RECORD)
    other = dataclasses.replace(record.request, target_new="Dutch", subject="Rome", relation="")
    rewrite = dataclasses.replace(record, request=other).to_dict()["requested_rewrite"]
    assert rewrite["target_new"] == {"str": "Dutch"} and rewrite["target_true"] == {"str": "French", "id": "Q150"}
    assert rewrite["subject"] == "Rome" and rewrite["relation_id"] == ""


@pytest.mark.parametrize("missing", ["case_id", "requested_rewrite"])
def test_a_record_without_a_needed_key_is_refused(missing: str) -> None:
    with pytest.raises(FactError, match=f"record .* is not in the CounterFact schema: .*{missing}.* It needs case_id"):
        EvalRecord.from_dict({key: value for key, value in RECORD.items() if key != missing})


def test_a_record_whose_request_is_not_valid_is_refused_with_its_case() -> None:
    broken = RECORD | {"requested_rewrite": RECORD["requested_rewrite"] | {"prompt": "no slot"}}
    with pytest.raises(FactError, match="record 7: template must contain"):
        EvalRecord.from_dict(broken)


@pytest.mark.parametrize(
    "wrong",
    [
        {"case_id": "seven"},
        {"paraphrase_prompts": "a text, not a list"},
        {"neighborhood_prompts": [1]},
        {"requested_rewrite": "text"},
        {"requested_rewrite": RECORD["requested_rewrite"] | {"target_new": "English"}},
        {"requested_rewrite": RECORD["requested_rewrite"] | {"target_new": None}},
        {"requested_rewrite": RECORD["requested_rewrite"] | {"target_true": {"str": None}}},
        {"requested_rewrite": RECORD["requested_rewrite"] | {"prompt": 5}},
        {"requested_rewrite": RECORD["requested_rewrite"] | {"subject": ["a"]}},
        {"requested_rewrite": RECORD["requested_rewrite"] | {"relation_id": None}},
    ],
    ids=str,
)
def test_a_record_with_a_value_of_the_wrong_kind_is_refused(wrong: dict[str, Any]) -> None:
    case = wrong.get("case_id", 7)
    with pytest.raises(FactError, match=rf"record {case} is not in the CounterFact schema: .* must be|invalid literal"):
        EvalRecord.from_dict(RECORD | wrong)


@pytest.mark.parametrize("record", [[RECORD], None, "text"], ids=["list", "none", "text"])
def test_a_record_that_is_no_object_is_refused(record: object) -> None:
    with pytest.raises(FactError, match=r"record \? is not in the CounterFact schema: .*the record must be an object"):
        EvalRecord.from_dict(record)


# With checked annotations, as in these tests, a wrong type is refused even before the package looks at it.
@pytest.mark.parametrize("kind", [Fact, EditRequest])
@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("wrong", [None, 5])
def test_what_is_no_text_is_refused(kind: type, place: int, wrong: object) -> None:
    values: list[object] = ["a", "{} is", "b", "c"]
    values[place] = wrong
    with pytest.raises((FactError, TypeCheckError)):
        kind(*values)
    fact = object.__new__(kind)
    for field, value in zip(dataclasses.fields(kind), [*values, ""], strict=False):
        object.__setattr__(fact, field.name, value)
    with pytest.raises(FactError, match=r"must be a .*(string|text).*, got"):
        fact.__post_init__()


def test_a_prompt_that_is_no_text_is_refused() -> None:
    for prompt, subject in ((None, "a"), ("a is", None)):
        with pytest.raises((FactError, TypeCheckError), match=r"must be texts|Type-check"):
            Fact.from_prompt(prompt, subject, "b")


@pytest.mark.parametrize("kind", [Fact, EditRequest])
def test_spaces_at_the_end_of_a_template_are_dropped_and_line_breaks_stay(kind: type) -> None:
    assert kind("a", "Where is {}? In \t ", "b") == kind("a", "Where is {}? In", "b")
    assert kind("a", "Where is {}?\n", "b").prompt == "Where is a?\n"
    assert kind("a", " {} ", "b").prompt == " a"


def test_spaces_around_a_subject_in_a_prompt_are_dropped() -> None:
    fact = Fact.from_prompt("The Eiffel Tower is in ", " Eiffel Tower ", "Paris")
    assert fact.template == "The {} is in" and fact.prompt == "The Eiffel Tower is in"
    assert Fact.from_prompt("Rome is in", " Rome", "Italy").template == "{} is in"


def test_the_counterfact_sample_reads() -> None:
    path = data_folder() / "counterfact" / "counterfact_sample.json"
    records = [EvalRecord.from_dict(record) for record in json.loads(path.read_text(encoding="utf-8"))]
    assert len(records) == 380
    for source, record in zip(json.loads(path.read_text(encoding="utf-8")), records, strict=True):
        assert record.to_dict() == source
        assert EvalRecord.from_dict(record.to_dict()) == record
        assert record.paraphrase_prompts and record.neighborhood_prompts and record.generation_prompts
