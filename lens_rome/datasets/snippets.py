"""Texts about entities that have an attribute: what the texts of an edited model should be like.

`attribute_snippets.json` of CounterFact has 926 MB of them. Read the groups that are wanted once, save them, and read
the small file from then on.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lens_rome._files import written_whole
from lens_rome.datasets.fetch import SNIPPETS, fetch
from lens_rome.datasets.stream import read_entries
from lens_rome.errors import DatasetError
from lens_rome.facts import EvalRecord

Group = tuple[str, str]
"""A relation and an object by its id, as `EvalRecord.reference_group`."""


@dataclass(frozen=True)
class Snippets:
    """Texts by the attribute that what they tell of has."""

    groups: Mapping[Group, tuple[str, ...]]
    """No group is empty."""

    def __post_init__(self) -> None:
        for group, texts in self.groups.items():
            if not any(text.strip() for text in texts):
                raise DatasetError(f"the snippets of {_named(group)} are empty; leave its records out, or give texts.")

    def save(self, path: str | Path) -> Path:
        """Write them in the schema of `attribute_snippets.json`, for `read_snippets`; returns the path.

        Raises:
            FileFormatError: the folder does not exist, or the path is a folder.
        """
        path = Path(path)
        items = [
            {"relation_id": relation, "target_id": target, "samples": [{"text": text} for text in texts]}
            for (relation, target), texts in self.groups.items()
        ]
        with written_whole(path) as temporary:
            temporary.write_text(json.dumps(items, ensure_ascii=False, indent=0), encoding="utf-8")
        return path


def wanted_groups(records: Iterable[EvalRecord]) -> list[Group]:
    """The groups of some records, each once, in the records' order."""
    return list(dict.fromkeys(record.reference_group for record in records))


def read_snippets(source: str | Path, groups: Collection[Group] | None = None) -> Snippets:
    """The texts of some groups of a file in the schema of `attribute_snippets.json`, read one group at a time.

    Args:
        source: a path, or `"counterfact"` for the published file (926 MB), fetched once where there is a network.
        groups: those wanted (see `wanted_groups`); None for all. A group that recurs in the file is one.

    Raises:
        DatasetError: no such file, not JSON, an entry of another schema, or a wanted group that has no text.
    """
    path = fetch(*SNIPPETS) if str(source) == "counterfact" else Path(source)
    found: dict[Group, list[str]] = {} if groups is None else {group: [] for group in groups}
    for place, item in read_entries(path):
        try:
            group = (item["relation_id"], item["target_id"])
            if groups is None or group in found:
                found.setdefault(group, []).extend(_texts(item["samples"]))
        except (KeyError, TypeError) as error:
            wrong = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
            raise DatasetError(
                f"{path.name}: {place} is not a group of snippets: {wrong}. It has relation_id, target_id and samples, "
                "a list of objects with a text."
            ) from error
    if empty := [group for group, texts in found.items() if not any(text.strip() for text in texts)]:
        raise DatasetError(
            f"{path.name} has no text for {len(empty)} of the wanted groups; the first is {_named(empty[0])}. Leave "
            "their records out, or give a file that has them."
        )
    return Snippets({group: tuple(texts) for group, texts in found.items()})


def _texts(samples: Any) -> list[str]:
    texts = [sample["text"] for sample in samples]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a text is none")
    return texts


def _named(group: Group) -> str:
    return f"relation {group[0]!r} and object {group[1]!r}"
