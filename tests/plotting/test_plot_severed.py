from typing import Any

import numpy as np
import pytest

from lens_rome.plotting import PlotError, plot_severed
from tests.plotting.synthetic import made_up_severed

CONDITIONS = ["ordinary", "attn severed", "mlp severed"]


def heights(figure: Any) -> dict[str, tuple[list[float], list[float]]]:
    """Middles and heights of the bars of each condition in matplotlib."""
    return {
        bars.get_label(): ([b.get_x() + b.get_width() / 2 for b in bars], [b.get_height() for b in bars])
        for bars in figure.axes[0].containers
    }


def test_three_bars_a_layer_stand_side_by_side_and_are_as_high_as_the_effects() -> None:
    effects = made_up_severed()
    figure = plot_severed(effects.iloc[::-1])
    bars = heights(figure)
    assert list(bars) == CONDITIONS
    for slot, name in enumerate(CONDITIONS):
        rows = effects[effects["condition"] == name]
        places, values = bars[name]
        np.testing.assert_allclose(places, rows["layer"] + (slot - 1) * 0.28, atol=1e-12)
        np.testing.assert_allclose(values, rows["effect"], atol=1e-15)


def test_plotly_bars_stand_in_the_same_places() -> None:
    effects = made_up_severed()
    bars = heights(plot_severed(effects))
    page: Any = plot_severed(effects, backend="plotly")
    found = {trace.name: trace for trace in page.data if trace.type == "bar"}
    assert list(found) == CONDITIONS
    for name, trace in found.items():
        np.testing.assert_allclose(trace.x, bars[name][0], atol=1e-12)
        np.testing.assert_allclose(trace.y, bars[name][1], atol=1e-15)
        assert trace.width == pytest.approx(0.28)
        assert np.asarray(trace.customdata)[:, 0].tolist() == list(range(8))


def test_intervals_run_from_low_to_high_in_the_middle_of_their_bars() -> None:
    effects = made_up_severed()
    figure = plot_severed(effects)
    ends = [np.asarray(line.get_segments()) for line in figure.axes[0].collections]
    page: Any = plot_severed(effects, backend="plotly")
    lines = [trace for trace in page.data if trace.type == "scatter"]
    for slot, name in enumerate(CONDITIONS):
        rows = effects[effects["condition"] == name]
        expected = np.stack([rows["low"], rows["high"]], 1)
        np.testing.assert_array_equal(ends[slot][..., 1], expected)
        np.testing.assert_allclose(ends[slot][:, 0, 0], rows["layer"] + (slot - 1) * 0.28, atol=1e-12)
        np.testing.assert_array_equal(np.asarray(lines[slot].y).reshape(-1, 3)[:, :2], expected)


def test_conditions_have_the_paper_s_colours_and_differ_in_hatching_too() -> None:
    containers = plot_severed(made_up_severed()).axes[0].containers
    colours = [bars[0].get_facecolor()[:3] for bars in containers]
    assert [int(np.argmax(colour)) for colour in colours] == [2, 0, 1]  # purple (mostly blue), red, green
    assert len({bars[0].get_hatch() for bars in containers}) == 3
    page: Any = plot_severed(made_up_severed(), backend="plotly")
    assert len({trace.marker.pattern.shape for trace in page.data if trace.type == "bar"}) == 3


def test_titles_and_axes_say_what_was_measured() -> None:
    figure = plot_severed(made_up_severed(), title="last subject token, 120 facts", measure="logit difference")
    text = " ".join(figure.get_suptitle().split())
    assert text == (
        "Indirect effect of restoring one state, with later attention or MLP outputs severed: "
        "last subject token, 120 facts Vertical lines: 95% confidence interval."
    )
    axis = figure.axes[0]
    assert " ".join(axis.get_ylabel().split()) == "indirect effect (change of logit difference)"
    assert axis.get_xlabel() == "layer at which the state was restored"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == CONDITIONS


def test_bars_without_intervals_are_drawn_and_none_is_claimed() -> None:
    figure = plot_severed(made_up_severed().assign(low=np.nan, high=np.nan))
    assert "Vertical lines" not in figure.get_suptitle()
    assert list(heights(figure)) == CONDITIONS
    page: Any = plot_severed(made_up_severed().assign(low=np.nan, high=np.nan), backend="plotly")
    assert {trace.type for trace in page.data} == {"bar"}


def test_two_conditions_share_the_room_of_a_layer() -> None:
    effects = made_up_severed()
    bars = heights(plot_severed(effects[effects["condition"] != "attn severed"]))
    assert list(bars) == ["ordinary", "mlp severed"]
    np.testing.assert_allclose(bars["ordinary"][0], np.arange(8) - 0.21)


def test_an_unknown_condition_is_refused() -> None:
    effects = made_up_severed()
    with pytest.raises(PlotError, match=r"'mlp severed', got 'MLP cut'\. Rename it"):
        plot_severed(effects.replace("mlp severed", "MLP cut"))
