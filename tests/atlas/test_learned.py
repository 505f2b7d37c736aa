"""What learned editors are trained and scored on has nothing in common, and the command writes what it says."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lens_rome.atlas import World, learned
from lens_rome.atlas.learned import EDITORS, evaluation_records, training_records, unrelated_texts
from lens_rome.editing.learned import MEND, TrainedMEND


def test_training_validation_and_evaluation_share_no_subject_not_even_as_neighbours(world: World) -> None:
    training = training_records(world, "train")
    validation = training_records(world, "validation", targets=1)
    scored = evaluation_records(world, 60)
    parts = [{record.request.subject for record in records} for records in (training, validation, scored)]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert len(scored) == 60 and len(training) > 4000
    prompts = {prompt for record in (*training, *validation) for prompt in record.neighborhood_prompts}
    held_back = tuple(form for name in world.split("evaluation") for form in (f"{name} ", f"The {name} "))
    assert prompts and not any(prompt.startswith(held_back) for prompt in prompts)


def test_no_held_out_phrasing_and_no_true_object_is_trained_on(world: World) -> None:
    for record in training_records(world, "train")[::20]:
        request = record.request
        fact = world.fact(request.subject, request.relation)
        held_out = [template.replace("{}", request.subject) for template in world.phrasings(fact, trained=False)]
        assert not any(prompt.endswith(tuple(held_out)) for prompt in record.paraphrase_prompts)
        assert request.target_new != world.answer(request.subject, request.relation)
        assert request.prompt not in record.paraphrase_prompts


def test_records_and_texts_are_the_same_every_time(world: World) -> None:
    assert training_records(world, "validation") == training_records(world, "validation")
    assert training_records(world, "validation") != training_records(world, "validation", seed=1)
    assert unrelated_texts(world, count=5) == unrelated_texts(world, count=5)


@pytest.mark.slow
def test_the_command_trains_saves_and_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mend.safetensors"
    monkeypatch.setattr(learned, "EDITORS", {"MEND": replace(EDITORS["MEND"], validate_every=1)})
    monkeypatch.setattr(sys, "argv", ["learned", "--out", str(path), "--steps", "1", "--records", "2", "--layers", "1"])
    learned.main()
    trained = TrainedMEND.load(path)
    assert isinstance(trained.editor, MEND) and trained.editor.layers == (1,)
    told = json.loads(path.with_suffix(".json").read_text())
    assert set(told["scores"]) == {"unedited", "MEND"} and len(told["history"]) == 2
    assert not path.with_suffix(".checkpoint").exists()
