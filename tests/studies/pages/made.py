"""Reports for pages, with everything that a page can show."""

from dataclasses import replace

from lens_rome.evaluation import EvalReport, RecordCase
from tests.evaluation.reports import random_report

SUBJECT, NEW, OLD = "Eiffel Tower", "Rome", "Paris"


def full_report(seed: int = 1, label: str = "ROME", *, n: int = 6, subject: str = SUBJECT) -> EvalReport:
    """Before and after, texts, and how each edit was made."""
    report = random_report(seed, label, n=n)
    texts = tuple(
        replace(
            row, texts=(f"Of {subject} {row.case_id}: Rome is",), before_texts=(f"Of {subject} {row.case_id}: Paris",)
        )
        for row in report.texts
    )
    cases = tuple(
        RecordCase(
            row.case_id,
            f"{subject} {row.case_id}",
            "The {} is in",
            NEW,
            OLD,
            row.relation,
            label,
            0.25 + row.case_id,
            0.5,
            (4.0, 2.0, 1.0),
        )
        for row in report.texts
    )
    return replace(report, texts=texts, cases=cases)
