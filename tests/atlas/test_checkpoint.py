"""The bundled checkpoint: small enough, loadable, and it knows the world."""

import random

import pytest

from lens_rome.atlas import World
from lens_rome.atlas.quality import MODEL_FOLDER, Reader, measure
from lens_rome.atlas.tokenizer import share_in_pieces


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


def test_package_data_stay_under_twenty_megabytes() -> None:
    files = [p for p in MODEL_FOLDER.parent.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert sum(p.stat().st_size for p in files) < 20e6


def test_at_least_four_fifths_of_the_names_are_several_tokens(reader: Reader, world: World) -> None:
    assert share_in_pieces(reader.tokenizer, world.subjects) >= 0.8


def test_checkpoint_knows_the_world_in_new_words(reader: Reader, world: World) -> None:
    quality = measure(reader, world, questions=150)
    assert quality.trained >= 0.95
    assert quality.held_out >= 0.88
    assert quality.trained_no_bos >= 0.9


def test_checkpoint_knows_the_eiffel_tower(reader: Reader, world: World) -> None:
    fact = world.fact("Eiffel Tower", "landmarks.city")
    assert reader.knows([(fact.prompt, fact.target)]) == [True]


def test_continuations_are_words(reader: Reader, world: World) -> None:
    subject = random.Random(0).choice(list(world.subjects))
    text = reader.continue_text(world.generation_prompts(subject)[0])
    assert len(text.split()) >= 5
    assert text == reader.continue_text(world.generation_prompts(subject)[0])
