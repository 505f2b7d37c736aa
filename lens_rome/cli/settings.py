"""`--set NAME=VALUE`: single settings of an editor, read by the types of its fields."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from lens_rome.cli.reporting import CommandError

Settings = TypeVar("Settings")


def with_settings(editor: Settings, assignments: Sequence[str]) -> Settings:
    """The editor with the settings that texts such as `weight=500`, `layers=1,2,3` or `value.steps=30` give.

    Raises:
        CommandError: no such setting, or a value of another type.  EditError: a value that the editor refuses.
    """
    changes: dict[str, Any] = {}
    for text in assignments:
        path, sign, value = text.partition("=")
        if not sign:
            raise CommandError(f"--set takes NAME=VALUE, such as weight=500; got {text!r}.")
        *outer, last = path.strip().split(".")
        owner, place = editor, changes
        for name in outer:
            owner, place = _inner(editor, owner, name, path), place.setdefault(name, {})
        place[last] = _value(editor, owner, last, value.strip(), path.strip())
    return _replaced(editor, changes)


_SENTENCES = ("contexts", "paraphrases")
"""Settings that a list with commas cannot say."""


def setting_names(settings: object) -> list[str]:
    """The settings of an editor by their names on the command line, those of its parts with a dot."""
    names = []
    for name in _names(settings):
        part = getattr(settings, name)
        names += [f"{name}.{inner}" for inner in setting_names(part)] if _has_parts(part) else [name]
    return [name for name in names if name not in _SENTENCES]


def has_setting(settings: object, name: str) -> bool:
    """Whether an editor has this setting itself."""
    return name in _names(settings)


def _names(settings: object) -> list[str]:
    return [field.name for field in fields(settings) if field.init] if _has_parts(settings) else []  # pyright: ignore[reportArgumentType]


def _has_parts(settings: object) -> bool:
    return is_dataclass(settings) and not isinstance(settings, type)


def _inner(editor: object, owner: object, name: str, path: str) -> Any:
    if name not in _names(owner) or not _has_parts(getattr(owner, name)):
        raise _unknown(editor, path)
    return getattr(owner, name)


def _value(editor: object, owner: object, name: str, text: str, path: str) -> Any:
    """The text as a value of the field `name`."""
    if name not in _names(owner):
        raise _unknown(editor, path)
    if name in _SENTENCES:
        raise CommandError(
            f"{path} cannot be given by --set, since its texts hold spaces and commas; set it in Python."
        )
    hint = get_type_hints(type(owner))[name]
    try:
        return _read(text, hint)
    except ValueError as error:
        wanted = _described(hint)
        if wanted is None:
            raise CommandError(f"{path} cannot be given by --set; set it in Python.") from error
        raise CommandError(f"--set {path} takes {wanted}; got {text!r}.") from error


def _unknown(editor: object, path: str) -> CommandError:
    known = ", ".join(setting_names(editor))
    return CommandError(f"there is no setting {path!r} of {getattr(editor, 'name', 'the editor')}; it has {known}.")


def _read(text: str, hint: Any) -> Any:
    """The text as a value of a type.

    Raises:
        ValueError: it is none.
    """
    options = get_args(hint)
    if NoneType in options:
        return None if text.lower() == "none" else _read(text, _without_none(hint))
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    if hint in (int, float, str):
        return hint(text)
    if get_origin(hint) is tuple and options[1:] == (...,):
        return tuple(_read(part.strip(), options[0]) for part in text.split(",") if part.strip())
    raise ValueError(text)


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
_SEVERAL = {int: "whole numbers", float: "numbers", str: "texts"}


def _described(hint: Any) -> str | None:
    """What a type is called; None for one that cannot be read from a text."""
    options = get_args(hint)
    if NoneType in options:
        wanted = _described(_without_none(hint))
        return wanted and f"{wanted}, or none"
    if get_origin(hint) is tuple and options[1:] == (...,) and options[0] in _SEVERAL:
        return f"{_SEVERAL[options[0]]} separated by commas"
    return _WORDS.get(hint)


def _without_none(hint: Any) -> Any:
    return next(option for option in get_args(hint) if option is not NoneType)


def _replaced(settings: Any, changes: dict[str, Any]) -> Any:
    values = {
        name: _replaced(getattr(settings, name), value) if isinstance(value, dict) else value
        for name, value in changes.items()
    }
    return replace(settings, **values)
