"""The published summary as plain loops over prompts and records, straight from the papers' formulas."""

import math
from collections.abc import Callable, Sequence

from lens_rome.evaluation import PromptScore


def by_hand(rows: Sequence[PromptScore], group: str, value: Callable[[PromptScore], float]) -> tuple[float, float]:
    """Mean over records of the mean over a record's prompts of a group, and 1.96 · sd / √n with the sd over n."""
    cases: list[int] = []
    for row in rows:
        if row.group == group and row.case_id not in cases:
            cases.append(row.case_id)
    means = []
    for case in cases:
        total, count = 0.0, 0
        for row in rows:
            if row.case_id == case and row.group == group:
                total += value(row)
                count += 1
        means.append(total / count)
    mean = sum(means) / len(means)
    variance = sum((each - mean) ** 2 for each in means) / len(means)
    return mean, 1.96 * math.sqrt(variance) / math.sqrt(len(means))


def _p(row: PromptScore, which: str) -> float:
    """Geometric mean of the token probabilities of an object."""
    found = getattr(row, which)
    return math.exp(found.logprob / found.tokens)


def _joint(row: PromptScore, which: str) -> float:
    return math.exp(getattr(row, which).logprob)


def _gain(row: PromptScore) -> float:
    return (_joint(row, "new") - _joint(row, "before_new")) / (1 - _joint(row, "before_new"))


def _erased(row: PromptScore) -> float:
    return (_joint(row, "before_new") - _joint(row, "new")) / _joint(row, "before_new")


def _unmoved(row: PromptScore) -> float:
    before = _joint(row, "before_new")
    return 1 - abs(_joint(row, "new") - before) / (0.5 + abs(before - 0.5))


def _share(which: str) -> Callable[[PromptScore], float]:
    return lambda row: getattr(row, which).top / getattr(row, which).tokens


def _all(which: str) -> Callable[[PromptScore], float]:
    return lambda row: 1.0 if getattr(row, which).top == getattr(row, which).tokens else 0.0


DEFINITIONS: dict[str, tuple[str, Callable[[PromptScore], float]]] = {
    "ES": ("rewrite", lambda row: 1.0 if _p(row, "new") > _p(row, "true") else 0.0),
    "EM": ("rewrite", lambda row: _p(row, "new") - _p(row, "true")),
    "PS": ("paraphrase", lambda row: 1.0 if _p(row, "new") > _p(row, "true") else 0.0),
    "PM": ("paraphrase", lambda row: _p(row, "new") - _p(row, "true")),
    "NS": ("neighborhood", lambda row: 1.0 if _p(row, "true") > _p(row, "new") else 0.0),
    "NM": ("neighborhood", lambda row: _p(row, "true") - _p(row, "new")),
    "NS+": ("distracting_neighborhood", lambda row: 1.0 if _p(row, "true") > _p(row, "new") else 0.0),
    "NM+": ("distracting_neighborhood", lambda row: _p(row, "true") - _p(row, "new")),
    "NKL": ("neighborhood", lambda row: row.divergence or 0.0),
    "NKL+": ("distracting_neighborhood", lambda row: row.divergence or 0.0),
    "rewrite_acc": ("rewrite", _all("new")),
    "paraphrase_acc": ("paraphrase", _all("new")),
    "neighborhood_acc": ("neighborhood", _all("true")),
    "Efficacy": ("rewrite", _share("new")),
    "Paraphrase": ("paraphrase", _share("new")),
    "Specificity": ("neighborhood", _share("true")),
    "RwS": ("rewrite", _gain),
    "PaS": ("paraphrase", _gain),
    "NeS": ("neighborhood", _unmoved),
    "RwS_FE": ("rewrite", _erased),
    "PaS_FE": ("paraphrase", _erased),
}
"""Each metric of prompts: its group, and its value for one of them."""
