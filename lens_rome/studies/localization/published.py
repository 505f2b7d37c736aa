"""Regressions that the paper prints, to stand beside one's own (Hase et al., https://arxiv.org/abs/2301.04213)."""

import json
import math
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import pandas as pd

from lens_rome.studies.localization.regressions import REGRESSION_COLUMNS

PUBLISHED_COLUMNS = ("model", "data", *REGRESSION_COLUMNS, "p_text", "source")
_FILE = "published.json"


def published_regressions() -> pd.DataFrame:
    """One row a published regression, in the columns of `regressions`; what was not printed is NaN.

    Further columns: model; data (counterfact or zsre); p_text, p as it was printed, such as "<1e-4" or "0.199" (""
    where it was not), for p is NaN where only a bound was printed; source. All are of tracing with window 5 on
    GPT-J. The errors of ROME and error injection stand in the row of their score; the table that prints them has
    an R² of the layer of .618 for the overall score, where the one taken here has .620.
    """
    tables = json.loads((files("lens_rome.studies.localization") / _FILE).read_text(encoding="utf-8"))
    rows = [row for table in tables for row in _rows(table)]
    return pd.DataFrame(rows, columns=list(PUBLISHED_COLUMNS))


def _rows(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    same = ("model", "data", "source", "measure", "window", "predictor", "subset", "n_layers")
    errors = {tuple(key): found for *key, found in table["errors"]}
    rows = []
    for values in table["rows"]:
        row = dict(zip(table["columns"], values, strict=True))
        row |= {name: math.nan for name, value in row.items() if value is None}
        row |= {name: table[name] for name in same} | errors.get((row["problem"], row["method"], row["score"]), {})
        facts = table["n_facts"]
        row["n_facts"] = facts.get(row["problem"], facts.get("all", math.nan))
        row["p"] = _number(row["p_text"])
        rows.append(row | {"missing": ""})
    return rows


def _number(text: str) -> float:
    """NaN for a bound, and for what was not printed."""
    try:
        return float(text)
    except ValueError:
        return math.nan
