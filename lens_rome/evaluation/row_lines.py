"""Rows of a report as JSON objects, for reports and for runs."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lens_rome.evaluation.likelihood import Likelihood
from lens_rome.evaluation.rows import GROUPS, MEASURES, PromptScore, RecordCase, RecordTexts

_LIKELIHOODS = ("new", "true", "before_new", "before_true")
_NUMBERS = (
    "ngram_entropy",
    "reference_score",
    "essence",
    "perplexity",
    "before_ngram_entropy",
    "before_reference_score",
    "before_perplexity",
)

AnyRow = PromptScore | RecordTexts | RecordCase


def to_line(row: AnyRow) -> dict[str, Any]:
    """The row as an object of strict JSON; `from_line` gives it back."""
    if isinstance(row, PromptScore):
        return _prompt_line(row)
    if isinstance(row, RecordTexts):
        line = {"case_id": row.case_id, "texts": row.texts, "before_texts": row.before_texts, "relation": row.relation}
        return line | {name: _number(value) for name in _NUMBERS if (value := getattr(row, name)) is not None}
    told = {name: value for name, value in asdict(row).items() if value not in ("", None, ())}
    told |= {"losses": [_number(loss) for loss in row.losses]} if row.losses else {}
    return told | {"change": _number(row.change)} if row.change is not None else told


def from_line(line: Mapping[str, Any]) -> AnyRow:
    """The row that `to_line` was given.

    Raises:
        KeyError, TypeError, ValueError: it is no such object.
    """
    if "subject" in line:
        losses, change = line.get("losses", ()), line.get("change")
        numbers: dict[str, Any] = {
            "losses": tuple(map(float, losses)),
            "change": None if change is None else float(change),
        }
        return RecordCase(**{**line, **numbers})
    case_id = int(line["case_id"])
    if "texts" in line:
        numbers = {name: float(line[name]) for name in _NUMBERS if name in line}
        texts, before = tuple(line["texts"]), tuple(line["before_texts"])
        return RecordTexts(case_id, texts, before_texts=before, relation=line["relation"], **numbers)
    if line["group"] not in GROUPS:
        raise ValueError(f"there is no group {line['group']!r}")
    found: dict[str, Any] = {name: _likelihood(*line[name]) for name in _LIKELIHOODS if name in line}
    found |= {"divergence": float(line["divergence"])} if "divergence" in line else {}
    known = frozenset(line.get("known", MEASURES))
    return PromptScore(case_id, line["group"], line["prompt"], relation=line.get("relation", ""), known=known, **found)


def _prompt_line(row: PromptScore) -> dict[str, Any]:
    line: dict[str, Any] = {"case_id": row.case_id, "group": row.group, "prompt": row.prompt}
    for name in _LIKELIHOODS:
        found: Likelihood | None = getattr(row, name)
        if found is not None:
            line[name] = [_number(found.logprob), found.tokens, found.top]
    line |= {"relation": row.relation} if row.relation else {}
    line |= {} if row.divergence is None else {"divergence": _number(row.divergence)}
    return line | ({"known": sorted(row.known)} if row.known != MEASURES else {})


def _number(value: float) -> float | str:
    """As JSON can hold it: one that is not finite as text, which `float` reads again."""
    return value if math.isfinite(value) else str(value)


def _likelihood(logprob: float | str, tokens: int, top: int) -> Likelihood:
    return Likelihood(float(logprob), tokens, top)
