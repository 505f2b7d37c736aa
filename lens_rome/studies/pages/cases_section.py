"""The records of a page: which ones, and the list of them."""

import math
from collections.abc import Mapping, Sequence

from lens_rome.evaluation import METRICS, CaseResult, Combination, EvalReport
from lens_rome.studies.pages.case_entry import CASE_ID, CHANGE, SECONDS, case_entry
from lens_rome.studies.pages.choice import choose, ranking_metric
from lens_rome.studies.pages.document import section
from lens_rome.studies.pages.elements import Markup, tag
from lens_rome.studies.pages.filter_list import Item, Order, filter_list
from lens_rome.studies.pages.scores import Scores

_READ = (
    " Probabilities are those of an object's tokens, averaged (geometric mean), before → after the edit; the thin bar "
    "is before. The object that should be the likelier one is green where it is, red where it is not. Texts show the ",
    tag("mark", "subject", class_="subject"),
    ", the ",
    tag("mark", "new object", class_="new"),
    " and the ",
    tag("mark", "old one", class_="old"),
    "; what was written alike before and after is grey.",
)


def cases_section(scores: Scores, k: int) -> Markup:
    """Best and worst records and some others, to open one by one."""
    by = ranking_metric(scores.reports)
    if k == 0 or by is None:
        told = "No record is shown: none was asked for." if k == 0 else "No record of this report has a score."
        return section("Records", tag("p", told, class_="missing"))
    chosen = choose(scores.reports, k, by)
    items = []
    for label, report in zip(scores.labels, scores.reports, strict=True):
        items += _entries(report, chosen.case_ids, label, several=len(scores.reports) > 1, shown=scores.shares)
    sign = -1 if METRICS[by].lower_is_better else 1
    items.sort(key=lambda item: sign * item.values.get(by, math.inf * sign))
    about = tag("p", chosen.told, *_READ, class_="about")
    return section("Records", about, filter_list(items, _orders(items, by), name="shown", first=by), name="records")


def _orders(items: list[Item], by: str) -> list[Order]:
    """What the records can be sorted by."""
    there = {name for item in items for name in item.values}
    metrics = [METRICS[name] for name in METRICS if name in there]
    metrics.sort(key=lambda metric: metric.name != by)
    orders = [Order(each.name, f"{each.name}: {each.title}", each.lower_is_better) for each in metrics]
    own = [(CASE_ID, False), (SECONDS, True), (CHANGE, True)]
    return [*orders, *(Order(name, name, lower) for name, lower in own if name in there)]


def _entries(
    report: EvalReport, case_ids: tuple[int, ...], label: str, *, several: bool, shown: Sequence[str]
) -> list[Item]:
    """The chosen records of one report, in its order."""
    wanted = set(case_ids)
    values: Mapping[str, Mapping[int, float]] = {
        name: report.values(name)
        for name in report.metrics
        if not (isinstance(metric := METRICS[name], Combination) and metric.harmonic)
    }
    entries = []
    for result, relation in _results(report, wanted):
        own = {name: found[result.case_id] for name, found in values.items() if result.case_id in found}
        finite = {name: value for name, value in own.items() if math.isfinite(value)}
        entries.append(case_entry(result, finite, label=label, several=several, shown=shown, relation=relation))
    return entries


def _results(report: EvalReport, wanted: set[int]) -> list[tuple[CaseResult, str]]:
    """Each chosen record with its rows and its relation."""
    scores: dict[int, list] = {}
    for row in report.scores:
        if row.case_id in wanted:
            scores.setdefault(row.case_id, []).append(row)
    texts = {row.case_id: row for row in report.texts if row.case_id in wanted}
    cases = {row.case_id: row for row in report.cases if row.case_id in wanted}
    found = []
    for case in (case for case in report.case_ids if case in wanted):
        rows = scores.get(case, [])
        known = (each.relation for each in (*rows[:1], texts.get(case), cases.get(case)) if each is not None)
        result = CaseResult(case, math.nan, tuple(rows), texts.get(case), cases.get(case))
        found.append((result, next(filter(None, known), "")))
    return found
