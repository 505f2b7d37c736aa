"""`--set` reads a text by the type of its field, or says which fields there are."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from lens_rome.cli.reporting import CommandError
from lens_rome.cli.settings import setting_names, with_settings
from lens_rome.editing import MEMIT, ROME, ValueSettings
from lens_rome.errors import EditError


@dataclass(frozen=True)
class Part:
    rate: float = 0.5
    count: int = 3


@dataclass(frozen=True)
class Every:
    """A field of each type that editors have."""

    whole: int = 1
    number: float = 1.0
    text: str = "a"
    yes: bool = False
    bound: float | None = None
    several: tuple[int, ...] = ()
    texts: tuple[str, ...] | None = ("x",)
    pairs: tuple[tuple[int, int], ...] = ((5, 10),)
    part: Part = field(default_factory=Part)
    name: str = "every"


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("whole=-2", "whole", -2),
        ("number=5e-4", "number", 5e-4),
        ("number=500", "number", 500.0),
        ("text=subject_last", "text", "subject_last"),
        ("text=a=b", "text", "a=b"),
        ("yes=True", "yes", True),
        ("yes=false", "yes", False),
        ("bound=0.5", "bound", 0.5),
        ("bound=none", "bound", None),
        (" several = 3, 1,2 ", "several", (3, 1, 2)),
        ("several=", "several", ()),
        ("texts=W_out,b_out", "texts", ("W_out", "b_out")),
        ("texts=None", "texts", None),
        ("pairs=", "pairs", ()),
        ("part.rate=2", "part", Part(2.0)),
    ],
)
def test_a_text_becomes_a_value_of_its_fields_type(text: str, name: str, value: Any) -> None:
    found = getattr(with_settings(Every(), [text]), name)
    assert found == value
    assert type(found) is type(value)


def test_settings_of_one_part_are_set_together_and_the_rest_stays() -> None:
    found = with_settings(Every(text="kept"), ["part.rate=2", "part.count=7", "whole=4"])
    assert found == Every(whole=4, text="kept", part=Part(2.0, 7))


def test_nothing_to_set_changes_nothing() -> None:
    editor = MEMIT((1, 2))
    assert with_settings(editor, []) == editor


def test_an_editors_own_settings_can_all_be_named() -> None:
    names = setting_names(MEMIT((1, 2)))
    assert {"layers", "weight", "value.steps", "value.clamp", "objective.erase", "seed"} <= set(names)
    changed = with_settings(MEMIT((1, 2)), ["layers=0,3", "weight=500", "value.steps=30"])
    assert changed == MEMIT((0, 3), weight=500.0, value=ValueSettings(steps=30, clamp=0.75))


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("whole", "--set takes NAME=VALUE, such as weight=500; got 'whole'"),
        ("wieght=1", "there is no setting 'wieght' of every; it has whole, number, .*, part.rate, part.count, name"),
        ("part.speed=1", "there is no setting 'part.speed' of every"),
        ("text.size=1", "there is no setting 'text.size' of every"),
        ("whole=1.5", "--set whole takes a whole number; got '1.5'"),
        ("number=fast", "--set number takes a number; got 'fast'"),
        ("yes=1", "--set yes takes true or false; got '1'"),
        ("bound=low", "--set bound takes a number, or none; got 'low'"),
        ("several=1;2", "--set several takes whole numbers separated by commas; got '1;2'"),
        ("pairs=5", "pairs cannot be given by --set; set it in Python"),
        ("part=1", "part cannot be given by --set; set it in Python"),
    ],
)
def test_a_text_that_is_no_setting_is_refused_with_what_there_is(text: str, advice: str) -> None:
    with pytest.raises(CommandError, match=advice):
        with_settings(Every(), [text])


def test_the_editor_itself_refuses_values_that_make_no_sense() -> None:
    with pytest.raises(EditError, match="weight must be a number above 0"):
        with_settings(MEMIT((1, 2)), ["weight=-1"])
    with pytest.raises(EditError, match="layer must be a whole number from 0"):
        with_settings(ROME(1), ["layer=-1"])
