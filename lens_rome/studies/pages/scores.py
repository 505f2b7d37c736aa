"""The scores of whole reports: a sentence, the papers' table, a forest plot, and every other metric."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from lens_rome.evaluation import METRICS, EvalReport, ReportError, Score
from lens_rome.evaluation.paper_table import TableRow, table_rows
from lens_rome.evaluation.report import BEFORE
from lens_rome.studies.pages.document import folded, section
from lens_rome.studies.pages.elements import Markup, isolated, join, tag, text
from lens_rome.studies.pages.forest import Interval, forest_plot
from lens_rome.studies.pages.table import Head, data_table, head_text

UNEDITED = "unedited"
_SHARES = ("S", "ES", "PS", "NS", "NS+", "Efficacy", "Paraphrase", "Specificity", "RwS", "PaS", "NeS", "Overall")
"""Metrics that a forest plot shows, of those that the table has."""
_READ = (
    "Shares and margins in percent, GE in hundredths of a bit, NKL in nats, with half widths of 95% intervals in "
    "brackets. Means are over a record's prompts first, then over records. The interval of S is a bootstrap."
)


@dataclass(frozen=True)
class Scores:
    """The reports of a page, with what several of its parts need."""

    reports: tuple[EvalReport, ...]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """A name for each report; equal ones get a number."""
        plain = [report.label or "model" for report in self.reports]
        return tuple(
            name if plain.count(name) == 1 else f"{name} ({plain[:place].count(name) + 1})"
            for place, name in enumerate(plain)
        )

    @cached_property
    def summaries(self) -> tuple[Mapping[str, Score], ...]:
        """Of every metric, by report."""
        return tuple(report.summary() for report in self.reports)

    @cached_property
    def unedited(self) -> Mapping[str, Score]:
        """Of the first report that was made with the unedited model; empty where none was."""
        for summary in self.summaries:
            found = {name.removesuffix(BEFORE): score for name, score in summary.items() if name.endswith(BEFORE)}
            if found:
                return found
        return {}

    @cached_property
    def table(self) -> tuple[list[TableRow], dict[str, tuple[str, ...]]] | None:
        """Rows and columns of the papers' table; None where there is no data for one."""
        has_before = any(name + BEFORE in summary for summary in self.summaries for name in METRICS)
        for unedited in (True, False) if has_before else (False,):
            try:
                return table_rows(self.reports, unedited=unedited, published=True, summaries=self.summaries)
            except ReportError:
                continue
        return None

    @property
    def shares(self) -> tuple[str, ...]:
        """Metrics between 0 and 1 of the papers' table."""
        columns = [name for names in self.table[1].values() for name in names] if self.table else []
        return tuple(name for name in _SHARES if name in columns)


def models(reports: Sequence[EvalReport]) -> str:
    """Names of the reports' models."""
    names = dict.fromkeys(str(report.settings.get("model") or "an unnamed model") for report in reports)
    return ", ".join(names)


def headline(scores: Scores) -> Markup:
    """What was found, a sentence a report."""
    return join([_sentence(scores, place) for place in range(len(scores.reports))])


def _sentence(scores: Scores, place: int) -> Markup:
    report, summary = scores.reports[place], scores.summaries[place]
    n = len(report.case_ids)
    who = [tag("b", isolated(scores.labels[place])), " on ", isolated(models([report]))]
    parts = [*who, f", {n:,} record{'s' * (n != 1)}"]
    first = next((name for name in scores.shares if name in summary), None)
    parts += [". "] if first is None else [": ", *_first(first, summary), _in_words(summary)]
    refused = sum(bool(case.refused) for case in report.cases)
    if refused:
        parts.append(f"The editor refused {refused:,} of the records, which were scored without an edit.")
    return tag("p", *parts, class_="headline")


def _first(name: str, summary: Mapping[str, Score]) -> list[Markup]:
    """`S 96.4 (95% interval 93.0 to 98.7; unedited 8.9)`, as a sentence."""
    score, before = summary[name], summary.get(name + BEFORE)
    low, high = (score.scale * end for end in score.interval)
    told = [] if math.isnan(low) else [f"95% interval {low:.1f} to {high:.1f}"]
    told += [] if before is None else [f"{UNEDITED} {before.scale * before.mean:.1f}"]
    figure = tag("b", f"{name}\u00a0{score.scale * score.mean:.1f}")
    return [figure, text(f" ({'; '.join(told)}). " if told else ". ")]


def _in_words(summary: Mapping[str, Score]) -> str:
    """What ES, PS and NS say."""

    def share(name: str) -> str:
        return f"{100 * summary[name].mean:.1f}%"

    if "ES" not in summary:
        return ""
    told = f"The new object is likelier than the old one after {share('ES')} of the rewritten prompts (ES)"
    told += f" and {share('PS')} of their paraphrases (PS)" if "PS" in summary else ""
    told += (
        f"; after {share('NS')} of the neighbours' prompts the old one stays the likelier (NS)"
        if "NS" in summary
        else ""
    )
    return told + ". "


def score_section(scores: Scores) -> Markup:
    """The papers' table with the unedited model first and published rows last, and the forest plot."""
    if scores.table is None:
        told = "This report has no data for any of the papers' tables."
        return section("Scores", tag("p", told, class_="missing"), _every_metric(scores))
    return section("Scores", _paper_table(scores), _forest(scores), _every_metric(scores), about=_READ, name="scores")


def _paper_table(scores: Scores) -> Markup:
    assert scores.table is not None
    rows, heads = scores.table
    names = [name for metrics in heads.values() for name in metrics]
    columns = [Head("editor", number=False), Head("records"), *(metric_head(name) for name in names)]
    edited = len(rows) - len(scores.reports)
    own = 1 if rows[0].label == UNEDITED and edited else 0
    labels = [row.label for row in rows]
    labels[own : own + len(scores.reports)] = scores.labels
    muted = frozenset(place for place in range(len(rows)) if not own <= place < own + len(scores.reports))
    lines = [
        [label, f"{row.records:,}", *(row.cell(name) for name in names)]
        for label, row in zip(labels, rows, strict=True)
    ]
    above = [("", 2), *((name, len(metrics)) for name, metrics in heads.items())] if any(heads) else ()
    return data_table(columns, lines, caption="Scores as the papers print them", above=above, muted=muted)


def metric_head(name: str) -> Head:
    """A column of a metric, with what it is."""
    metric = METRICS[name]
    return Head(name, f"{metric.title} ({metric.source})")


def named_metric(name: str) -> Markup:
    """A metric's name as the name of a row."""
    return head_text(metric_head(name))


def _forest(scores: Scores) -> Markup:
    groups = {}
    for name in scores.shares:
        lines = [_interval(UNEDITED, scores.unedited[name], muted=True)] if name in scores.unedited else []
        for label, summary in zip(scores.labels, scores.summaries, strict=True):
            lines += [_interval(label, summary[name])] if name in summary else []
        groups[f"{name}: {METRICS[name].title}"] = lines
    return forest_plot(groups, caption="Before and after, with 95% intervals (percent)")


def _interval(label: str, score: Score, *, muted: bool = False) -> Interval:
    low, high = score.interval
    return Interval(label, score.mean, low, high, str(score), muted)


def _every_metric(scores: Scores) -> Markup:
    """Folded: each metric that there is data for, what it is, and where it comes from."""
    names = [name for name in METRICS if any(name in summary for summary in scores.summaries)]
    labels = ([UNEDITED] if scores.unedited else []) + [*scores.labels]
    columns = [*(Head(each, number=False) for each in ("metric", "what it is", "source")), *map(Head, labels)]
    lines = []
    for name in names:
        found = ([scores.unedited.get(name)] if scores.unedited else []) + [each.get(name) for each in scores.summaries]
        lines.append([name, METRICS[name].title, METRICS[name].source, *map(_shown, found)])
    return folded("Every metric, what it is, and where it is defined", data_table(columns, lines, caption=_CAPTION))


_CAPTION = "Every metric, times 100 (perplexity and NKL as they are), with half widths of 95% intervals"


def _shown(score: Score | None) -> str:
    if score is None or math.isnan(score.mean):
        return "–"
    if score.scale > 1:
        return str(score)
    return f"{score.mean:.3g}" + ("" if math.isnan(score.half_width) else f" ± {score.half_width:.3g}")
