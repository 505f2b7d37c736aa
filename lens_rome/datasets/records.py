"""Records to edit and to score, from a file in the schema of CounterFact."""

from collections.abc import Iterator
from pathlib import Path

from lens_rome._warnings import warn_caller
from lens_rome.datasets.fetch import COUNTERFACT, fetch
from lens_rome.datasets.stream import read_entries
from lens_rome.errors import DatasetError, FactError
from lens_rome.facts import EvalRecord


def read_records(source: str | Path, *, limit: int | None = None, strict: bool = False) -> list[EvalRecord]:
    """All records of a file, in its order: `counterfact.json`, `multi_counterfact.json`, or others of that schema.

    Args:
        source: a path of a JSON list or of JSON Lines, or `"counterfact"` for the published file, fetched once where
            there is a network.
        limit: only records whose `case_id` is below it, which is how the papers take the first of them.
        strict: refuse what otherwise is a single warning: a record whose subject is not in one of its paraphrases or
            generation prompts.

    Raises:
        DatasetError: as `iter_records`, and a file or limit that leaves no record.
    """
    records = list(iter_records(source, limit=limit, strict=strict))
    if not records:
        below = "" if limit is None else f" with a case_id below {limit}"
        raise DatasetError(f"{source} holds no records{below}.")
    return records


def iter_records(source: str | Path, *, limit: int | None = None, strict: bool = False) -> Iterator[EvalRecord]:
    """The records of `read_records`, one at a time: the file is never held whole.

    Raises:
        DatasetError: no such file, not JSON, an id twice, or an entry that is no record (a key is missing, a template
            without exactly one `{}`, equal targets); the message names the entry and its id.
    """
    path = records_path(source)
    seen: set[int] = set()
    absent: list[str] = []
    for place, item in read_entries(path):
        try:
            record = EvalRecord.from_dict(item)
        except FactError as error:
            raise DatasetError(f"{path.name}: {place}: {error}") from error
        if record.case_id in seen:
            raise DatasetError(f"{path.name}: {place}: the case_id {record.case_id} is there twice. Give each its own.")
        seen.add(record.case_id)
        if limit is not None and record.case_id >= limit:
            continue
        if problem := subject_absent(record):
            if strict:
                raise DatasetError(f"{path.name}: {problem} Leave the record out, or read without strict.")
            absent.append(problem)
        yield record
    if absent:
        warn_caller(f"{path.name}: {len(absent)} records have a prompt without their subject; the first: {absent[0]}")


def records_path(source: str | Path) -> Path:
    """The file that `source` names.

    Raises:
        DatasetError: a data set that is known but cannot be fetched.
    """
    if str(source) == "counterfact":
        return fetch(*COUNTERFACT)
    if str(source) in ("zsre", "multi_counterfact"):
        raise DatasetError(
            f"{source!r} cannot be fetched: no checksum of the published file is known here. Give the path of a copy."
        )
    return Path(source)


def subject_absent(record: EvalRecord) -> str:
    """A sentence on the first prompt about the subject that does not name it; empty if all do."""
    for prompt in (*record.paraphrase_prompts, *record.generation_prompts):
        if record.request.subject not in prompt:
            return f"record {record.case_id}: subject {record.request.subject!r} is not in the prompt {prompt!r}."
    return ""
