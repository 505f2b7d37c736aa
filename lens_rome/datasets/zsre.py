"""zsRE's questions as records: what a model is asked, in other words, and about something else.

A zsRE file tells right answers: the edit corrects the model, and there is no old object to compare with. What counts is
the share of the answer's tokens that the model gives (`Likelihood.accuracy`), after the question, after its rephrasing,
and after an unrelated question of Natural Questions with an answer of its own (`neighborhood_answers`).
"""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from lens_rome.datasets.records import records_path
from lens_rome.datasets.stream import read_entries
from lens_rome.errors import DatasetError, FactError
from lens_rome.facts import EditRequest, EvalRecord, Fact

_NEEDED = "A zsRE record has subject, src, rephrase, answers, loc and loc_ans."
_MARK = "nq question: "


def read_zsre(
    source: str | Path, *, form: Literal["meng", "hase"] = "meng", seed: int | None = None, limit: int | None = None
) -> list[EvalRecord]:
    """The records of `zsre_mend_eval.json` or a file of its schema (a JSON list, or JSON Lines).

    The case id is the record's place in the file, from 0. Of several mentions of the subject the first is the slot.

    - `form="meng"` (ROME and MEMIT): the bare question, continued by the first answer; no old object.
    - `form="hase"`: `Question: … Answer:` around every question. The new object is another record's first answer, drawn
      with `seed` for each record by itself; the old one is the record's own. Scored as CounterFact.

    Args:
        seed: of the new objects of `"hase"`; only there, and always there.
        limit: only the first so many records (their new objects are still drawn from all).

    Raises:
        DatasetError: no such file, not JSON, no records, or an entry that is none: a key is missing, the subject is not
            in the question, or `loc` is no question.
    """
    if (form == "hase") != (seed is not None):
        raise DatasetError(
            f"form={form!r} with seed={seed}: 'hase' draws its new objects and needs a seed, 'meng' has none to draw."
        )
    path = records_path(source)
    items = [_checked(item, f"{path.name}: {place}") for place, item in read_entries(path)]
    chosen = items if limit is None else items[:limit]
    if not chosen:
        raise DatasetError(f"{source} holds no records. {_NEEDED}")
    answers = [item["answers"][0].strip() for item in items]
    records = []
    for case_id, item in enumerate(chosen):
        try:
            records.append(_meng(case_id, item) if seed is None else _hase(case_id, item, answers, seed))
        except FactError as error:
            raise DatasetError(f"{path.name}: record {case_id}: {error}") from error
    return records


def _checked(item: Any, place: str) -> Mapping[str, Any]:
    """The item, if it has what is read of it."""
    if not isinstance(item, Mapping):
        raise DatasetError(f"{place} is not a record but {item!r}. {_NEEDED}")
    for key in ("subject", "src", "rephrase", "loc", "loc_ans"):
        if not isinstance(item.get(key), str) or not item[key].strip():
            raise DatasetError(f"{place}: {key} must be a text, got {item.get(key)!r}. {_NEEDED}")
    answers = item.get("answers")
    if not isinstance(answers, list) or not answers or not isinstance(answers[0], str) or not answers[0].strip():
        raise DatasetError(f"{place}: answers must be a list of texts, got {answers!r}. {_NEEDED}")
    if _MARK not in item["loc"]:
        raise DatasetError(f"{place}: loc must have {_MARK!r} in it, got {item['loc']!r}.")
    return item


def _meng(case_id: int, item: Mapping[str, Any]) -> EvalRecord:
    fact = Fact.from_prompt(item["src"], item["subject"], item["answers"][0])
    return EvalRecord(
        case_id,
        EditRequest(fact.subject, fact.template, fact.target),
        paraphrase_prompts=(item["rephrase"],),
        neighborhood_prompts=(f"{item['loc']}?",),
        neighborhood_answers=(item["loc_ans"].strip(),),
        extra={"zsre": dict(item)},
    )


def _hase(case_id: int, item: Mapping[str, Any], answers: list[str], seed: int) -> EvalRecord:
    fact = Fact.from_prompt(_asked(item["src"]), item["subject"], item["answers"][0])
    if all(answer == fact.target for answer in answers):
        raise FactError(f"every record has the answer {fact.target!r}: there is no other to draw.")
    chance = random.Random(f"{seed}\x1f{case_id}")
    new = fact.target
    while new == fact.target:
        new = chance.choice(answers)
    return EvalRecord(
        case_id,
        EditRequest(fact.subject, fact.template, new, fact.target),
        paraphrase_prompts=(_asked(item["rephrase"]),),
        neighborhood_prompts=(_asked(f"{item['loc'].replace(_MARK, '')}?"),),
        neighborhood_answers=(item["loc_ans"].strip(),),
        extra={"zsre": dict(item), "seed": seed},
    )


def _asked(question: str) -> str:
    return f"Question: {question} Answer:"
