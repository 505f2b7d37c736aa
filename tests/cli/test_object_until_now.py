"""The object until now where nobody gives it: a whole name or word, of the world or of the model."""

import pytest

from lens_rome.atlas import load_atlas
from lens_rome.cli import object_until_now as object_until_now_module
from lens_rome.cli.models import Loaded
from lens_rome.cli.object_until_now import Spoken, object_until_now, said, spoken
from lens_rome.facts import EditRequest
from lens_rome.surface import as_surface
from tests.cli.conftest import EDIT, MODEL, Run

ATLAS, WORLD = load_atlas()


@pytest.mark.parametrize(
    ("text", "name", "ends"),
    [
        (" New York, where", "New York", True),
        (" New", "New", False),
        (" Rio de", "Rio", False),
        (" Rio de Janeiro.\n", "Rio de Janeiro", True),
        (" Paris and London", "Paris", True),
        (" Paris. The tower", "Paris", True),
        (" Paris of the", "Paris", False),
        (" F. Scott Fitzgerald in", "F. Scott Fitzgerald", True),
        (" St. Petersburg in", "St. Petersburg", True),
        (" Procter & Gamble is", "Procter & Gamble", True),
        (" Ballon d'Or,", "Ballon d'Or", True),
        (" D'Arcy's", "D'Arcy's", False),
        (" Boeing 747 is", "Boeing 747", True),
        (" painter and", "painter", True),
        (" pain", "pain", False),
        (" the", "the", False),
        (" the Louvre. It", "the Louvre", True),
        (" San Jos\ufffd", "San Jos", False),
        ("\u0939\u093f\u0928\u094d\u0926\u0940 \u0939\u0948", "\u0939\u093f\u0928\u094d\u0926\u0940", True),
        ("\nParis", "", True),
        (" ", "", False),
    ],
)  # fmt: skip
def test_a_name_is_taken_whole_and_nothing_after_it(text: str, name: str, ends: bool) -> None:
    assert spoken(text) == Spoken(name, ends)


@pytest.mark.parametrize(
    ("prompt", "name"), [("The capital of India is", "New Delhi"), ("The capital of Cambodia is", "Phnom Penh")]
)
def test_what_the_model_says_is_taken_up_to_the_end_of_the_name(prompt: str, name: str) -> None:
    assert said(Loaded(ATLAS, as_surface(ATLAS), None), prompt, None) == Spoken(name, ends=True)


def test_the_world_is_asked_before_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_until_now_module, "said", None)
    request = EditRequest("India", "The capital of {} is", "Rome")
    loaded = Loaded(ATLAS, as_surface(ATLAS), WORLD)
    assert object_until_now(loaded, request, None) == Spoken("New Delhi", ends=True)


def test_the_command_says_what_it_took(run: Run) -> None:
    given = ("edit", "-s", "India", "-t", "They all say that the capital of {} is", "-n", "Rome", "--tokens", "0")
    result = run(*given, "--moments", "identity", "--set", "value.steps=2")
    assert result.exit_code == 0, result.output
    assert "The object until now is what the model says, 'New Delhi'; --target-true names another." in result.stdout
    assert "New Delhi → Rome" in result.stdout


def test_a_name_that_does_not_end_is_refused(run: Run) -> None:
    asked = ("--subject", "thing", "--template", "A {} is", *EDIT[4:6], "--layer", "1", "--model", MODEL)
    result = run("edit", *asked, "--moments", "identity")
    assert result.exit_code == 1
    assert "not to be told from what it says after it: 'kkkkkkkkkkkk'…; give the object until" in result.stderr
