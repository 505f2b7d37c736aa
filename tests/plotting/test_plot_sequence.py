import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lens_rome.plotting import PlotError, plot_sequence
from lens_rome.studies import SequenceReport
from tests.plotting.synthetic import made_up_sequence
from tests.studies.test_sequence_report import REPORT

RUNS = made_up_sequence(["ROME", "R-ROME"])


def drawn(figure: Any, backend: str) -> dict[tuple[int, str], tuple[list[float], list[float]]]:
    """Places and values of each line, by panel and label."""
    if backend == "matplotlib":
        styles = [text.get_text() for text in figure.legends[0].get_texts()] if figure.legends else ["ROME"]
        return {
            (panel, label): (list(line.get_xdata()), list(line.get_ydata()))
            for panel, axis in enumerate(figure.axes)
            for label, line in zip(styles, [each for each in axis.lines if len(each.get_xdata()) > 2], strict=True)
        }
    axes = {"x": 0, "x2": 1, "x3": 2}
    return {(axes[each.xaxis], each.name): (list(each.x), list(each.y)) for each in figure.data}


@pytest.mark.parametrize("backend", ["matplotlib", "plotly"])
def test_each_panel_draws_its_figure_against_the_number_of_edits(backend: str) -> None:
    lines = drawn(plot_sequence(RUNS, backend=backend), backend)  # pyright: ignore
    for panel, column in enumerate(("retention", "norm", "perplexity")):
        for label in ("ROME", "R-ROME"):
            rows = RUNS.query(f"label == '{label}' and {column} > {0 if column != 'retention' else -1}")
            places, values = lines[panel, label]
            np.testing.assert_array_equal(places, rows["edits"])
            np.testing.assert_array_equal(values, rows[column])


def test_size_and_perplexity_are_on_logarithmic_scales_of_their_own() -> None:
    figure, page = plot_sequence(RUNS), plot_sequence(RUNS, backend="plotly")
    assert [axis.get_yscale() for axis in figure.axes] == ["linear", "log", "log"]
    assert [axis.get_ylabel() for axis in figure.axes] == ["share of earlier edits", "norm of W - W₀", "perplexity"]
    layout: Any = page.layout
    assert [layout.yaxis.type, layout.yaxis2.type, layout.yaxis3.type] == [None, "log", "log"]
    assert layout.yaxis2.matches is None
    assert figure.axes[2].get_ylim() == (1.0, 1000.0)
    assert layout.yaxis3.range == (0.0, 3.0)
    assert layout.yaxis2.title.text == "norm of W - W₀"
    assert "edits %{customdata[0]}" in page.data[0].hovertemplate


def test_a_broken_model_has_no_point_where_its_perplexity_is_infinite() -> None:
    broken = RUNS.copy()
    broken.loc[broken.index[-1], "perplexity"] = math.inf
    places, _ = drawn(plot_sequence(broken), "matplotlib")[2, "R-ROME"]
    assert len(places) == len(RUNS[RUNS["label"] == "R-ROME"]) - 1


def test_reports_are_taken_as_well_as_their_frames() -> None:
    other = SequenceReport("R-ROME", {}, REPORT.checkpoints)
    figure = plot_sequence([REPORT, other], title="two")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ROME", "R-ROME"]
    assert figure.get_suptitle() == "Edits made one on top of the other: two"
    assert not plot_sequence(REPORT).legends


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (RUNS.drop(columns="norm"), "missing: norm"),
        (pd.concat([RUNS, RUNS]), "two rows have the same label and edits"),
        (made_up_sequence([f"run {i}" for i in range(8)]), "one to 7 runs, got 8"),
        ([], "at least one report"),
    ],
)
def test_what_cannot_be_drawn_is_refused(frame: Any, message: str) -> None:
    with pytest.raises(PlotError, match=message):
        plot_sequence(frame)
