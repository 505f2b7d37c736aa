"""Editors compared on the same records."""

from lens_rome.evaluation import METRICS, Difference, ReportError, Score
from lens_rome.evaluation.report import BEFORE
from lens_rome.studies.pages.document import section
from lens_rome.studies.pages.elements import Markup, join, tag
from lens_rome.studies.pages.scores import Scores, named_metric
from lens_rome.studies.pages.table import Head, data_table

_ABOUT = (
    "Each editor minus the first one on the records that both have, with the 95% interval of the paired differences: "
    "narrower than the two intervals above, since hard records are hard for both. A difference whose interval is on "
    "one side of 0 is in bold. Times 100, but for perplexity and NKL."
)


def difference_section(scores: Scores) -> Markup:
    """Nothing for one report; else a table with a column for each report but the first."""
    if len(scores.reports) == 1:
        return join([])
    found: dict[str, dict[str, Difference]] = {}
    troubles = []
    for label, report in zip(scores.labels[1:], scores.reports[1:], strict=True):
        try:
            told = report.compare(scores.reports[0])
        except ReportError as error:
            troubles.append(tag("p", f"{label} is not compared: {error}", class_="missing"))
            continue
        column = f"{label} minus {scores.labels[0]}, {told.shared:,} record{'s' * (told.shared != 1)}"
        found[column] = {name: each for name, each in told.differences.items() if not name.endswith(BEFORE)}
    names = [name for name in METRICS if any(name in column for column in found.values())]
    columns = [Head("metric", number=False), *map(Head, found)]
    rows = [[named_metric(name), *(_cell(name, column) for column in found.values())] for name in names]
    table = [data_table(columns, rows, caption="Paired differences")] if rows else []
    return section("Differences between editors", *table, *troubles, about=_ABOUT, name="differences")


def _cell(name: str, column: dict[str, Difference]) -> str:
    if name not in column:
        return "–"
    score = column[name].difference
    shown = shown_difference(score, METRICS[name].scale)
    low, high = score.interval
    return tag("b", shown) if low > 0 or high < 0 else shown


def shown_difference(score: Score, scale: float) -> str:
    """`+3.1 (1.0 to 5.2)`."""
    digits = "+.1f" if scale > 1 else "+.3g"
    low, high = (scale * end for end in score.interval)
    interval = f" ({low:{digits}} to {high:{digits}})" if low == low else ""
    return f"{scale * score.mean:{digits}}{interval}"
