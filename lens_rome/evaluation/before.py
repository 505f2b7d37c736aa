"""The scores of the unedited model beside those of an edited one, from two reports."""

from dataclasses import replace
from typing import Any

from lens_rome.evaluation.metrics import ReportError
from lens_rome.evaluation.report import EvalReport
from lens_rome.evaluation.rows import PromptScore

_ALIKE = ("model", "weights_digest", "surface", "dtype", "prepend_bos", "texts")
"""Settings that both reports must have alike, as far as both have them."""


def with_before(report: EvalReport, unedited: EvalReport) -> EvalReport:
    """See `EvalReport.with_before`."""
    _check(report, unedited)
    scores = {_key(row): row for row in unedited.scores}
    missing = [row for row in report.scores if _key(row) not in scores]
    texts = {row.case_id: row for row in unedited.texts}
    without = [row.case_id for row in report.texts if row.case_id not in texts]
    if missing or without:
        what = f"{len(missing)} prompts" if missing else f"the texts of {len(without)} records"
        first = missing[0].case_id if missing else without[0]
        raise ReportError(
            f"the report of the unedited model lacks {what}, the first of case {first}. Evaluate the same records with "
            "edits=None and the same options."
        )
    return replace(
        report,
        scores=tuple(_joined(row, scores[_key(row)]) for row in report.scores),
        texts=tuple(row.with_before(texts[row.case_id]) for row in report.texts),
        settings={**report.settings, "before": True},
    )


def _check(report: EvalReport, unedited: EvalReport) -> None:
    if unedited.settings.get("edits"):
        editors = ", ".join(str(each.get("editor", "unknown")) for each in unedited.settings["edits"])
        raise ReportError(
            f"the report to stand before is of a model edited by {editors}. Give one made with edits=None."
        )
    for name in _ALIKE:
        own, other = (_setting(each, name) for each in (report, unedited))
        if own is not None and other is not None and own != other:
            raise ReportError(
                f"the two reports differ in {name}: {own!r} here, {other!r} for the unedited model. Evaluate both with "
                "the same options."
            )


def _setting(report: EvalReport, name: str) -> Any:
    """A setting, but for how many texts there are for the essence, which has no score of the unedited model."""
    found = report.settings.get(name)
    return {**found, "essence_samples": 0} if name == "texts" and found else found


def _key(row: PromptScore) -> tuple[int, str, str, int, int]:
    """What was asked: the numbers of tokens tell whether the objects are the same."""
    return row.case_id, row.group, row.prompt, row.new.tokens, row.true.tokens if row.true else 0


def _joined(row: PromptScore, before: PromptScore) -> PromptScore:
    return replace(row, before_new=before.new, before_true=before.true)
