"""Figures that the papers print, to stand beside one's own (ROME, https://arxiv.org/abs/2202.05262)."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from lens_rome.evaluation.metrics import ReportError
from lens_rome.evaluation.summary import Score

_FILE = "published.json"
_SAME = {"gpt-j": "gpt-j-6b", "gpt2-m": "gpt2-medium", "gpt2-l": "gpt2-large"}


@dataclass(frozen=True)
class PublishedRow:
    """One row of a published table."""

    model: str
    editor: str
    data: str
    """counterfact or zsre."""
    records: int
    """Of the file, from its first one."""
    source: str
    scores: Mapping[str, Score]
    """By metric, as fractions; a half width that was not printed is NaN."""

    @property
    def label(self) -> str:
        """What tables call it."""
        return f"{self.editor} (published)"


def published(model: str, data: str = "counterfact") -> tuple[PublishedRow, ...]:
    """The published rows of a model; none for a model that has none.

    Args:
        model: such as gpt2-xl, or the name of its repository.
        data: counterfact or zsre.

    Raises:
        ReportError: no such data.
    """
    rows = _rows()
    known = tuple(dict.fromkeys(row.data for row in rows))
    if data not in known:
        raise ReportError(f"there are published figures for {' and '.join(known)}, got {data!r}.")
    name = _plain(model)
    return tuple(row for row in rows if (row.model, row.data) == (name, data))


def published_models() -> tuple[str, ...]:
    """Models that have published rows."""
    return tuple(dict.fromkeys(row.model for row in _rows()))


def _plain(model: str) -> str:
    """The name without its owner, in small letters."""
    name = model.rsplit("/", 1)[-1].lower()
    return _SAME.get(name, name)


def _rows() -> list[PublishedRow]:
    tables = json.loads((files("lens_rome.evaluation") / _FILE).read_text(encoding="utf-8"))
    return [
        PublishedRow(table["model"], editor, table["data"], table["records"], table["source"], _scores(table, figures))
        for table in tables
        for editor, figures in table["rows"].items()
    ]


def _scores(table: Mapping[str, Any], figures: list[list[Any]]) -> dict[str, Score]:
    """Figures in percent, each `[mean, half width]`, in the order of the table's columns."""
    return {
        name: Score(mean / 100, math.nan if width is None else width / 100, table["records"])
        for name, (mean, width) in zip(table["columns"], figures, strict=True)
    }
