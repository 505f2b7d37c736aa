"""The studies' pictures at the size of a small and of a large model, and what all of them refuse of their frames."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lens_rome.plotting import (
    PlotError,
    plot_effect_peaks,
    plot_explained,
    plot_layer_effects,
    plot_score_effect,
    plot_scores_by_layer,
    save_figure,
)
from tests.plotting.layout import assert_page_fits, assert_texts_are_apart, page_texts
from tests.plotting.synthetic_study import (
    METHODS,
    PROBLEMS,
    made_up_layer_effects,
    made_up_regressions,
    made_up_scores,
)

ODD = "costs $5_ and $x^\n<b>{bold}</b> %{x}"
WINDOWS = (1, 3, 5, 10)
EDITED = [0, 4, 8, 12, 16, 17, 20, 24, 28, 32, 36, 40, 44, 47]
MARKS: dict[str, Any] = {"edited": 2, "shade": (0, 3), "title": ODD}


def edited(n_layers: int) -> list[int]:
    return EDITED if n_layers == 48 else list(range(n_layers))


def odd_scores(n_layers: int) -> pd.DataFrame:
    """Scores of a problem and a method with names that are markup; one is far outside the axes."""
    scores = made_up_scores(edited(n_layers), 4, [ODD, "fact erasure"], [*METHODS, ODD])
    scores.loc[scores["id"] == "record 1", "rewrite"] = -3.0
    return scores.replace("record 2", ODD)


def odd_regressions() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Regressions with odd names and a missing row, and published ones."""
    rows = made_up_regressions([*PROBLEMS[:3], ODD], [*METHODS, "R-ROME"])
    published = rows.assign(model=ODD)
    rows.loc[1, ["r2_layer", "difference", "missing"]] = [np.nan, np.nan, ODD]
    return rows, published


def score_effect(n_layers: int, backend: Any, **options: Any) -> Any:
    effects = made_up_layer_effects(n_layers, 4, (5,)).replace("record 2", ODD)
    return plot_score_effect(
        odd_scores(n_layers), effects, problem=ODD, method="ROME", title=ODD, backend=backend, **options
    )


Draw = Callable[[int, Any], Any]
PICTURES: dict[str, Draw] = {
    "layer effects": lambda n, b: plot_layer_effects(made_up_layer_effects(n, 5, WINDOWS), **MARKS, backend=b),
    "one window": lambda n, b: plot_layer_effects(
        made_up_layer_effects(n, 5, (5,), "zeroing"), measure="zeroing", **MARKS, backend=b
    ),
    "effect peaks": lambda n, b: plot_effect_peaks(
        made_up_layer_effects(n, 30, WINDOWS), by="effect_last", **MARKS, backend=b
    ),
    "score and effect": score_effect,
    "score and effect at one layer": lambda n, b: score_effect(n, b, layers=0, by="effect_last"),
    "explained": lambda _, b: plot_explained(made_up_regressions(), title=ODD, backend=b),
    "explained and published": lambda _, b: plot_explained(
        odd_regressions()[0], published=odd_regressions()[1], title=ODD, backend=b
    ),
    "scores": lambda n, b: plot_scores_by_layer(odd_scores(n), problem=ODD, title=ODD, backend=b),
    "scores of problems": lambda n, b: plot_scores_by_layer(made_up_scores(edited(n), 3), names="overall", backend=b),
}
SIZES = [*((name, 48) for name in PICTURES), ("layer effects", 4), ("score and effect", 4), ("scores", 4)]
each_size = pytest.mark.parametrize(("name", "n_layers"), SIZES)


@each_size
def test_no_texts_overlap_or_are_cut_off(name: str, n_layers: int) -> None:
    assert_texts_are_apart(PICTURES[name](n_layers, "matplotlib"))


@each_size
def test_texts_of_a_page_have_room_and_are_shown_literally(name: str, n_layers: int) -> None:
    figure = PICTURES[name](n_layers, "plotly")
    assert_page_fits(figure)
    for text in page_texts(figure):
        assert "$" not in text  # a formula
        assert "<b>{bold}" not in text  # markup
        assert "\n" not in text
    assert all("bold" not in (trace.hovertemplate or "") for trace in figure.data)
    assert_captions_fit(figure)


def assert_captions_fit(figure: Any) -> None:
    """Captions of layers are no wider than their panels, and their lines have room below."""
    columns = max(round(1 / (axis.domain[1] - axis.domain[0])) for axis in figure.select_xaxes())
    width = (figure.layout.width - figure.layout.margin.l - figure.layout.margin.r) / columns
    lines = [(axis.title.text or "").split("<br>") for axis in figure.select_xaxes()]
    assert all(7 * len(line) <= width for each in lines for line in each)
    assert figure.layout.margin.b >= 40 + 17 * max(map(len, lines))


@pytest.mark.parametrize("name", ["score and effect", "explained and published"])
def test_points_and_stacked_bars_are_written_by_both_libraries(name: str, tmp_path: Any) -> None:
    assert save_figure(PICTURES[name](4, "matplotlib"), tmp_path / "picture.pdf").read_bytes().startswith(b"%PDF")
    assert "Plotly.newPlot" in PICTURES[name](4, "plotly").to_html(include_plotlyjs=False)


EFFECTS, SCORES = made_up_layer_effects(4, 3, (5,)), made_up_scores(range(4), 3, ["fact forcing"], ["ROME"])
FRAMES: list[tuple[Callable[..., Any], pd.DataFrame, str, str, str]] = [
    (plot_layer_effects, EFFECTS, "effect", "id", "layer"),
    (plot_effect_peaks, EFFECTS, "effect", "measure", "layer"),
    (
        lambda scores, **options: plot_score_effect(scores, EFFECTS, problem="fact forcing", method="ROME", **options),
        SCORES,
        "rewrite",
        "method",
        "layer",
    ),
    (
        lambda effects, **options: plot_score_effect(SCORES, effects, problem="fact forcing", method="ROME", **options),
        EFFECTS,
        "effect",
        "id",
        "layer",
    ),
    (plot_explained, made_up_regressions(), "r2_layer", "method", "window"),
    (plot_scores_by_layer, SCORES[["id", "problem", "method", "layer", "rewrite"]], "rewrite", "id", "layer"),
]
"""Function, frame, the column of values, a column that is missing in the test, one of whole numbers."""


@pytest.mark.parametrize(("plot", "frame", "value", "column", "whole"), FRAMES)
def test_frames_that_cannot_be_drawn_are_refused_and_good_ones_left_as_they_were(
    plot: Callable[..., Any], frame: pd.DataFrame, value: str, column: str, whole: str
) -> None:
    for name in (column, value):
        with pytest.raises(PlotError, match=rf"needs the columns .*; missing: {name}\."):
            plot(frame.drop(columns=name))
    with pytest.raises(PlotError, match="needs at least one row, got 0"):
        plot(frame.iloc[:0])
    with pytest.raises(PlotError, match=f"every {value} is NaN"):
        plot(frame.assign(**{value: np.nan}))
    with pytest.raises(PlotError, match=f"the column '{value}' must hold numbers"):
        plot(frame.assign(**{value: "large"}))
    with pytest.raises(PlotError, match=f"the column '{value}' holds infinite values"):
        plot(frame.assign(**{value: np.inf}))
    with pytest.raises(PlotError, match=rf"'{whole}' must hold whole numbers from 0 on, got"):
        plot(frame.assign(**{whole: frame[whole] + 0.5}))
    with pytest.raises(PlotError, match=r"two rows have the same .*choose some rows"):
        plot(pd.concat([frame, frame.iloc[3:4]]))
    with pytest.raises(PlotError, match="use 'matplotlib' or 'plotly'"):
        plot(frame, backend="bokeh")
    shuffled = frame.sample(frac=1, random_state=1)
    before = shuffled.copy()
    plot(shuffled)
    pd.testing.assert_frame_equal(shuffled, before)
