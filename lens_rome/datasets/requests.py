"""Requests to edit from a file: plain ones, CounterFact records, or both."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lens_rome.datasets.stream import read_entries
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
    found = [_request(item, f"{path.name}: {place}") for place, item in list(read_entries(path))]
    if not found:
        raise DatasetError(f"{path} holds no requests. {_NEEDED}")
    return found


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
