"""Which records of a large report stand on the page."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from lens_rome.evaluation import METRICS, Combination, EvalReport

SEED = 0
"""Of the sample."""
_BY = ("EM", "Efficacy", "RwS", "ES")
"""What records are ranked by: the first of these that there is data for, else any metric."""


@dataclass(frozen=True)
class Chosen:
    """Records of one or several reports."""

    case_ids: tuple[int, ...]
    """In the order of the first report that has them."""
    total: int
    """How many records there are."""
    by: str
    """The metric that best and worst are meant by."""
    told: str
    """How they were chosen, as a sentence."""


def ranking_metric(reports: Sequence[EvalReport]) -> str | None:
    """The metric that records are ranked by; None if no record has a value of any."""
    for name in (*_BY, *METRICS):
        metric = METRICS[name]
        if not (isinstance(metric, Combination) and metric.harmonic) and any(report.values(name) for report in reports):
            return name
    return None


def choose(reports: Sequence[EvalReport], k: int, by: str) -> Chosen:
    """The `k` best and worst of every report, and `k` of the others drawn with a seed; all where there are no more
    than three times `k`.
    """
    every = tuple(dict.fromkeys(case for report in reports for case in report.case_ids))
    if len(every) <= 3 * k:
        return Chosen(every, len(every), by, f"All {len(every)} records.")
    wanted = {result.case_id for report in reports if report.values(by)
              for result in (*report.best(by, k), *report.worst(by, k))}  # fmt: skip
    rest = sorted(set(every) - wanted)
    drawn = random.Random(SEED).sample(rest, min(k, len(rest)))
    wanted |= set(drawn)
    if len(wanted) == len(every):
        return Chosen(every, len(every), by, f"All {len(every)} records.")
    whose = "" if len(reports) == 1 else " of each editor"
    told = (
        f"{len(wanted)} of {len(every):,} records: the {k} best and the {k} worst by {by}{whose}, and "
        f"{len(drawn)} of the others, drawn with seed {SEED}. The saved report has all of them."
    )
    return Chosen(tuple(case for case in every if case in wanted), len(every), by, told)
