"""Requests to edit from a file: plain ones, CounterFact records, or both."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lens_rome.errors import DatasetError, FactError, LensRomeError
from lens_rome.facts import EditRequest, EvalRecord, Fact

_NEEDED = "An entry needs subject, template (or prompt) and target_new, or is a CounterFact record."


def read_requests(source: str | Path) -> list[EditRequest]:
    """All requests of a file, in its order.

    The file is a JSON list, or JSON Lines: one object a line, empty lines left out. An object is one of

    - a plain request: `subject`, `template` and `target_new`; if known `target_true` and `relation`. In place of
      `template` there may be a `prompt`, with a slot `{}` or with the subject itself (its first occurrence then is the
      slot). Targets are texts, or objects with the text under `str`. Other keys are ignored;
    - a CounterFact record (`requested_rewrite`): its request.

    Raises:
        DatasetError: no such file, another format, no entries, or an entry that is no request, with its number (from
            1) in the list or its line.
    """
    path = Path(source)
    found = [_request(item, f"{path.name}: {place}") for place, item in _items(path)]
    if not found:
        raise DatasetError(f"{path} holds no requests. {_NEEDED}")
    return found


def _items(path: Path) -> Iterator[tuple[str, Any]]:
    """Every entry with its place in the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}. Check the path.") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}.") from error
    if text.lstrip().startswith("["):
        for number, item in enumerate(_json(text, str(path)), 1):
            yield f"entry {number}", item
        return
    for number, line in enumerate(text.split("\n"), 1):  # splitlines would also split at what texts may hold
        if line.strip():
            yield f"line {number}", _json(line, f"{path}, line {number},")


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise DatasetError(f"{what} is not JSON: {error}. Give a JSON list, or one JSON object a line.") from error


def _request(item: Any, place: str) -> EditRequest:
    if not isinstance(item, Mapping):
        raise DatasetError(f"{place} is not a request but {item!r}. {_NEEDED}")
    try:
        return EvalRecord.from_dict(item).request if "requested_rewrite" in item else _plain(item)
    except KeyError as error:
        raise DatasetError(f"{place} is not a request: the key {error} is missing. {_NEEDED}") from error
    except LensRomeError as error:
        raise DatasetError(f"{place} is not a request: {error}") from error


def _plain(item: Mapping[str, Any]) -> EditRequest:
    subject, target = _text(item, "subject"), _text(item, "target_new")
    template = _text(item, "template" if "template" in item else "prompt")
    if "template" not in item and "{}" not in template:
        template = Fact.from_prompt(template, subject, "?").template
    given = {key: _text(item, key) for key in ("target_true", "relation") if key in item}
    return EditRequest(subject, template, target, **given)


def _text(item: Mapping[str, Any], key: str) -> str:
    """The text of an entry's key, or of the `str` inside it."""
    value = item[key]
    text = value.get("str") if isinstance(value, Mapping) else value
    if not isinstance(text, str):
        raise FactError(f"{key} must be a text, got {value!r}.")
    return text
