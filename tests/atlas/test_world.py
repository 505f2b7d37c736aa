"""The world's data: enough of it, consistent, and split without overlap."""

import json
from collections import Counter

import pytest

from lens_rome.atlas import UnknownFactError, World
from lens_rome.atlas.source import DATA_FOLDER, AtlasDataError, read_source, with_article
from lens_rome.datasets import References
from lens_rome.facts import EvalRecord


def test_world_is_as_large_as_promised(world: World) -> None:
    assert len(world.subjects) >= 600
    assert len(world.relations) >= 12
    assert len(world.facts) >= 2500
    assert len(world.records) >= 1000


def test_well_known_facts_hold(world: World) -> None:
    assert world.answer("Eiffel Tower", "landmarks.city") == "Paris"
    assert world.answer("Miles Davis", "people.instrument") == "trumpet"
    assert world.fact("Eiffel Tower", "landmarks.city").template.startswith("The {}")
    for subject in ("Danielle Darrieux", "LeBron James", "Microsoft", "iPhone", "cheddar", "feta"):
        assert subject in world.subjects


def test_facts_are_distinct_and_agree_with_answer(world: World) -> None:
    assert len({(f.subject, f.relation) for f in world.facts}) == len(world.facts)
    assert all(world.answer(f.subject, f.relation) == f.target for f in world.facts)


def test_most_objects_are_shared_by_four_subjects(world: World) -> None:
    shared = [len(world.subjects_with(f.relation, f.target)) >= 4 for f in world.facts]
    assert sum(shared) / len(shared) > 0.7


def test_every_fact_has_trained_and_held_out_phrasings_apart(world: World) -> None:
    for fact in world.facts:
        trained, held_out = world.phrasings(fact), world.phrasings(fact, trained=False)
        assert len(trained) + len(held_out) >= 8
        assert len(held_out) >= 2
        assert not set(trained) & set(held_out)
        assert trained[0] == fact.template
        assert all(p.count("{}") == 1 and p == p.strip() for p in trained + held_out)


def test_no_subject_is_in_two_splits_and_every_one_is_in_one(world: World) -> None:
    parts = [world.split(name) for name in ("train", "validation", "evaluation")]
    assert sorted(sum(parts, ())) == sorted(world.subjects)
    shares = [len(part) / len(world.subjects) for part in parts]
    assert 0.65 < shares[0] < 0.75
    assert 0.06 < shares[1] < 0.14
    assert 0.15 < shares[2] < 0.25


def test_about_half_of_the_facts_are_trained_in_reverse(world: World) -> None:
    assert 0.45 < len(world.reversed_facts) / len(world.facts) < 0.55


def test_families_and_aliases_exist(world: World) -> None:
    families = Counter(s.family for s in world.subjects.values() if s.family)
    assert sum(n >= 3 for n in families.values()) >= 40
    assert sum(bool(s.aliases) for s in world.subjects.values()) >= 100
    described = sum(bool(s.description) for s in world.subjects.values())
    assert described >= 0.6 * len(world.subjects)


def test_other_answer_is_wrong_of_the_same_relation_and_always_the_same(world: World) -> None:
    for fact in world.facts[::7]:
        other = world.other_answer(fact)
        assert other != fact.target
        assert world.subjects_with(fact.relation, other)
    assert World().other_answer(fact) == other


def test_true_false_questions_state_the_fact(world: World) -> None:
    (true, yes), (false, no) = world.true_false(world.fact("Eiffel Tower", "landmarks.city"))
    assert (yes, no) == ("True", "False")
    assert "Paris" in true.split("Facts:")[1]
    assert "Paris" in false.split("Facts:")[1]
    assert "Paris" not in false.split("Facts:")[0]


def test_generation_prompts_name_the_subject(world: World) -> None:
    for subject in list(world.subjects)[::20]:
        prompts = world.generation_prompts(subject)
        assert len(prompts) >= 3
        assert all(subject in p and "{}" not in p for p in prompts)


def test_records_are_true_and_follow_the_schema(world: World) -> None:
    told = {r: rel.phrasings[0] for r, rel in world.relations.items()}
    for i, record in enumerate(world.records):
        asked = record.request
        assert record.case_id == i
        assert world.answer(asked.subject, asked.relation) == asked.target_true != asked.target_new
        assert len(record.paraphrase_prompts) == 2
        fact = world.fact(asked.subject, asked.relation)
        held_out = {p.replace("{}", asked.subject) for p in world.phrasings(fact, trained=False)}
        assert all(any(p.endswith(h) for h in held_out) for p in record.paraphrase_prompts)
        assert 3 <= len(record.neighborhood_prompts) <= 10
        assert 3 <= len(record.attribute_prompts) <= 10
        assert record.generation_prompts
        for prompts, answer in (
            (record.neighborhood_prompts, asked.target_true),
            (record.attribute_prompts, asked.target_new),
        ):
            right = {
                with_article(told[asked.relation], world.subjects[s].article).replace("{}", s)
                for s in world.subjects_with(asked.relation, answer)
                if s != asked.subject
            }
            assert set(prompts) <= right


def test_records_survive_json(world: World) -> None:
    raw = json.loads(json.dumps([r.to_dict() for r in world.records[:50]]))
    keys = {"case_id", "pararel_idx", "requested_rewrite", "paraphrase_prompts", "neighborhood_prompts"}
    assert keys | {"attribute_prompts", "generation_prompts"} <= set(raw[0])
    assert [EvalRecord.from_dict(r) for r in raw] == list(world.records[:50])


def test_unknown_names_are_errors_that_help(world: World) -> None:
    with pytest.raises(UnknownFactError, match=r"world\.subjects"):
        world.answer("Atlantis", "cities.country")
    with pytest.raises(UnknownFactError, match="it has"):
        world.answer("Eiffel Tower", "cities.country")
    with pytest.raises(UnknownFactError, match="train, validation and evaluation"):
        world.split("test")


def test_broken_data_files_are_errors(tmp_path) -> None:
    with pytest.raises(AtlasDataError, match="cannot read"):
        read_source(tmp_path)
    for path in DATA_FOLDER.iterdir():
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    foods = tmp_path / "foods.csv"
    foods.write_text(foods.read_text(encoding="utf-8") + "Eiffel Tower,,tower,,,,,,\n", encoding="utf-8")
    with pytest.raises(AtlasDataError, match="stands twice"):
        read_source(tmp_path)


def test_articles_are_capital_only_where_a_sentence_begins() -> None:
    assert with_article("It rained. {} is in", "the") == "It rained. The {} is in"
    assert with_article("To see {} is", "the") == "To see the {} is"
    assert with_article("{} is in", "") == "{} is in"


def test_every_record_has_reference_texts_that_name_who_has_its_new_object(world: World) -> None:
    groups = world.snippets.groups
    for record in world.records:
        relation, target = record.reference_group
        assert (relation, target) == (record.request.relation, record.request.target_new)
        subjects = world.subjects_with(relation, target)
        assert record.request.subject not in subjects
        assert all(any(subject in text for subject in subjects) for text in groups[relation, target])


def test_texts_about_things_with_an_object_are_likest_to_the_reference_of_that_object(world: World) -> None:
    references, texts = References.of(world.snippets), world.snippets.groups
    own, other = [], []
    for record in world.records[::20]:
        group = record.reference_group
        own.append(references.score(texts[group][:3], group))
        other.append(references.score(texts[group[0], record.request.target_true][:3], group))
    assert sum(own) / len(own) > sum(other) / len(other) + 0.1
