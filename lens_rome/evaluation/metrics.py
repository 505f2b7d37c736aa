"""Every metric of the papers, each defined once.

A metric is a number of one row (a prompt, or the texts of a record). It is averaged over a record's rows first and then
over records, as the papers do. A row without the data has no number and is left out; it never counts as 0. Comparisons
are strict, so a tie fails; a likelihood that is NaN fails too, since a broken model has no success.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from lens_rome.editing.scores import erasure_score, neighborhood_score, rewrite_score
from lens_rome.errors import LensRomeError
from lens_rome.evaluation.likelihood import Likelihood
from lens_rome.evaluation.rows import TEXTS, PromptScore, RecordTexts, Row

_ROME = "ROME, arXiv 2202.05262"
_MEMIT = "MEMIT, arXiv 2210.07229"
_HASE = "Hase et al., arXiv 2301.04213"
_SPECIFICITY = "Hoelscher-Obermaier et al., arXiv 2305.17553"


class ReportError(LensRomeError, ValueError):
    """A report was asked for something that it does not have, or that does not exist."""


@dataclass(frozen=True)
class Metric:
    """A number of one row."""

    name: str
    """As the paper or its code prints it."""
    title: str
    source: str
    """Paper and section."""
    group: str
    """The kind of rows that have it: a group of prompts, or `"texts"`."""
    of: Callable[[Any], float | None]
    """Its value for a row of that group; None where the row lacks the data."""
    needs: str = ""
    """What must be known of the row's likelihoods, see `PromptScore.known`."""
    scale: float = 100.0
    """What tables multiply it with."""
    lower_is_better: bool = False
    problem: str = ""
    """The editing problem that it is for; empty for all."""
    asks: str = ""
    """What must be asked beside its group: `"before"`, the same of the unedited model; `"divergence"`; `"references"`;
    or `"essence"`.
    """

    def value(self, row: Row) -> float | None:
        """Its value for a row; None for rows of another group and where the data is missing."""
        if row.group != self.group or (isinstance(row, PromptScore) and self.needs not in row.known):
            return None
        return self.of(row)


@dataclass(frozen=True)
class Combination:
    """A mean of other metrics: of each record's own values, or the harmonic mean of their means over records."""

    name: str
    title: str
    source: str
    parts: tuple[str, ...]
    """Names of the metrics. A record counts if it has all of them (for the harmonic mean, each part has its own)."""
    harmonic: bool = False
    """Whether it is the harmonic mean of the means over all records, which no single record has."""
    problem: str = ""
    scale: float = 100.0
    lower_is_better: bool = False


AnyMetric = Metric | Combination


def _success(row: PromptScore) -> float | None:
    return None if row.true is None else float(row.success)


def _margin(row: PromptScore) -> float | None:
    return None if row.true is None else row.margin


def _exact_new(row: PromptScore) -> float:
    return float(row.new.exact)


def _exact_true(row: PromptScore) -> float | None:
    return None if row.true is None else float(row.true.exact)


def _tokens_new(row: PromptScore) -> float:
    return row.new.accuracy


def _tokens_true(row: PromptScore) -> float | None:
    return None if row.true is None else row.true.accuracy


def _gain(row: PromptScore) -> float | None:
    return _compared(rewrite_score, row.before_new, row.new)


def _erased(row: PromptScore) -> float | None:
    return _compared(erasure_score, row.before_new, row.new)


def _unmoved(row: PromptScore) -> float | None:
    return _compared(neighborhood_score, row.before_new, row.new)


def _compared(score: Callable[[float, float], float], before: Likelihood | None, after: Likelihood) -> float | None:
    """A score of joint probabilities; None where there is no before or the score is undefined, NaN for a broken
    model.
    """
    if before is None:
        return None
    if math.isnan(before.prob) or math.isnan(after.prob):
        return math.nan
    found = score(before.prob, after.prob)
    return None if math.isnan(found) else found


def _divergence(row: PromptScore) -> float | None:
    return row.divergence


def _entropy(row: RecordTexts) -> float | None:
    return row.ngram_entropy


def _reference(row: RecordTexts) -> float | None:
    return row.reference_score


def _essence(row: RecordTexts) -> float | None:
    return row.essence


def _perplexity(row: RecordTexts) -> float | None:
    return row.perplexity


_COUNTERFACT = (
    Combination("S", "harmonic mean of ES, PS and NS", f"{_ROME}, §3.3", ("ES", "PS", "NS"), harmonic=True),
    Metric("ES", "efficacy score", f"{_ROME}, §3.3", "rewrite", _success, "nll"),
    Metric("EM", "efficacy magnitude", f"{_ROME}, §3.3", "rewrite", _margin, "nll"),
    Metric("PS", "paraphrase score", f"{_ROME}, §3.3", "paraphrase", _success, "nll"),
    Metric("PM", "paraphrase magnitude", f"{_ROME}, §3.3", "paraphrase", _margin, "nll"),
    Metric("NS", "neighborhood score", f"{_ROME}, §3.3", "neighborhood", _success, "nll"),
    Metric("NM", "neighborhood magnitude", f"{_ROME}, §3.3", "neighborhood", _margin, "nll"),
    Metric("GE", "generation entropy (n-grams, bits)", f"{_ROME}, §3.3", TEXTS, _entropy),
    Metric("RS", "reference score (tf-idf cosine)", f"{_ROME}, §3.3", TEXTS, _reference, asks="references"),
)
_AFTER_THE_EDIT = "after the edit's own sentence"
_DISTRACTING = "distracting_neighborhood"
_KL: dict[str, Any] = {"scale": 1.0, "lower_is_better": True, "asks": "divergence"}
_PLUS = (
    Metric("NS+", f"NS {_AFTER_THE_EDIT}", _SPECIFICITY, _DISTRACTING, _success, "nll"),
    Metric("NM+", f"NM {_AFTER_THE_EDIT}", _SPECIFICITY, _DISTRACTING, _margin, "nll"),
    Metric("NKL", "KL of the next token (nats)", _SPECIFICITY, "neighborhood", _divergence, "nll", **_KL),
    Metric("NKL+", f"NKL {_AFTER_THE_EDIT}", _SPECIFICITY, _DISTRACTING, _divergence, "nll", **_KL),
)
_EXACT = (
    Metric("rewrite_acc", "new object is greedy", f"{_MEMIT}, released code", "rewrite", _exact_new, "exact"),
    Metric("paraphrase_acc", "new object is greedy", f"{_MEMIT}, released code", "paraphrase", _exact_new, "exact"),
    Metric(
        "neighborhood_acc", "true object is greedy", f"{_MEMIT}, released code", "neighborhood", _exact_true, "exact"
    ),
)
_ZSRE = (
    Metric("Efficacy", "share of greedy tokens", f"{_ROME}, §3.2 (zsRE)", "rewrite", _tokens_new, "tokens"),
    Metric("Paraphrase", "share of greedy tokens", f"{_ROME}, §3.2 (zsRE)", "paraphrase", _tokens_new, "tokens"),
    Metric("Specificity", "share of greedy tokens", f"{_ROME}, §3.2 (zsRE)", "neighborhood", _tokens_true, "tokens"),
)
_ERASURE = "fact erasure"
_NORMALISED = (
    Metric("RwS", "rewrite score", f"{_HASE}, App. B", "rewrite", _gain, "joint", asks="before"),
    Metric("PaS", "paraphrase score", f"{_HASE}, App. B", "paraphrase", _gain, "joint", asks="before"),
    Metric("NeS", "neighborhood score", f"{_HASE}, App. B", "neighborhood", _unmoved, "joint", asks="before"),
    Combination("Overall", "mean of RwS, PaS and NeS", f"{_HASE}, App. B", ("RwS", "PaS", "NeS")),
    Metric("Ess", "essence score", f"{_HASE}, App. B", TEXTS, _essence, asks="essence"),
    Combination("Overall+E", "mean of RwS, PaS, NeS and Ess", f"{_HASE}, App. B", ("RwS", "PaS", "NeS", "Ess")),
    Metric("RwS_FE", "share erased", f"{_HASE}, App. B", "rewrite", _erased, "joint", problem=_ERASURE, asks="before"),
    Metric(
        "PaS_FE", "share erased", f"{_HASE}, App. B", "paraphrase", _erased, "joint", problem=_ERASURE, asks="before"
    ),
    Combination("Overall_FE", "with RwS_FE, PaS_FE", f"{_HASE}, App. B", ("RwS_FE", "PaS_FE", "NeS"), problem=_ERASURE),
)
_PPL: dict[str, Any] = {"scale": 1.0, "lower_is_better": True, "asks": "essence"}
_HEALTH = (Metric("perplexity", "of texts on the subject", _ROME, TEXTS, _perplexity, **_PPL),)

METRICS: Mapping[str, AnyMetric] = MappingProxyType(
    {metric.name: metric for metric in (*_COUNTERFACT, *_PLUS, *_EXACT, *_ZSRE, *_NORMALISED, *_HEALTH)}
)
"""All metrics by name."""


def find_metric(name: str) -> AnyMetric:
    """The metric of that name. Raises `ReportError` if there is none."""
    if name not in METRICS:
        raise ReportError(f"there is no metric {name!r}. There are {', '.join(METRICS)}.")
    return METRICS[name]
