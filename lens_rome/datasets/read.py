"""Facts from a file: the paper's `known_1000.json`, CounterFact records, or plain facts."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lens_rome.datasets.fetch import KNOWN, fetch
from lens_rome.datasets.json_file import read_json
from lens_rome.errors import DatasetError, LensRomeError
from lens_rome.facts import EvalRecord, Fact

Item = Mapping[str, Any]


def read_facts(source: str | Path) -> dict[str, Fact]:
    """Facts by id, from a JSON list.

    The list holds one of these kinds of records:

    - `known_1000.json` (keys `known_id, subject, attribute, prompt`): the prompt with its subject's first occurrence as
      the slot, which is what the paper traced (not `template`, whose prompt may end earlier);
    - `counterfact.json` (keys `case_id, requested_rewrite`): each record's fact with its true object;
    - plain facts (keys `subject`, `template` or `prompt`, and `target`; `id` if there is one).

    Args:
        source: a path, or `"known"` for the paper's file, fetched once where there is a network.

    Raises:
        DatasetError: no such file, another format, a record that is no fact (named by its id), or an id twice.
    """
    path = fetch(*KNOWN) if str(source) == "known" else Path(source)
    items = _items(path)
    read = _reader(items[0], path)
    facts: dict[str, Fact] = {}
    for place, item in enumerate(items):
        try:
            name, fact = read(item, place)
        except KeyError as error:
            raise DatasetError(
                f"{path.name}: record {_name(item, place)} is not a fact: the key {error} is missing."
            ) from error
        except (LensRomeError, TypeError, AttributeError) as error:
            raise DatasetError(f"{path.name}: record {_name(item, place)} is not a fact: {error}") from error
        if name in facts:
            raise DatasetError(f"{path.name}: the id {name!r} is there twice. Give every record its own.")
        facts[name] = fact
    return facts


def _items(path: Path) -> list[Item]:
    items = read_json(path)
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise DatasetError(f"{path} is not a JSON list of records.")
    return items


def _reader(item: Item, path: Path) -> Callable[[Item, int], tuple[str, Fact]]:
    if {"subject", "attribute", "prompt"} <= item.keys():
        return _known
    if "requested_rewrite" in item:
        return _counterfact
    if {"subject", "target"} <= item.keys() and ("template" in item or "prompt" in item):
        return _plain
    raise DatasetError(
        f"{path} has records with the keys {', '.join(sorted(item))}; known are those of known_1000.json, of "
        "counterfact.json, and plain facts (subject, template or prompt, target)."
    )


def _known(item: Item, place: int) -> tuple[str, Fact]:
    fact = Fact.from_prompt(item["prompt"], item["subject"], item["attribute"], item.get("relation_id", ""))
    return str(item.get("known_id", place)), fact


def _counterfact(item: Item, place: int) -> tuple[str, Fact]:  # noqa: ARG001 - a reader like the others
    record = EvalRecord.from_dict(dict(item))
    request = record.request
    return str(record.case_id), Fact(request.subject, request.template, request.target_true, request.relation)


def _plain(item: Item, place: int) -> tuple[str, Fact]:
    name = str(item.get("id", place))
    if "template" in item:
        return name, Fact(item["subject"], item["template"], item["target"], item.get("relation", ""))
    return name, Fact.from_prompt(item["prompt"], item["subject"], item["target"], item.get("relation", ""))


def _name(item: Item, place: int) -> object:
    return item.get("known_id", item.get("case_id", item.get("id", place)))
