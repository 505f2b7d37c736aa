"""What a probe found, as the frames that its picture takes."""

from typing import Any

import numpy as np

from lens_rome.plotting._chart import Series
from lens_rome.plotting._figure import Frame, PlotError
from lens_rome.plotting._frames import Needs, check_frame
from lens_rome.plotting._labels import shorten, visible, wrap

_TICK_CHARACTERS = 15
_TICK_LINES = 4
MOST_CASES = 12
"""Groups of bars that can be told apart in one picture."""


def rows_of(given: Any) -> Frame:
    """The rows of a finding, or the frame itself."""
    _check_found(given)
    return given if hasattr(given, "columns") else given.to_dataframe()


def summary_of(given: Any) -> Frame:
    """The summary of a finding, or the frame itself."""
    _check_found(given)
    return given if hasattr(given, "columns") else given.to_summary_dataframe()


def _check_found(given: Any) -> None:
    if not hasattr(given, "columns") and not hasattr(given, "to_summary_dataframe"):
        raise PlotError(f"the picture of a probe takes its finding or a frame of it, got a {type(given).__name__}.")
    if hasattr(given, "answer") and not given.rows:
        raise PlotError(f"the finding has no rows to draw. {given.answer.reading}")


def checked_summary(function: str, frame: Any, words: tuple[str, ...]) -> Frame:
    """A summary with these columns of words beside `measure`, `mean`, `low` and `high`."""
    key = ("measure", *words)
    # An interval without an end, such as that of a ratio over what may be nothing, cannot be drawn.
    open_ends = {end: frame[end].replace([np.inf, -np.inf], np.nan) for end in ("low", "high") if end in frame}
    frame = frame.assign(**open_ends)
    return check_frame(frame, Needs(function, key, ("mean", "low", "high"), key, "mean", ()))


def lines_of(frame: Any, **where: str) -> Any:
    """The lines of a summary whose columns have these values."""
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


def series(name: str, places: Any, values: Any, low: Any = None, high: Any = None) -> Series:
    """A series of numbers; without an interval where no ends are given."""
    numbers = np.asarray(values, dtype=float)
    none = np.full(len(numbers), np.nan)
    lower, upper = (none if end is None else np.asarray(end, dtype=float) for end in (low, high))
    return Series(name, np.asarray(places, dtype=float), numbers, lower, upper)


def tick(text: str) -> str:
    """A name of a case as it stands below its bars."""
    return wrap(shorten(visible(text), _TICK_CHARACTERS * _TICK_LINES - 8), _TICK_CHARACTERS)


def some_cases(names: list[str]) -> tuple[list[str], list[str]]:
    """As many cases as can be drawn, and a note where these are not all."""
    if len(names) <= MOST_CASES:
        return names, []
    return names[:MOST_CASES], [f"The first {MOST_CASES} of {len(names)} cases."]
