"""The scores of the unedited model beside those of an edited one, from two reports."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from lens_rome.evaluation.metrics import ReportError
from lens_rome.evaluation.report import EvalReport
from lens_rome.evaluation.rows import PromptScore

_ALIKE = ("model", "weights_digest", "surface", "dtype", "prepend_bos", "texts", "references")
"""Settings that both reports must have alike, as far as both have them."""
_PROBLEM = ("problem", "problem_settings")
"""Settings that only reports of editing problems have; a report that tells its settings and not these has none."""


_MAKE_IT = "Evaluate the same records by the same metrics and options without an edit (edits=None, --editor none)."


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
        raise ReportError(f"the report of the unedited model lacks {what}, the first of case {first}. {_MAKE_IT}")
    return replace(
        report,
        scores=tuple(_joined(row, scores[_key(row)]) for row in report.scores),
        texts=tuple(row.with_before(texts[row.case_id]) for row in report.texts),
        settings={**report.settings, "before": True},
    )


def check_before(unedited: EvalReport, settings: Mapping[str, Any], case_ids: Iterable[int]) -> None:
    """Look whether a report can stand before one that is still to be made, with these settings and of these records.

    Raises:
        ReportError: as `EvalReport.with_before`.
    """
    _check(EvalReport((), settings=settings), unedited)
    lacking = set(settings.get("groups", ())) - set(unedited.settings.get("groups", settings.get("groups", ())))
    if lacking:
        raise ReportError(f"the report of the unedited model lacks all {min(lacking)} prompts. {_MAKE_IT}")
    without = sorted(set(case_ids) - set(unedited.case_ids))
    if without:
        raise ReportError(
            f"the report of the unedited model lacks {len(without)} records, the first is case {without[0]}. {_MAKE_IT}"
        )


def _check(report: EvalReport, unedited: EvalReport) -> None:
    if unedited.settings.get("edits"):
        editors = ", ".join(str(each.get("editor", "unknown")) for each in unedited.settings["edits"])
        raise ReportError(f"the report to stand before is of a model edited by {editors}. {_MAKE_IT}")
    told = bool(report.settings and unedited.settings)
    for name in (*_ALIKE, *_PROBLEM):
        own, other = (_setting(each, name) for each in (report, unedited))
        known = told if name in _PROBLEM else own is not None and other is not None
        if known and own != other:
            raise ReportError(
                f"the two reports differ in {name}: {own!r} here, {other!r} for the unedited model. Evaluate both with "
                "the same options."
            )
    _check_objects(report, unedited)


def _check_objects(report: EvalReport, unedited: EvalReport) -> None:
    """Raise `ReportError` if a record asks for another object in the other report: the prompts would be the same."""
    others = {case.case_id: (case.target_new, case.target_true) for case in unedited.cases}
    for case in report.cases:
        own = (case.target_new, case.target_true)
        other = others.get(case.case_id, own)
        if other != own:
            raise ReportError(
                f"the two reports ask case {case.case_id} about other objects: {own} here, {other} for the unedited "
                "model. Evaluate both with the same records."
            )


def _setting(report: EvalReport, name: str) -> Any:
    """A setting, but for how many texts there are for the essence, which has no score of the unedited model."""
    found = report.settings.get(name)
    return {**found, "essence_samples": 0} if name == "texts" and found else found


def _key(row: PromptScore) -> tuple[int, str, str, int, int]:
    """What was asked, as far as a row tells: of the objects, how many tokens they have."""
    return row.case_id, row.group, row.prompt, row.new.tokens, row.true.tokens if row.true else 0


def _joined(row: PromptScore, before: PromptScore) -> PromptScore:
    return replace(row, before_new=before.new, before_true=before.true)
