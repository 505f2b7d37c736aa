"""Reports as data frames."""

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from lens_rome.evaluation.rows import PromptScore

if TYPE_CHECKING:
    from lens_rome.evaluation.report import EvalReport


def prompt_frame(report: "EvalReport") -> pd.DataFrame:
    """One row a prompt; see `EvalReport.to_dataframe`."""
    return pd.DataFrame([_prompt_row(score) for score in report.scores])


def _prompt_row(score: PromptScore) -> dict[str, Any]:
    before = score.before
    return {
        "case_id": score.case_id,
        "group": score.group,
        "prompt": score.prompt,
        "nll_new": score.nll_new,
        "nll_true": score.nll_true,
        "prob_new": score.new.mean_prob,
        "prob_true": math.exp(-score.nll_true),
        "success": None if score.true is None else score.success,
        "relation": score.relation,
        "nll_new_before": math.nan if before is None else before.nll_new,
        "nll_true_before": math.nan if before is None else before.nll_true,
        "divergence": math.nan if score.divergence is None else score.divergence,
    }


def record_frame(report: "EvalReport") -> pd.DataFrame:
    """One row a record; see `EvalReport.to_record_dataframe`."""
    relations = {row.case_id: row.relation for row in (*report.scores, *report.texts)}
    columns: dict[str, Any] = {"case_id": list(relations), "relation": list(relations.values())}
    for name in report.metrics:
        for before in (False, True):
            values = report.values(name, before=before)
            if values:
                columns[f"{name} before" if before else name] = [values.get(case, math.nan) for case in relations]
    return pd.DataFrame(columns)
