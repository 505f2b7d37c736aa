from typing import Any

import numpy as np
import pandas as pd
import pytest

from lens_rome.plotting import PlotError, plot_effect_peaks
from tests.plotting.synthetic_study import made_up_layer_effects

EFFECTS = made_up_layer_effects(8, 30, (5, 1))


def frame(effects: dict[str, list[float]], window: int = 5) -> pd.DataFrame:
    """Effects by record, a number a layer."""
    rows = [
        (name, "tracing", window, layer, value) for name, all_ in effects.items() for layer, value in enumerate(all_)
    ]
    return pd.DataFrame(rows, columns=["id", "measure", "window", "layer", "effect"])


def heights(figure: Any, backend: str) -> list[list[float]]:
    """Heights of the bars of each panel."""
    if backend == "matplotlib":
        return [[bar.get_height() for bar in axis.containers[0]] for axis in figure.axes]
    return [list(bars.y) for bars in figure.data]


def text(figure: Any) -> str:
    return " ".join(figure.get_suptitle().split())


@pytest.mark.parametrize("backend", ["matplotlib", "plotly"])
@pytest.mark.parametrize("by", ["effect", "effect_abs"])
def test_each_record_counts_at_the_layer_of_its_largest_effect(by: str, backend: str) -> None:
    found = heights(plot_effect_peaks(EFFECTS.sample(frac=1, random_state=1), by=by, backend=backend), backend)  # pyright: ignore
    for window, bars in zip((1, 5), found, strict=True):
        expected = [0] * 8
        for record in range(30):
            rows = EFFECTS[(EFFECTS["window"] == window) & (EFFECTS["id"] == f"record {record}")]
            expected[int(np.argmax(rows["effect"]))] += 1
        assert bars == expected


def test_the_share_inside_the_shaded_layers_is_said_for_each_window() -> None:
    effects = pd.concat(
        [
            frame({"a": [1, 0, 0, 0], "b": [0, 1, 0, 0], "c": [0, 0, 1, 0], "d": [0, 0, 0, 1]}),
            frame({"a": [0, 1, 0, 0], "b": [0, 1, 0, 0], "c": [0, 0, 1, 0], "d": [0, 0, 0, 1]}, window=1),
        ]
    )
    assert "inside the shaded layers: 75% (window 1), 50% (window 5)." in text(plot_effect_peaks(effects, shade=(1, 2)))
    one = text(plot_effect_peaks(effects, windows=[5], shade=(1, 2), edited=3))
    assert "Shaded: layers 1 to 2. Dashed line: layer 3. Peaks inside the shaded layers: 50%." in one
    assert "inside" not in text(plot_effect_peaks(effects))


def test_equal_peaks_count_each_and_a_record_without_effect_nowhere_and_both_are_said() -> None:
    effects = frame({"two": [0.2, 0.5, 0.5], "none": [0.0, 0.0, 0.0], "below": [-0.1, -0.2, -0.3], "one": [0.9, 0, 0]})
    figure = plot_effect_peaks(effects)
    assert heights(figure, "matplotlib") == [[1, 1, 1]]
    assert figure.axes[0].get_title() == "window of 5 layers (n = 2)"
    assert "Left out: 2 without an effect above 0. Counted at each of several equal peaks: 1." in text(figure)
    assert "equal peaks" not in text(plot_effect_peaks(EFFECTS))


def test_a_window_whose_records_have_no_peak_has_an_empty_panel() -> None:
    effects = pd.concat([frame({"a": [0, 1]}), frame({"a": [0, 0]}, window=1)])
    figure = plot_effect_peaks(effects, shade=(0, 0))
    assert heights(figure, "matplotlib") == [[0, 0], [0, 1]]
    assert "none (window 1), 0% (window 5)" in text(figure)
    assert "Left out: 1 without an effect above 0, over all windows." in text(figure)


def test_titles_say_of_which_effect_at_which_token() -> None:
    assert "Layer of the largest effect of restoring" in text(plot_effect_peaks(EFFECTS))
    last = text(plot_effect_peaks(EFFECTS, by="effect_last", title="30 facts"))
    assert "largest effect at the last subject token of restoring" in last
    assert last.endswith("record by record: 30 facts")


def test_what_has_no_peaks_is_refused() -> None:
    with pytest.raises(PlotError, match="no effect is above 0: plot_effect_peaks has no peaks to count"):
        plot_effect_peaks(frame({"a": [0, 0]}))
    with pytest.raises(PlotError, match="draws one to 8 windows, got 9"):
        plot_effect_peaks(made_up_layer_effects(4, 2, range(1, 10)))
    with pytest.raises(PlotError, match="is no range of layers"):
        plot_effect_peaks(EFFECTS, shade=(3, 1))
