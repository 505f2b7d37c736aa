"""What all pictures of data frames refuse, in the same words."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lens_rome.plotting import (
    PlotError,
    plot_average,
    plot_average_heatmap,
    plot_heads,
    plot_peak_layers,
    plot_segments,
    plot_severed,
)
from tests.plotting.synthetic import (
    made_up_heads,
    made_up_peaks,
    made_up_segments,
    made_up_severed,
    six_roles,
)

Plot = Callable[..., Any]
Case = tuple[Plot, pd.DataFrame, str, str]
PICTURES: list[Case] = [
    (plot_average, six_roles(), "effect", "role"),
    (plot_average_heatmap, six_roles(), "effect", "n"),
    (plot_severed, made_up_severed(), "effect", "condition"),
    (plot_peak_layers, made_up_peaks(), "count", "layer"),
    (plot_heads, made_up_heads(), "effect", "head"),
    (plot_segments, made_up_segments(), "effect", "n_tokens"),
]
"""Function, frame, the column of values, a column that is missing in the test."""

each_picture = pytest.mark.parametrize("case", PICTURES, ids=[plot.__name__ for plot, *_ in PICTURES])


@each_picture
def test_a_frame_without_a_column_or_rows_is_refused(case: Case) -> None:
    plot, frame, value, column = case
    for name in (column, value):
        with pytest.raises(PlotError, match=rf"{plot.__name__} needs the columns .*; missing: {name}\."):
            plot(frame.drop(columns=name))
    with pytest.raises(PlotError, match=f"{plot.__name__} needs at least one row, got 0"):
        plot(frame.iloc[:0])


@each_picture
def test_values_that_are_no_finite_numbers_are_refused(case: Case) -> None:
    plot, frame, value, _ = case
    with pytest.raises(PlotError, match=f"every {value} is NaN"):
        plot(frame.assign(**{value: np.nan}))
    with pytest.raises(PlotError, match=f"the column '{value}' must hold numbers"):
        plot(frame.assign(**{value: "large"}))
    with pytest.raises(PlotError, match=f"the column '{value}' holds infinite values"):
        plot(frame.assign(**{value: np.inf}))
    with pytest.raises(PlotError, match=r"'layer' must hold whole numbers from 0 on, got 0\.5"):
        plot(frame.assign(layer=frame["layer"] + 0.5))
    with pytest.raises(PlotError, match="some rows have no layer"):
        plot(frame.assign(layer=frame["layer"].where(frame["layer"] != 2)))


@each_picture
def test_two_rows_for_one_place_are_refused(case: Case) -> None:
    plot, frame, *_ = case
    with pytest.raises(PlotError, match=r"two rows have the same .*Average over facts first"):
        plot(pd.concat([frame, frame.iloc[3:4]]))


@each_picture
def test_an_unknown_backend_is_refused(case: Case) -> None:
    plot, frame, *_ = case
    with pytest.raises(PlotError, match="use 'matplotlib' or 'plotly'"):
        plot(frame, backend="bokeh")


@each_picture
def test_the_frame_is_left_as_it_was(case: Case) -> None:
    plot, frame, *_ = case
    shuffled = frame.sample(frac=1, random_state=1)
    before = shuffled.copy()
    plot(shuffled)
    pd.testing.assert_frame_equal(shuffled, before)


def test_names_that_are_missing_or_no_text_are_refused() -> None:
    with pytest.raises(PlotError, match="some rows have no condition"):
        plot_severed(made_up_severed().assign(condition=None))
    with pytest.raises(PlotError, match="'segment' must hold text"):
        plot_segments(made_up_segments().assign(segment=1))


def test_intervals_the_wrong_way_round_are_refused() -> None:
    frame = made_up_severed()
    with pytest.raises(PlotError, match="Swap the two columns"):
        plot_severed(frame.assign(low=frame["high"], high=frame["low"]))
