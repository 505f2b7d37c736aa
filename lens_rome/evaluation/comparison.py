"""Two reports of the same records, compared record by record: intervals of paired differences are narrower than those
of the two means, since hard records are hard for both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lens_rome.evaluation.metrics import METRICS, AnyMetric, Combination, ReportError
from lens_rome.evaluation.report import BEFORE, EvalReport
from lens_rome.evaluation.summary import (
    MISSING,
    Score,
    harmonic_resamples,
    harmonic_score,
    mean_score,
    percentile_score,
)

if TYPE_CHECKING:
    import pandas as pd

Values = Mapping[int, float]


@dataclass(frozen=True)
class Difference:
    """One metric of two reports, over the records that both have."""

    first: Score
    second: Score
    difference: Score
    """The first minus the second; the interval is that of the paired differences."""


@dataclass(frozen=True)
class Comparison:
    """Paired differences of two reports."""

    first: str
    """Label of the first report."""
    second: str
    differences: Mapping[str, Difference]
    """By metric; only those that both reports have data for."""
    shared: int
    """Records that both reports have."""
    other_settings: Mapping[str, tuple[Any, Any]]
    """Settings in which the reports differ, with both values; None where one does not tell."""

    def to_dataframe(self) -> "pd.DataFrame":
        """One row a metric: metric, first, second, difference, low, high, n (as fractions, not in percent)."""
        import pandas as pd

        rows = []
        for name, each in self.differences.items():
            low, high = each.difference.interval
            means = {"first": each.first.mean, "second": each.second.mean, "difference": each.difference.mean}
            rows.append({"metric": name, **means, "low": low, "high": high, "n": each.difference.n})
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        lines = [f"| | {self.first} | {self.second} | difference | 95% | records |", "|---|---|---|---|---|---|"]
        for name, each in self.differences.items():
            scale = METRICS[name.removesuffix(BEFORE)].scale
            low, high = (scale * end for end in each.difference.interval)
            cells = [f"{scale * score.mean:.1f}" for score in (each.first, each.second, each.difference)]
            lines.append(f"| {name} | {' | '.join(cells)} | {low:.1f} to {high:.1f} | {each.difference.n} |")
        if self.other_settings:
            lines.append(f"Settings that differ: {', '.join(self.other_settings)}.")
        return "\n".join(lines)


def compare(report: EvalReport, other: EvalReport, *, seed: int = 0) -> Comparison:
    """Each metric of `report` minus that of `other`, over the records that have it in both.

    The interval is that of the mean of the records' differences (1.96 · sd / √n); that of S is a bootstrap in which
    both reports see the same draws of records.

    Args:
        seed: of the bootstrap.

    Raises:
        ReportError: no record is in both, or a case id stands for another record in the other report.
    """
    shared = set(report.case_ids) & set(other.case_ids)
    if not shared:
        raise ReportError(
            f"no record is in both {_name(report)} and {_name(other)}. Compare reports that were made of the same data."
        )
    _check_same_records(report, other, shared)
    found: dict[str, Difference] = {}
    for name in report.metrics:
        for before in (False, True):
            difference = _difference(report, other, METRICS[name], before, seed)
            if difference.difference.n:
                found[name + BEFORE * before] = difference
    return Comparison(_name(report), _name(other), found, len(shared), _other_settings(report, other))


def _name(report: EvalReport) -> str:
    return report.label or "model"


def _check_same_records(report: EvalReport, other: EvalReport, shared: set[int]) -> None:
    asked, again = (
        {row.case_id: row.prompt for row in each.scores if row.group == "rewrite" and row.prompt}
        for each in (report, other)
    )
    for case in sorted(shared):
        if asked.get(case, "") != again.get(case, asked.get(case, "")) and case in asked:
            raise ReportError(
                f"case {case} is {asked[case]!r} in {_name(report)} and {again[case]!r} in {_name(other)}. Compare "
                "reports that were made of the same data."
            )


def _difference(report: EvalReport, other: EvalReport, metric: AnyMetric, before: bool, seed: int) -> Difference:
    if isinstance(metric, Combination) and metric.harmonic:
        pairs = [_paired(report, other, part, before) for part in metric.parts]
        return _harmonic_difference([first for first, _ in pairs], [second for _, second in pairs], seed)
    first, second = _paired(report, other, metric.name, before)
    differences = [first[case] - second[case] for case in first]
    return Difference(mean_score(first.values()), mean_score(second.values()), mean_score(differences))


def _paired(report: EvalReport, other: EvalReport, name: str, before: bool) -> tuple[Values, Values]:
    """Both reports' values of the records that have it in both, in one order."""
    first, second = report.values(name, before=before), other.values(name, before=before)
    shared = sorted(first.keys() & second.keys())
    return {case: first[case] for case in shared}, {case: second[case] for case in shared}


def _harmonic_difference(first: list[Values], second: list[Values], seed: int) -> Difference:
    one, two = (harmonic_score(parts, seed=seed) for parts in (first, second))
    if not one.n or not two.n:
        return Difference(one, two, MISSING)
    mean = one.mean - two.mean
    if one.bounds is None:
        return Difference(one, two, Score(mean, one.half_width, one.n))
    drawn = harmonic_resamples(first, seed=seed) - harmonic_resamples(second, seed=seed)
    return Difference(one, two, percentile_score(mean, drawn, one.n, seed))


def _other_settings(report: EvalReport, other: EvalReport) -> dict[str, tuple[Any, Any]]:
    names = dict.fromkeys((*report.settings, *other.settings))
    pairs = {name: (report.settings.get(name), other.settings.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
