from typing import Any

import numpy as np
import pandas as pd
import pytest

from lens_rome.plotting import PlotError, plot_peak_layers
from tests.plotting.synthetic import made_up_peaks


def of_windows() -> pd.DataFrame:
    """The counts of a window grow with its size."""
    peaks = made_up_peaks()
    return pd.concat([peaks.assign(window=size, count=peaks["count"] + size) for size in (10, 1, 5)])


def bars(axis: Any) -> tuple[list[float], list[float]]:
    return (
        [bar.get_x() + bar.get_width() / 2 for bar in axis.containers[0]],
        [bar.get_height() for bar in axis.containers[0]],
    )


def test_a_bar_stands_over_its_layer_and_is_as_high_as_its_count() -> None:
    peaks = made_up_peaks()
    places, counts = bars(plot_peak_layers(peaks.iloc[::-1]).axes[0])
    np.testing.assert_allclose(places, peaks["layer"], atol=1e-12)
    assert counts == peaks["count"].tolist()
    page: Any = plot_peak_layers(peaks, backend="plotly")
    assert (list(page.data[0].x), list(page.data[0].y)) == (peaks["layer"].tolist(), peaks["count"].tolist())


@pytest.mark.parametrize("backend", ["matplotlib", "plotly"])
def test_windows_make_panels_in_order_of_size_on_one_scale(backend: str) -> None:
    figure: Any = plot_peak_layers(of_windows(), backend=backend)  # pyright: ignore
    expected = {
        f"window of {n} layer{'s' * (n > 1)}, n = {int(made_up_peaks()['count'].sum()) + 7 * n}": n for n in (1, 5, 10)
    }
    if backend == "plotly":
        titles, counts = [note.text for note in figure.layout.annotations], [list(bar.y) for bar in figure.data]
        assert figure.layout.yaxis2.matches == "y"
    else:
        titles, counts = [axis.get_title() for axis in figure.axes], [bars(axis)[1] for axis in figure.axes]
        assert len({axis.get_ylim() for axis in figure.axes}) == 1
    assert titles == list(expected)
    assert counts == [(made_up_peaks()["count"] + size).tolist() for size in expected.values()]


def test_a_band_covers_its_layers_whole_and_a_line_stands_in_the_middle_of_its_own() -> None:
    figure = plot_peak_layers(made_up_peaks(12), band=(4, 9), line=6)
    axis = figure.axes[0]
    shade = axis.patches[-1].get_extents().transformed(axis.transData.inverted())
    assert (round(shade.x0, 6), round(shade.x1, 6)) == (3.5, 9.5)
    assert any(list(line.get_xdata()) == [6, 6] and line.get_linestyle() == "--" for line in axis.lines)
    assert "Shaded: layers 4 to 9. Dashed line: layer 6." in figure.get_suptitle()
    page: Any = plot_peak_layers(made_up_peaks(12), band=(4, 9), line=6, backend="plotly")
    rectangle, line = page.layout.shapes
    assert (rectangle.x0, rectangle.x1, rectangle.layer) == (3.5, 9.5, "below")
    assert (line.x0, line.x1, line.line.dash) == (6, 6, "dash")
    assert "Shaded: layers 4 to 9. Dashed line: layer 6." in page.layout.title.text


@pytest.mark.parametrize(
    ("columns", "statement"),
    [
        ({"kind": "mlp"}, "effect of MLP outputs, fact by fact"),
        ({"kind": "resid", "role": "subject_last"}, "effect of hidden states at the last subject token, fact by fact"),
        ({"kind": "attn", "role": "pooled"}, "of attention outputs, over all tokens from the subject on, fact by fact"),
    ],
)
def test_the_title_says_of_which_states_at_which_token(columns: dict[str, str], statement: str) -> None:
    figure = plot_peak_layers(made_up_peaks().assign(**columns), title="40 facts")
    assert " ".join(figure.get_suptitle().split()).endswith(f"{statement}: 40 facts")


def test_nothing_is_said_of_marks_that_were_not_asked_for() -> None:
    figure = plot_peak_layers(made_up_peaks(), title="MLP outputs, 40 facts")
    text = " ".join(figure.get_suptitle().split())
    assert text == "Layer of the largest indirect effect, fact by fact: MLP outputs, 40 facts"
    assert figure.axes[0].get_ylabel() == "number of facts"
    assert not figure.legends


@pytest.mark.parametrize(("n_layers", "line", "shown"), [(None, None, 8), (None, 10, 11), (12, None, 12)])
def test_the_axis_shows_all_layers_of_the_model_or_as_many_as_needed(
    n_layers: int | None, line: int | None, shown: int
) -> None:
    figure = plot_peak_layers(made_up_peaks(), n_layers=n_layers, line=line)
    assert figure.axes[0].get_xlim() == (-0.6, shown - 0.4)
    assert [int(label.get_text()) for label in figure.axes[0].get_xticklabels()] == list(range(shown))
    page: Any = plot_peak_layers(made_up_peaks(), n_layers=n_layers, line=line, backend="plotly")
    assert page.layout.xaxis.range == (-0.6, shown - 0.4)


def test_few_facts_are_counted_in_whole_numbers() -> None:
    figure = plot_peak_layers(pd.DataFrame({"layer": [0, 1], "count": [1, 2]}))
    figure.canvas.draw()
    assert all(float(tick).is_integer() for tick in figure.axes[0].get_yticks())


def test_counts_bands_and_layers_that_make_no_sense_are_refused() -> None:
    peaks = made_up_peaks()
    with pytest.raises(PlotError, match=r"'count' must hold whole numbers from 0 on, got 0\.25"):
        plot_peak_layers(peaks.assign(count=0.25))
    with pytest.raises(PlotError, match="one above 0"):
        plot_peak_layers(peaks.assign(count=0))
    with pytest.raises(PlotError, match=r"band=\(9, 4\) is no range"):
        plot_peak_layers(peaks, band=(9, 4))
    with pytest.raises(PlotError, match="layer 7 does not exist in a model of 6 layers"):
        plot_peak_layers(peaks, n_layers=6)
    with pytest.raises(PlotError, match="draws one to 4 windows, got 5"):
        plot_peak_layers(pd.concat([peaks.assign(window=size) for size in range(1, 6)]))
