"""Data frames that pictures take: checked with one set of words, and turned into rows over layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from lens_rome.plotting._figure import PlotError


@dataclass(frozen=True)
class Needs:
    """What a picture needs of its frame."""

    function: str
    names: tuple[str, ...]
    """Columns that say what a row is about; none may be missing in any row."""
    numbers: tuple[str, ...]
    """Columns of numbers; infinite ones are refused."""
    key: tuple[str, ...]
    """Columns that no two rows share."""
    value: str
    """The column that is drawn: at least one row has a value."""
    whole: tuple[str, ...] = ("layer",)
    """Columns among `names` or `numbers` that hold whole numbers from 0 on."""


def check_frame(frame: Any, needs: Needs) -> Any:
    """The frame itself; one that cannot be drawn is refused.

    Raises:
        PlotError: missing columns, no rows, rows without a name or with the same key, or values that are not numbers.
    """
    columns = (*needs.names, *needs.numbers)
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise PlotError(f"{needs.function} needs the columns {', '.join(columns)}; missing: {', '.join(missing)}.")
    if frame.empty:
        raise PlotError(f"{needs.function} needs at least one row, got 0.")
    for name in dict.fromkeys((*needs.numbers, *needs.whole)):
        _check_numbers(frame[name], name)
    for name in needs.names:
        if frame[name].isna().any():
            raise PlotError(f"some rows have no {name}. Fill them or drop those rows.")
        if name not in needs.whole and not all(isinstance(value, str) for value in frame[name].unique()):
            raise PlotError(f"the column {name!r} must hold text, got {frame[name].dtype}.")
    for name in needs.whole:
        _check_whole(frame[name], name)
    if frame.duplicated(list(needs.key)).any():
        *others, last = needs.key
        shared = f"{', '.join(others)} and {last}" if others else last
        raise PlotError(f"two rows have the same {shared}. Average over facts first, or choose some rows.")
    if frame[needs.value].isna().all():
        raise PlotError(f"every {needs.value} is NaN: {needs.function} has nothing to draw. Check what was measured.")
    if {"low", "high"} <= set(needs.numbers) and (frame["low"] > frame["high"]).any():
        raise PlotError("some rows have low above high. Swap the two columns where they are.")
    return frame


def _check_numbers(values: Any, name: str) -> None:
    if values.dtype.kind not in "iuf":
        raise PlotError(f"the column {name!r} must hold numbers, got {values.dtype}.")
    if np.isinf(values.to_numpy(dtype=float, na_value=np.nan)).any():
        raise PlotError(f"the column {name!r} holds infinite values. Drop those rows.")


def _check_whole(values: Any, name: str) -> None:
    numbers = values.dropna().to_numpy(dtype=float)
    wrong = numbers[(numbers < 0) | (numbers != np.floor(numbers))]
    if wrong.size:
        raise PlotError(f"the column {name!r} must hold whole numbers from 0 on, got {wrong[0]:g}.")


def layer_range(frame: Any) -> tuple[int, int]:
    """First layer, and how many there are up to the last; layers between that have no rows are counted."""
    first = int(frame["layer"].min())
    return first, int(frame["layer"].max()) - first + 1


def over_layers(
    frame: Any, column: str, rows: Sequence[Any], value: str, layers: tuple[int, int]
) -> Float[np.ndarray, "row layer"]:
    """`value` of each member of `rows` (found in `column`) at each layer; NaN where the frame has no row."""
    first, count = layers
    grid = np.full((len(rows), count), np.nan)
    places = {row: index for index, row in enumerate(rows)}
    for name, layer, number in zip(
        frame[column], frame["layer"], frame[value].to_numpy(dtype=float, na_value=np.nan), strict=True
    ):
        grid[places[name], int(layer) - first] = number
    return grid
