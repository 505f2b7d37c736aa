"""What an evaluation found, prompt by prompt, and the scores that the papers print."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_rome.evaluation.metrics import METRICS, Combination, Metric, ReportError, find_metric
from lens_rome.evaluation.rows import GROUPS as GROUPS
from lens_rome.evaluation.rows import TEXTS, PromptScore, RecordCase, RecordTexts, Row
from lens_rome.evaluation.summary import Score, harmonic_mean, metric_score, record_values

if TYPE_CHECKING:
    import pandas as pd

    from lens_rome.evaluation.comparison import Comparison

BEFORE = " before"
"""What stands after a metric's name where it is of the unedited model."""


@dataclass(frozen=True)
class CaseResult:
    """One record of a report."""

    case_id: int
    value: float
    """Of the metric that it was chosen by."""
    scores: tuple[PromptScore, ...]
    texts: RecordTexts | None = None
    case: RecordCase | None = None


@dataclass(frozen=True)
class EvalReport:
    """Scores of many prompts; summaries average within each record first, as the papers do (ROME, §3.3)."""

    scores: tuple[PromptScore, ...]
    label: str = ""
    texts: tuple[RecordTexts, ...] = ()
    """What the model wrote, a row a record; empty where nothing was written."""
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """How it was made: model, dtype, prepend_bos, seed, versions; kept as JSON would read it again."""
    cases: tuple[RecordCase, ...] = field(default=(), repr=False)
    """What was asked of each record and how its edit was made; empty in reports that do not know."""

    def __post_init__(self) -> None:
        try:
            settings = json.loads(json.dumps(dict(self.settings), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ReportError(
                f"settings that cannot be saved: {error}. Give texts, finite numbers, lists and mappings of them."
            ) from error
        object.__setattr__(self, "settings", settings)

    @cached_property
    def _rows(self) -> dict[str, tuple[Row, ...]]:
        """Rows by group."""
        found: dict[str, list[Row]] = {TEXTS: [*self.texts]}
        for score in self.scores:
            found.setdefault(score.group, []).append(score)
        return {group: tuple(rows) for group, rows in found.items()}

    def _rows_of(self, name: str) -> tuple[Row, ...]:
        metric = find_metric(name)
        if isinstance(metric, Metric):
            return self._rows.get(metric.group, ())
        groups = dict.fromkeys(row.group for part in metric.parts for row in self._rows_of(part)[:1])
        return tuple(row for group in groups for row in self._rows[group])

    def values(self, name: str, *, before: bool = False) -> dict[int, float]:
        """Each record's value of a metric (see `METRICS`) by case id, the mean over its prompts; a record without the
        data is not there. Empty for S, which no single record has.

        Args:
            before: of the unedited model.

        Raises:
            ReportError: no such metric.
        """
        return record_values(self._rows_of(name), find_metric(name), before=before)

    def score(self, name: str, *, before: bool = False, seed: int = 0) -> Score:
        """The mean of a metric over records with its 95% interval: the published formula, for S a bootstrap.

        Args:
            before: of the unedited model.
            seed: of the bootstrap.

        Raises:
            ReportError: no such metric.
        """
        return metric_score(self._rows_of(name), find_metric(name), before=before, seed=seed)

    def summary(self, names: Sequence[str] | None = None, *, seed: int = 0) -> dict[str, Score]:
        """The score of each metric that there is data for, by name; that of the unedited model under `"ES before"`.

        Args:
            names: of metrics; None for `metrics`.
            seed: of the bootstrap.

        Raises:
            ReportError: no such metric.
        """
        found: dict[str, Score] = {}
        for name in self.metrics if names is None else names:
            for before in (False, True):
                score = self.score(name, before=before, seed=seed)
                if score.n:
                    found[name + BEFORE * before] = score
        return found

    @property
    def efficacy(self) -> Score:
        """ES: the new object is likelier than the old one after the rewritten prompt."""
        return self.score("ES")

    @property
    def paraphrase(self) -> Score:
        """PS: the same after paraphrases."""
        return self.score("PS")

    @property
    def neighborhood(self) -> Score:
        """NS: the old object is still likelier for neighbours of the subject."""
        return self.score("NS")

    @property
    def magnitudes(self) -> dict[str, Score]:
        """EM, PM, NM: mean probability margins, by group."""
        return {"rewrite": self.score("EM"), "paraphrase": self.score("PM"), "neighborhood": self.score("NM")}

    @property
    def overall(self) -> float:
        """S: harmonic mean of ES, PS and NS; 0 if one of them is 0."""
        return harmonic_mean([self.efficacy.mean, self.paraphrase.mean, self.neighborhood.mean])

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that were asked for (`settings["metrics"]`), or of all; those of an editing problem only
        where `settings["problem"]` is that problem.
        """
        if self.settings.get("metrics"):
            return tuple(self.settings["metrics"])
        problems = ("", self.settings.get("problem", ""))
        return tuple(name for name, metric in METRICS.items() if metric.problem in problems)

    @property
    def case_ids(self) -> tuple[int, ...]:
        """Of all records, in the order in which they come."""
        return tuple(dict.fromkeys(row.case_id for row in (*self.scores, *self.texts)))

    def breakdown(self, by: str = "relation") -> dict[str, "EvalReport"]:
        """A report for each relation, labelled by it, in the order of their names.

        Raises:
            ReportError: `by` is not "relation", or no row knows its relation.
        """
        if by != "relation":
            raise ReportError(f"a report can be broken down by 'relation', got {by!r}.")
        names = sorted({row.relation for row in (*self.scores, *self.texts)})
        if not any(names):
            raise ReportError("the rows of this report do not know their relations. Evaluate records that have them.")
        return {
            name: EvalReport(
                tuple(row for row in self.scores if row.relation == name),
                name or "no relation",
                tuple(row for row in self.texts if row.relation == name),
                self.settings,
                tuple(row for row in self.cases if row.relation == name),
            )
            for name in names
        }

    def best(self, name: str = "EM", k: int = 10) -> tuple[CaseResult, ...]:
        """The `k` records that did best by a metric, the best first; equal ones by case id.

        Raises:
            ReportError: no such metric, or one that no single record has.
        """
        return tuple(self._ranked(name, k, worst=False))

    def worst(self, name: str = "EM", k: int = 10) -> tuple[CaseResult, ...]:
        """The `k` records that did worst, the worst first; as `best`."""
        return tuple(self._ranked(name, k, worst=True))

    def _ranked(self, name: str, k: int, *, worst: bool) -> Iterator[CaseResult]:
        metric = find_metric(name)
        if k < 1 or (isinstance(metric, Combination) and metric.harmonic):
            raise ReportError(f"asked for {k} records by {name}. Ask for one at least, by a metric that a record has.")
        up = worst != metric.lower_is_better
        values = {case: value for case, value in self.values(name).items() if not math.isnan(value)}
        ranked = sorted(values, key=lambda case: (values[case] if up else -values[case], case))[:k]
        chosen = set(ranked)
        scores: dict[int, list[PromptScore]] = {case: [] for case in ranked}
        for row in self.scores:
            if row.case_id in chosen:
                scores[row.case_id].append(row)
        texts = {row.case_id: row for row in self.texts if row.case_id in chosen}
        cases = {row.case_id: row for row in self.cases if row.case_id in chosen}
        for case in ranked:
            yield CaseResult(case, values[case], tuple(scores[case]), texts.get(case), cases.get(case))

    def compare(self, other: "EvalReport", *, seed: int = 0) -> "Comparison":
        """Paired differences of all metrics, this report minus the other; see `compare`."""
        from lens_rome.evaluation.comparison import compare

        return compare(self, other, seed=seed)

    def with_before(self, unedited: "EvalReport") -> "EvalReport":
        """This report with the scores and texts of the unedited model beside its own, from a report of that model: it
        is scored once and serves any number of editors. The same as `evaluate(..., before=True)` gives.

        Raises:
            ReportError: `unedited` is of an edited or another model, was made with other settings, or lacks a prompt.
        """
        from lens_rome.evaluation.before import with_before

        return with_before(self, unedited)

    def paper_table(self, format: str = "text", *, unedited: bool = False, published: bool | str = False) -> str:
        """The report as a row of the papers' table, in percent; see `paper_table`."""
        from lens_rome.evaluation.paper_table import paper_table

        return paper_table([self], format, unedited=unedited, published=published)

    def save(self, path: str | Path) -> Path:
        """Write the report to a JSON Lines file, or to a folder; see `save_report`."""
        from lens_rome.evaluation.report_files import save_report

        return save_report(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "EvalReport":
        """Read what `save` wrote, or the folder of a run (`evaluate(out=...)`). Raises `FileFormatError` for a file
        that is damaged or of another kind.
        """
        from lens_rome.evaluation.report_files import load_report

        return load_report(path)

    def to_dataframe(self) -> "pd.DataFrame":
        """One row a prompt: case_id, group, prompt, nll_new, nll_true, prob_new, prob_true (geometric means), success
        (None without an old object), relation, the NLLs under the unedited model, and divergence (nats).
        """
        from lens_rome.evaluation.frames import prompt_frame

        return prompt_frame(self)

    def to_record_dataframe(self) -> "pd.DataFrame":
        """One row a record: case_id, relation, and its value of each metric that there is data for."""
        from lens_rome.evaluation.frames import record_frame

        return record_frame(self)

    def __str__(self) -> str:
        if self.settings.get("metrics"):
            told = [f"{name} {score}" for name, score in self.summary().items()]
            return " ".join([self.label or "model", *told, f"({len(self.case_ids)} records)"])
        cells = [
            f"ES {self.efficacy}",
            f"PS {self.paraphrase}",
            f"NS {self.neighborhood}",
            f"S {100 * self.overall:.1f}",
            f"({self.efficacy.n} records)",
        ]
        return " ".join([self.label or "model", *cells])
