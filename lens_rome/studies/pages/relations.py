"""Scores by relation."""

import math

from lens_rome.evaluation import METRICS, ReportError, Score
from lens_rome.studies.pages.document import section
from lens_rome.studies.pages.elements import Markup, tag
from lens_rome.studies.pages.scores import Scores, metric_head
from lens_rome.studies.pages.table import Cell, Head, data_table

_ABOUT = "The same scores of each relation's records alone. Choose a heading to sort by it."
_UNKNOWN = "The records of this report do not tell their relations."


def relation_section(scores: Scores) -> Markup:
    """A table with a row for each relation, and for each editor where there are several."""
    several = len(scores.reports) > 1
    names = scores.shares
    rows = []
    for label, report in zip(scores.labels, scores.reports, strict=True):
        try:
            parts = report.breakdown()
        except ReportError:
            continue
        for relation, part in parts.items():
            summary = {name: part.score(name) for name in names}
            name = [relation or "no relation", *([label] if several else [])]
            n = len(part.case_ids)
            rows.append([*name, Cell(f"{n:,}", n), *(_cell(summary[each]) for each in names)])
    if not rows or not names:
        return section("By relation", tag("p", _UNKNOWN, class_="missing"))
    rows.sort(key=lambda row: str(row[0]))
    first = [Head("relation", number=False), *([Head("editor", number=False)] if several else []), Head("records")]
    columns = [*first, *(metric_head(name) for name in names)]
    told = " and ".join(f"{name} is {METRICS[name].title}" for name in names[:1])
    table = data_table(columns, rows, caption=f"Scores by relation, in percent; {told}", sortable=True)
    return section("By relation", table, about=_ABOUT, name="relations")


def _cell(score: Score) -> Cell:
    if math.isnan(score.mean):
        return Cell("–", None)
    return Cell(str(score), score.mean)
