"""Reports as rows of the papers' tables: plain text, Markdown or LaTeX, in percent with 95% half widths."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lens_rome.evaluation.metrics import ReportError
from lens_rome.evaluation.published import published as published_rows
from lens_rome.evaluation.published import published_models
from lens_rome.evaluation.report import BEFORE, EvalReport
from lens_rome.evaluation.summary import Score

LAYOUTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "counterfact": {
        "Score": ("S",),
        "Efficacy": ("ES", "EM"),
        "Generalization": ("PS", "PM"),
        "Specificity": ("NS", "NM", "NS+", "NM+", "NKL", "NKL+"),
        "Fluency": ("GE",),
        "Consistency": ("RS",),
    },
    "zsre": {"": ("Efficacy", "Paraphrase", "Specificity")},
    "hase": {"": ("RwS", "PaS", "NeS", "Ess", "Overall", "Overall+E")},
    "erasure": {"": ("RwS_FE", "PaS_FE", "NeS", "Overall_FE")},
}
"""Columns of a table, below the headings that stand over them."""

_FIRST = {"counterfact": "ES", "zsre": "Efficacy", "hase": "RwS", "erasure": "RwS_FE"}
"""What a report must have for a layout; zsRE's records have no object to compare with, so no ES."""

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "×": r"$\times$",
    "–": "--",
    "²": "$^2$",
    **{sign: f"${sign}$" for sign in "<>"},
    **{sign: "\\" + sign for sign in "&%$#_{}"},
}


@dataclass(frozen=True)
class TableRow:
    """One line of a table."""

    label: str
    records: int
    scores: Mapping[str, Score]

    def cell(self, name: str) -> str:
        """The figure times the metric's scale, with its half width in brackets if it has one; – without data."""
        score = self.scores.get(name)
        if score is None or math.isnan(score.mean):
            return "–"
        digits = ".1f" if score.scale > 1 else ".3g"
        width = "" if math.isnan(score.half_width) else f" ({score.scale * score.half_width:{digits}})"
        return f"{score.scale * score.mean:{digits}}{width}"


def paper_table(
    reports: EvalReport | Sequence[EvalReport],
    format: str = "text",
    *,
    layout: str | None = None,
    unedited: bool = False,
    published: bool | str = False,
    seed: int = 0,
) -> str:
    """A table with the papers' columns, a row a report; columns that no row has data for are left out.

    Figures are multiplied by 100 (GE as well: 626.6 are 6.266 bits), but for NKL, in nats. The interval of S is a
    bootstrap, which the papers do not print.

    Args:
        format: text, markdown or latex (with booktabs).
        layout: counterfact (S ES EM PS PM NS NM GE RS, and NS+ NM+ NKL NKL+), zsre (token accuracies), hase, or
            erasure; None for the metrics that were asked for by name, else those of an editing problem, else the first
            of these that a report has data for.
        unedited: put the unedited model first, of the first report that was made with it.
        published: add the published rows: of a model by its name, or True for the models that the reports' settings
            name, where there are some.
        seed: of the bootstrap.

    Raises:
        ReportError: no reports, no data for the layout, an unedited model that no report has, a model without published
            rows, or a format or layout that does not exist.
    """
    if format not in _FORMATS:
        raise ReportError(f"a table is {', '.join(_FORMATS)}, got {format!r}.")
    rows, heads = table_rows(reports, layout=layout, unedited=unedited, published=published, seed=seed)
    return _FORMATS[format](rows, heads)


def table_rows(
    reports: EvalReport | Sequence[EvalReport],
    *,
    layout: str | None = None,
    unedited: bool = False,
    published: bool | str = False,
    seed: int = 0,
    summaries: Sequence[Mapping[str, Score]] = (),
) -> tuple[list[TableRow], dict[str, tuple[str, ...]]]:
    """What `paper_table` prints: its rows, and its columns below their headings. Arguments and errors as there.

    Args:
        summaries: of the reports, from `EvalReport.summary`, where they are known; large reports take a while.
    """
    reports = [reports] if isinstance(reports, EvalReport) else list(reports)
    if not reports:
        raise ReportError("a table needs a report at least.")
    name, columns = _layout(reports, layout)
    names = [metric for metrics in columns.values() for metric in metrics]
    summaries = summaries or [report.summary(names, seed=seed) for report in reports]
    rows = [_row(*each, names) for each in zip(reports, summaries, strict=True)]
    if unedited:
        rows.insert(0, _unedited(reports, summaries, names))
    rows += _published(reports, name, published)
    heads = {
        head: tuple(metric for metric in metrics if any(row.cell(metric) != "–" for row in rows))
        for head, metrics in columns.items()
    }
    return rows, {head: metrics for head, metrics in heads.items() if metrics}


def table(reports: Sequence[EvalReport]) -> str:
    """The reports as lines of a Markdown table, in percent with 95% intervals: ES, PS, NS and S."""
    lines = ["| | records | ES | PS | NS | S |", "|---|---|---|---|---|---|"]
    for report in reports:
        lines.append(
            f"| {report.label} | {report.efficacy.n} | {report.efficacy} | {report.paraphrase} | "
            f"{report.neighborhood} | {100 * report.overall:.1f} |"
        )
    return "\n".join(lines)


def _layout(reports: Sequence[EvalReport], layout: str | None) -> tuple[str, Mapping[str, tuple[str, ...]]]:
    """The name of a layout, and its columns below their headings."""
    if layout is not None and layout not in LAYOUTS:
        raise ReportError(f"there is no layout {layout!r}. There are {', '.join(LAYOUTS)}.")
    asked = dict.fromkeys(name for report in reports for name in report.settings.get("metrics", ()))
    if layout is None and asked:
        return "", {"": tuple(asked)}
    for name in _tried(reports) if layout is None else (layout,):
        if any(report.values(_FIRST[name]) for report in reports):
            return name, LAYOUTS[name]
    raise ReportError(
        f"no report has data for the columns of {' or of '.join([layout] if layout else LAYOUTS)}. Evaluate records "
        "that have them."
    )


def _tried(reports: Sequence[EvalReport]) -> tuple[str, ...]:
    """Layouts in the order in which they are tried: those of an editing problem first where one was posed."""
    problems = {report.settings.get("problem", "") for report in reports} - {""}
    first = () if not problems else ("erasure", "hase") if "fact erasure" in problems else ("hase",)
    return tuple(dict.fromkeys((*first, *LAYOUTS)))


def _row(report: EvalReport, summary: Mapping[str, Score], names: Sequence[str]) -> TableRow:
    found = {name: summary[name] for name in names if name in summary}
    return TableRow(report.label or "model", len(report.case_ids), found)


def _unedited(
    reports: Sequence[EvalReport], summaries: Sequence[Mapping[str, Score]], names: Sequence[str]
) -> TableRow:
    for report, found in zip(reports, summaries, strict=True):
        before = {name: found[name + BEFORE] for name in names if name + BEFORE in found}
        if before:
            return TableRow("unedited", len(report.case_ids), before)
    raise ReportError("no report has scores of the unedited model. Evaluate with before=True, or leave unedited out.")


def _published(reports: Sequence[EvalReport], layout: str, wanted: bool | str) -> list[TableRow]:
    if wanted is False or layout not in ("counterfact", "zsre"):
        return []
    models = [wanted] if isinstance(wanted, str) else [str(each.settings.get("model", "")) for each in reports]
    rows = [row for model in dict.fromkeys(models) for row in published_rows(model, layout)]
    if not rows and isinstance(wanted, str):
        raise ReportError(
            f"no published rows of {wanted!r} on {layout}. There are some of {', '.join(published_models())}."
        )
    several = len({row.model for row in rows}) > 1
    return [TableRow(f"{row.model} {row.label}" if several else row.label, row.records, row.scores) for row in rows]


Heads = Mapping[str, Sequence[str]]


def _cells(rows: Sequence[TableRow], heads: Heads) -> list[list[str]]:
    names = [name for metrics in heads.values() for name in metrics]
    return [[row.label, str(row.records), *(row.cell(name) for name in names)] for row in rows]


def _text(rows: Sequence[TableRow], heads: Heads) -> str:
    """Columns lined up, each heading in the middle over its own."""
    names = [name for metrics in heads.values() for name in metrics]
    lines = [["editor", "records", *names], *_cells(rows, heads)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(names) + 2)]
    above, column = [" " * (widths[0] + 2 + widths[1])], 2
    for head, metrics in heads.items():
        last = column + len(metrics) - 1
        span = sum(widths[column : last + 1]) + 2 * (len(metrics) - 1)
        widths[last] += max(0, len(head) - span)
        above.append(head.center(max(span, len(head))))
        column = last + 1
    shown = [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in [*lines[:1], ["-" * width for width in widths], *lines[1:]]
    ]
    return "\n".join(line.rstrip() for line in (["  ".join(above)] if any(heads) else []) + shown)


def _markdown(rows: Sequence[TableRow], heads: Heads) -> str:
    names = [name for metrics in heads.values() for name in metrics]
    lines = [["editor", "records", *names], ["---", *("---:" for _ in ("records", *names))]]
    lines += [[cell.replace("|", "\\|") for cell in line] for line in _cells(rows, heads)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _latex(rows: Sequence[TableRow], heads: Heads) -> str:
    """A tabular environment for booktabs."""
    names = [name for metrics in heads.values() for name in metrics]
    lines = [rf"\begin{{tabular}}{{lr{'r' * len(names)}}}", r"\toprule"]
    if any(heads):
        above = [rf"\multicolumn{{{len(metrics)}}}{{c}}{{{latex_text(head)}}}" for head, metrics in heads.items()]
        lines.append(rf" & & {' & '.join(above)} \\")
        start = 3
        for metrics in heads.values():
            lines.append(rf"\cmidrule(lr){{{start}-{start + len(metrics) - 1}}}")
            start += len(metrics)
    shown = [["Editor", "Records", *(f"{latex_text(name)} ↑" for name in names)], *_cells(rows, heads)]
    for place, line in enumerate(shown):
        escaped = line if place == 0 else [latex_text(cell) for cell in line]
        lines.append(rf"{' & '.join(escaped)} \\".replace("↑", r"$\uparrow$"))
        if place == 0:
            lines.append(r"\midrule")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def latex_text(text: str) -> str:
    """The text as LaTeX prints it; a minus sign is one."""
    shown = re.sub(r"[\\~^×–²<>&%$#_{}]", lambda found: _LATEX[found[0]], text)
    return re.sub(r"^-(?=\d)", "$-$", shown)


_FORMATS: Mapping[str, Callable[[Sequence[TableRow], Heads], str]] = {
    "text": _text,
    "markdown": _markdown,
    "latex": _latex,
}
