"""Case files: the released code's JSON, a file a record, written and read to exchange results with it and its readers.

A file holds `case_id`, `requested_rewrite` and, for the model before and after the edit, the blocks `pre` and `post`. A
block has lists named by kind of prompts: `*_prompts_probs` with mean negative log-likelihoods per token of both
objects, or `*_prompts_correct` with truths (zsRE: one a token; MEMIT: one a prompt, whether all its tokens are the most
likely); then `ngram_entropy`, `reference_score`, `essence_score` (a perplexity) and `text`. Prompts, numbers of tokens
and joint probabilities are not in it: metrics that need those have no value for a report that was read.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lens_rome._files import written_whole
from lens_rome._warnings import warn_caller
from lens_rome.errors import FileFormatError
from lens_rome.evaluation.likelihood import Likelihood
from lens_rome.evaluation.report import EvalReport
from lens_rome.evaluation.rows import GROUPS, PromptScore, RecordTexts
from lens_rome.facts import EvalRecord

_PROBS, _CORRECT = "{}_prompts_probs", "{}_prompts_correct"
_UNKNOWN = Likelihood(math.nan, 1, 0)
_TEXT_NUMBERS = {"ngram_entropy": "ngram_entropy", "reference_score": "reference_score", "essence_score": "perplexity"}
"""Entries of a block, and the fields of `RecordTexts` that they are."""

Block = dict[str, Any]


class DamagedCaseWarning(UserWarning):
    """A case file could not be decoded and was left out."""


def write_case_files(report: EvalReport, folder: str | Path, records: Iterable[EvalRecord] = ()) -> list[Path]:
    """Write `case_<id>.json` for each record of a report; files that are there are replaced.

    A record whose rewrite prompt has no old object (zsRE) is written with truths, one a token: as many as are right,
    those first, since a report does not know which. Its mean is the same.

    Args:
        folder: made if it is not there.
        records: those that were evaluated, for `requested_rewrite`; without them it holds the relation alone.

    Returns:
        The files, in the order of the report.

    Raises:
        FileFormatError: the folder cannot be made.
    """
    folder = Path(folder)
    if folder.is_file() or not folder.parent.is_dir():
        raise FileFormatError(f"cannot write to {folder}: it must be a folder, in one that exists.")
    folder.mkdir(exist_ok=True)
    rewrites = {record.case_id: record.to_dict()["requested_rewrite"] for record in records}
    rows: dict[int, list[PromptScore]] = {case: [] for case in report.case_ids}
    for row in report.scores:
        rows[row.case_id].append(row)
    texts = {row.case_id: row for row in report.texts}
    written = []
    for case, scores in rows.items():
        told = texts.get(case)
        relation = next((row.relation for row in (*scores, *([told] if told else [])) if row.relation), "")
        content: Block = {"case_id": case, "requested_rewrite": rewrites.get(case, {"relation_id": relation})}
        before = [row.before for row in scores if row.before is not None]
        blocks = {"pre": _block(before, told.before if told else None), "post": _block(scores, told)}
        content |= {name: block for name, block in blocks.items() if block}
        path = folder / f"case_{case}.json"
        with written_whole(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        written.append(path)
    return written


def _block(scores: Sequence[PromptScore], texts: RecordTexts | None) -> Block:
    """What the files say of one model."""
    with_both = any(row.group == "rewrite" and row.true is not None for row in scores)
    block: Block = {}
    for group, right in GROUPS.items():
        rows = [row for row in scores if row.group == group and (row.true is not None or not with_both)]
        judged = [found for row in rows if (found := row.new if right == "new" else row.true) is not None]
        if not rows:
            continue
        if with_both and all("nll" in row.known for row in rows):
            block[_PROBS.format(group)] = [{"target_new": row.nll_new, "target_true": row.nll_true} for row in rows]
        if with_both and all("exact" in row.known for row in rows):
            block[_CORRECT.format(group)] = [found.exact for found in judged]
        elif not with_both:
            block[_CORRECT.format(group)] = [place < each.top for each in judged for place in range(each.tokens)]
    if texts is not None:
        numbers = {entry: getattr(texts, name) for entry, name in _TEXT_NUMBERS.items()}
        block |= {entry: value for entry, value in numbers.items() if value is not None}
        block |= {"text": list(texts.texts)} if texts.texts else {}
    return block


def read_case_files(folder: str | Path, label: str = "") -> EvalReport:
    """Read the case files of one run of the released code (of ROME or MEMIT), or of `write_case_files`.

    A file that cannot be decoded is left out with a `DamagedCaseWarning`.

    Args:
        folder: holds files `case_<id>.json` or `<n>_edits-case_<id>.json`.
        label: of the report; the folder's name if empty.

    Raises:
        FileFormatError: no file that can be read, a file that is not in this format, or a case twice.
    """
    folder = Path(folder)
    scores: list[PromptScore] = []
    texts: list[RecordTexts] = []
    seen: dict[int, Path] = {}
    for path, content in _contents(folder):
        try:
            case = int(content["case_id"])
            new_scores, new_texts = _read_case(case, content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FileFormatError(
                f"{path} is not a case file of the released code: {error!r}. Take it out of the folder."
            ) from error
        if case in seen:
            raise FileFormatError(f"case {case} is in {seen[case].name} and in {path.name}. Keep one of them.")
        seen[case] = path
        scores += new_scores
        texts += new_texts
    if not seen:
        raise FileFormatError(f"there is no case file that can be read in {folder}.")
    return EvalReport(tuple(scores), label or folder.name, tuple(texts), {"source": "case files"})


def _contents(folder: Path) -> list[tuple[Path, Any]]:
    """What the files hold that can be decoded, by number."""
    found = []
    for path in folder.glob("*case_*.json"):
        try:
            number = int(path.stem.rpartition("_")[2])
            found.append((number, path, json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError) as error:
            warn_caller(f"{path} cannot be decoded and is left out: {error}.", DamagedCaseWarning)
    return [(path, content) for _, path, content in sorted(found, key=lambda each: each[:2])]


def _read_case(case: int, content: Mapping[str, Any]) -> tuple[list[PromptScore], list[RecordTexts]]:
    rewrite, post, pre = content.get("requested_rewrite", {}), content["post"], content.get("pre", {})
    if not all(isinstance(block, dict) for block in (rewrite, post, pre)):
        raise TypeError("requested_rewrite, pre and post must be objects")
    relation = rewrite.get("relation_id", "")
    asked = rewrite["prompt"].replace("{}", rewrite["subject"]) if {"prompt", "subject"} <= rewrite.keys() else ""
    scores = []
    for group in GROUPS:
        after, before = _rows(post, group), _rows(pre, group)
        if before and len(before) != len(after):
            raise ValueError(f"pre and post have {len(before)} and {len(after)} {group} prompts")
        for place, (new, true, known) in enumerate(after):
            before_new, before_true, _ = before[place] if before else (None, None, known)
            prompt = asked if group == "rewrite" else ""
            scores.append(PromptScore(case, group, prompt, new, true, before_new, before_true, relation, known))
    return scores, _read_texts(case, post, pre, relation)


Found = tuple[Likelihood, Likelihood | None, frozenset[str]]


def _rows(block: Block, group: str) -> list[Found]:
    """The prompts of one kind as likelihoods of the new and the old object, and what is known of them."""
    probs, correct = block.get(_PROBS.format(group)), block.get(_CORRECT.format(group))
    if probs is None and not correct:
        return []
    if probs is None:
        return [_truths(correct or (), group)]
    if correct is not None and len(correct) != len(probs):
        raise ValueError(f"there are {len(probs)} probabilities and {len(correct)} truths of {group} prompts")
    known = frozenset({"nll"} if correct is None else {"nll", "exact"})
    found: list[Found] = []
    for place, pair in enumerate(probs):
        right = int(bool(correct[place])) if correct is not None else 0
        tops = (right, 0) if GROUPS[group] == "new" else (0, right)
        new, true = (
            Likelihood(-float(pair[f"target_{name}"]), 1, top) for name, top in zip(("new", "true"), tops, strict=True)
        )
        found.append((new, true, known))
    return found


def _truths(correct: Sequence[bool], group: str) -> Found:
    """The truths of all tokens of all prompts of a kind (zsRE), which the released code averages together."""
    judged = Likelihood(math.nan, len(correct), sum(map(bool, correct)))
    known = frozenset({"tokens"})
    return (judged, None, known) if GROUPS[group] == "new" else (_UNKNOWN, judged, known)


def _read_texts(case: int, post: Block, pre: Block, relation: str) -> list[RecordTexts]:
    numbers = {field: float(post[entry]) for entry, field in _TEXT_NUMBERS.items() if entry in post}
    numbers |= {f"before_{field}": float(pre[entry]) for entry, field in _TEXT_NUMBERS.items() if entry in pre}
    texts, before = tuple(post.get("text", ())), tuple(pre.get("text", ()))
    if not (numbers or texts or before):
        return []
    return [RecordTexts(case, texts, before_texts=before, relation=relation, **numbers)]
