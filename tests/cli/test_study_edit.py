"""`lens-rome study edit`: from a fact and an object to a page."""

import json
from functools import cache
from pathlib import Path

import pytest

from lens_rome.cli import models
from lens_rome.facts import EditRequest, EvalRecord
from lens_rome.studies.one_edit import EditStory
from lens_rome.studies.pages import edit_page
from tests.cli.conftest import EDIT, MODEL, Run

FACT = "The Eiffel Tower is in the city of"
CHEAP = ("--set", "value.steps=8", "--moments", "identity", "--texts", "1", "--tokens", "16", "--noise-samples", "2")
OTHER = ("--model", MODEL, "--layer", "1", *CHEAP)
load_once = cache(models.load_atlas_model)  # no command changes the model that it loads


def test_the_atlas_brings_its_own_prompts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "load_atlas_model", load_once)
    result = run("study", "edit", FACT, "--to", "Rome", *CHEAP, "--seed", "3", "--probes", "none", "--out",
                 "tower.html", "--save", "kept")  # fmt: skip
    assert result.exit_code == 0, result.output
    story = EditStory.load("kept")
    assert Path("tower.html").read_text(encoding="utf-8") == edit_page(story)
    assert story.request == EditRequest("Eiffel Tower", "The {} is in the city of", "Rome", "Paris", "landmarks.city")
    (rewrite,) = story.group("rewrite")
    assert rewrite.new_after > 1000 * rewrite.new_before and rewrite.old_after < rewrite.old_before > 0.5
    assert {each.question.group for each in story.replies} > {"paraphrase", "neighbor", "own fact", "reverse new"}
    assert len(story.texts) == 4 and list(story.traces) == ["resid", "mlp", "attn"]
    assert (story.settings["seed"], story.edit.provenance["settings"]["seed"]) == (3, 3)
    assert "tower.html: open it in a browser" in result.stdout
    assert f"The edited prompt: right in {int(bool(rewrite.right))} of 1 (before 0)" in result.stdout


def test_another_model_is_asked_what_the_options_say(run: Run) -> None:
    prompts = ("--paraphrase", "See the Eiffel Tower in", "--neighbor", "The Louvre is in", "--generate", "The Louvre",
               "--keep", "The Eiffel Tower is made of=I", "--related", "Big Ben is in=L", "--describe", "It is in",
               "--reverse", "A thing in E is the", "--reverse", "A thing in A is the")  # fmt: skip
    asked = ("--subject", "Eiffel Tower", "--to", "E", "--target-true", "A")
    result = run("study", "edit", "The Eiffel Tower is in the city", *asked, *prompts, *OTHER, "--save", "kept")
    assert result.exit_code == 0, result.output
    story = EditStory.load("kept")
    assert story.request == EditRequest("Eiffel Tower", "The {} is in the city", "E", "A")
    assert [(each.question.group, each.question.prompt, each.question.old) for each in story.replies[1:]] == [
        ("paraphrase", "See the Eiffel Tower in", "A"), ("neighbor", "The Louvre is in", "A"),
        ("own fact", "The Eiffel Tower is made of", "I"), ("description", "It is in", "A"),
        ("reverse new", "A thing in E is the", ""), ("reverse old", "A thing in A is the", ""),
        ("related", "Big Ben is in", "L"),
    ]  # fmt: skip
    probes = ["direction", "hops", "strength", "bleed", "concept", "layers", "prefixes"]
    assert [each.probe for each in story.findings] == probes
    assert "nan" not in result.stdout
    assert len(story.texts) == 1 and Path("edit.html").read_text(encoding="utf-8") == edit_page(story)


def test_probes_that_make_further_edits_can_be_left_out(run: Run) -> None:
    asked = ("--subject", "Eiffel Tower", "--to", "E", "--target-true", "A", "--probes", "ask")
    result = run("study", "edit", "The Eiffel Tower is in the city", *asked, *OTHER, "--save", "kept")
    assert result.exit_code == 0, result.output
    assert [each.probe for each in EditStory.load("kept").findings] == ["direction", "hops", "strength", "bleed"]


def test_the_other_way_round_is_asked_of_objects_that_are_whole_words(run: Run) -> None:
    asked = ("--subject", "Eiffel Tower", "--to", "Rome", "--target-true", "Paris", "--probes", "none")
    told = ("--reverse", "The Romeo and Juliet house in Paris is the")
    fact = "The Eiffel Tower is in the city"
    result = run("study", "edit", fact, *asked, *told, *OTHER, "--save", "kept")
    assert result.exit_code == 0, result.output
    assert [each.question.group for each in EditStory.load("kept").replies] == ["rewrite", "reverse old"]
    result = run("study", "edit", fact, *asked, "--reverse", "The Romeo house is the", *OTHER)
    assert result.exit_code == 1 and "names 'Rome' or 'Paris'" in result.stderr


def test_what_a_record_says_is_not_silently_left_aside(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    request = EditRequest("Eiffel Tower", "The {} is in the city", "E", "A")
    record = EvalRecord(4, request, ("See the Eiffel Tower in",), ("The Louvre is in",))
    Path("records.json").write_text(json.dumps([record.to_dict()]), encoding="utf-8")
    monkeypatch.setattr(models, "load_model", None)  # refused before a model is loaded
    for option, value, told in (("--subject", "Louvre", "Eiffel Tower"), ("--target-true", "B", "A")):
        result = run("study", "edit", "--record", "records.json", option, value, *OTHER)
        assert result.exit_code == 1
        assert f"the record says '{told}', {option} is '{value}'; leave out {option}." in result.stderr
    result = run("study", "edit", "Something else", "--record", "records.json", *OTHER)
    assert result.exit_code == 1 and "leave out FACT." in result.stderr


def test_a_record_brings_fact_object_and_prompts(run: Run) -> None:
    request = EditRequest("Eiffel Tower", "The {} is in the city", "E", "A")
    prompts = ("See the Eiffel Tower in",), ("The Louvre is in",), ("Ben is in",), ("The Eiffel Tower",)
    records = [EvalRecord(case, request, *prompts) for case in (4, 7)]
    Path("records.json").write_text(json.dumps([each.to_dict() for each in records]), encoding="utf-8")
    result = run(
        "study", "edit", "--record", "records.json", "--case", "7", *OTHER, "--probes", "none", "--save", "kept"
    )
    assert result.exit_code == 0, result.output
    story = EditStory.load("kept")
    groups = [each.question.group for each in story.replies]
    assert groups == ["rewrite", "paraphrase", "neighbor", "attribute"] and len(story.texts) == 1
    result = run("study", "edit", "--record", "records.json", *OTHER)
    assert result.exit_code == 1 and "holds several records; name one by --case, such as --case 4." in result.stderr
    result = run("study", "edit", "--record", "records.json", "--case", "9", *OTHER)
    assert result.exit_code == 1 and "holds no record of case 9." in result.stderr
    strange = EvalRecord(4, request, ("See it in",))
    Path("strange.json").write_text(json.dumps([strange.to_dict()]), encoding="utf-8")
    result = run("study", "edit", "--record", "strange.json", *OTHER)
    assert result.exit_code == 1 and "is not in the prompt 'See it in'. Correct the prompt" in result.stderr
    assert "\n" not in result.stderr.strip()
    result = run("study", "edit", "Something else", "--record", "records.json", "--case", "4", *OTHER)
    assert result.exit_code == 1 and "leave out FACT." in result.stderr


PLACES = {
    "a missing folder": ((FACT, "--to", "Rome", "--out", "none/x.html"), "the folder none does not exist. Create it"),
    "a foreign file": ((FACT, "--to", "Rome", "--out", "notes.html"), "is not replaced. Take another name."),
    "a folder": ((FACT, "--to", "Rome", "--out", "full"), "it is a folder. Name a file in it."),
    "a full folder": ((FACT, "--to", "Rome", "--save", "full"), "it is not an empty folder. Name a new one."),
    "a case without a file": ((FACT, "--to", "Rome", "--case", "3"), "give the file by --record."),
    "no records": ((FACT, "--to", "Rome", "--record", "none.json"), "none.json"),
}
ASKED = {
    "an unknown fact": (("The Eiffel Tower is in the town of", "--to", "Rome"), f"Did you mean '{FACT}'"),
    "an unknown subject": (("zzz", "--to", "Rome"), "lists its facts. Or name its subject by --subject."),
    "the true object": ((FACT, "--to", "Paris"), "Ask for another object."),
    "a subject that is not there": ((FACT, "--to", "Rome", "-s", "Louvre"), "Check the spelling"),
    "no object": ((FACT,), "give FACT, a prompt that ends before its object, and --to OBJECT; or a --record."),
    "no answer": ((FACT, "--to", "Rome", "--keep", "x"), "--keep takes PROMPT=ANSWER"),
    "a reverse prompt without object": ((FACT, "--to", "Rome", "--reverse", "x"), "names 'Rome' or 'Paris'"),
}


def _refused(run: Run, args: tuple[str, ...], advice: str) -> None:
    Path("notes.html").write_text("mine")
    Path("full").mkdir()
    Path("full/x").write_text("mine")
    result = run("study", "edit", *args)
    assert result.exit_code == 1, result.output
    assert advice in result.stderr and "\n" not in result.stderr.strip() and "Traceback" not in result.output
    assert sorted(path.name for path in Path().iterdir()) == ["full", "notes.html"]
    assert Path("notes.html").read_text() == "mine"


@pytest.mark.parametrize("name", PLACES)
def test_bad_places_are_refused_before_a_model_is_loaded(run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "load_atlas_model", None)
    _refused(run, *PLACES[name])


@pytest.mark.parametrize("name", ASKED)
def test_bad_input_ends_in_one_clear_line_and_nothing_is_written(
    run: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "load_atlas_model", load_once)
    _refused(run, *ASKED[name])


def test_another_model_needs_the_subject(run: Run) -> None:
    result = run("study", "edit", EDIT[3], "--to", "E", *OTHER)
    assert result.exit_code == 1 and "give --subject, the part of FACT that names whom it is about." in result.stderr


def test_what_only_the_model_says_is_not_taken_for_a_fact_without_a_word(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "load_atlas_model", load_once)
    asked = ("study", "edit", "The Golden Gate Bridge is in the city of", "-s", "Golden Gate Bridge", "--to", "Rome")
    result = run(*asked, *CHEAP, "--probes", "none")
    assert result.exit_code == 0, result.output
    page = Path("edit.html").read_text(encoding="utf-8")
    for told in ("is what the model says (", "nobody has checked that it is true. The atlas knows no Golden Gate"):
        assert told in result.stdout and told in page
    result = run(*asked, *CHEAP, "--probes", "none", "--target-true", "San Francisco")
    assert result.exit_code == 0 and "nobody has checked" not in result.stdout, result.output
