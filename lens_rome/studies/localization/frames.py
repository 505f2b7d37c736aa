"""The tables of the study: what they hold, and scores with the effects of the same record and layer beside them."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from lens_rome.studies.localization.errors import StudyError

SCORES = ("rewrite", "paraphrase", "neighborhood", "overall", "essence", "overall_essence")
"""Scores of an edit, as fractions."""
MAIN_SCORES = SCORES[:5]
"""Those that the paper analyses."""
PREDICTORS = ("effect", "effect_abs", "effect_last", "effect_last_fraction")
"""Effects of a layer: largest share over tokens, the same as difference, and both at the subject's last token."""
MEASURES = ("tracing", "zeroing")


def beside(
    scores: pd.DataFrame,
    effects: pd.DataFrame,
    *,
    measure: str,
    window: int,
    predictors: Sequence[str],
    score_names: Sequence[str],
    layers: Collection[int] | None = None,
    ids: Collection[str] | None = None,
) -> pd.DataFrame:
    """The rows of `scores`, of these layers and records, each with the effects of its record and layer.

    The layer of a window edit is its centre. An effect is NaN where there is none, such as for edits of embeddings.

    Raises:
        StudyError: a column, score, predictor, measure, window, layer or record that is not there, rows that are there
            twice, or no record that both tables have.
    """
    _known("score", score_names, SCORES)
    _known("predictor", predictors, PREDICTORS)
    check_columns("scores", scores, ("id", "problem", "method", "layer", *score_names))
    measured = effects_of(effects, measure, window, predictors)
    wanted = chosen(chosen(scores, "layer", layers), "id", ids)
    check_unique("scores", wanted, ["id", "problem", "method", "layer"])
    if not set(wanted["id"]) & set(measured["id"]):
        raise StudyError(
            f"scores and effects have no record in common: scores are of {_some(wanted['id'])}, effects of "
            f"{_some(measured['id'])}. Give both tables the same ids, as text."
        )
    columns = ["id", "problem", "method", "layer", *score_names, *(["missing"] if "missing" in wanted.columns else [])]
    keys = ["id", "layer"]
    return wanted[columns].merge(measured[[*keys, *predictors]], on=keys, how="left", validate="many_to_one")


def complete(frame: pd.DataFrame, score: str, predictor: str) -> pd.DataFrame:
    """The rows that have both numbers."""
    return frame.loc[np.isfinite(frame[[score, predictor]].to_numpy(float)).all(axis=1)]


def by_problem_and_method(frame: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Each problem and method with its rows, in the order in which they come."""
    for key, rows in frame.groupby(["problem", "method"], sort=False):
        problem, method = cast(tuple[str, str], key)
        yield problem, method, rows


def why_none(frame: pd.DataFrame, score: str) -> str:
    """What the table of scores says about its missing ones, after a colon; "" where it says nothing."""
    if "missing" not in frame.columns:
        return ""
    said = [str(reason) for reason in frame.loc[frame[score].isna(), "missing"] if reason and not pd.isna(reason)]
    return f": {max(said, key=said.count)}" if said else ""


def records_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as mappings from column to value."""
    return [dict(zip(frame.columns, values, strict=True)) for values in frame.itertuples(index=False, name=None)]


def effects_of(effects: pd.DataFrame, measure: str, window: int, predictors: Sequence[str]) -> pd.DataFrame:
    """The rows of one measure and window.

    Raises:
        StudyError: a column, measure or window that is not there, or rows that are there twice.
    """
    _known("measure", [measure], MEASURES)
    check_columns("effects", effects, ("id", "measure", "window", "layer", *predictors))
    of_measure = chosen(effects, "measure", [measure])
    found = chosen(of_measure, "window", [window])
    check_unique("effects", found, ["id", "layer"])
    return found


def check_columns(name: str, frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise `StudyError` for a table without rows, or one that lacks columns."""
    lacking = [column for column in columns if column not in frame.columns]
    if lacking:
        raise StudyError(
            f"the table of {name} lacks {', '.join(lacking)}; it has {', '.join(map(str, frame.columns)) or 'nothing'}."
            " Take the tables that the study makes."
        )
    if frame.empty:
        raise StudyError(f"the table of {name} has no rows. Run the study first.")


def chosen(frame: pd.DataFrame, column: str, values: Collection[Any] | None) -> pd.DataFrame:
    """The rows with one of these values; all rows for None.

    Raises:
        StudyError: one of them is not there, or none was given.
    """
    if values is None:
        return frame
    there = set(frame[column])
    lacking = [value for value in values if value not in there]
    if lacking or not values:
        asked = ", ".join(repr(value) for value in lacking[:3]) if lacking else "none at all"
        raise StudyError(f"there is no row of {column} {asked}. There are {_some(frame[column])}.")
    return frame.loc[frame[column].isin(list(values))]


def _known(what: str, asked: Sequence[str], there: Sequence[str]) -> None:
    for name in asked:
        if name not in there:
            raise StudyError(f"unknown {what} {name!r}; choose one of {', '.join(there)}.")


def check_unique(name: str, frame: pd.DataFrame, keys: list[str]) -> None:
    """Raise `StudyError` for two rows with the same keys."""
    twice = frame.loc[frame.duplicated(keys)]
    if len(twice):
        row = ", ".join(f"{key} {twice[key].tolist()[0]!r}" for key in keys)
        raise StudyError(f"the table of {name} has two rows of {row}. Keep one of them.")


def _some(values: Iterable[Any]) -> str:
    """The first few of the values that there are."""
    there = list(dict.fromkeys(values))
    return ", ".join(repr(value) for value in there[:6]) + (f" and {len(there) - 6} more" if len(there) > 6 else "")
