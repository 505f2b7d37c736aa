from typing import Any

import numpy as np
import pandas as pd
import pytest

from lens_rome.plotting import PlotError, plot_effect_peaks, plot_layer_effects
from tests.plotting.synthetic_study import made_up_layer_effects

EFFECTS = made_up_layer_effects(8, 12, (5, 1))


def lines(figure: Any, backend: str) -> list[tuple[Any, Any]]:
    """Places and values of the line of each panel."""
    if backend == "matplotlib":
        found = [line for axis in figure.axes for line in axis.lines if line.get_marker() == "o"]
        return [line.get_data() for line in found]
    return [(each.x, each.y) for each in figure.data if each.mode == "lines+markers"]


@pytest.mark.parametrize("backend", ["matplotlib", "plotly"])
@pytest.mark.parametrize("by", ["effect", "effect_abs", "effect_last", "effect_last_fraction"])
def test_each_panel_draws_the_means_over_records_of_its_window(by: str, backend: str) -> None:
    found = lines(plot_layer_effects(EFFECTS, by=by, backend=backend), backend)  # pyright: ignore
    assert len(found) == 2
    for window, (layers, values) in zip((1, 5), found, strict=True):
        np.testing.assert_array_equal(layers, np.arange(8))
        for layer, value in zip(layers, values, strict=True):
            rows = EFFECTS[(EFFECTS["window"] == window) & (EFFECTS["layer"] == layer)]
            assert value == pytest.approx(sum(rows[by]) / 12, abs=1e-14)


def test_bands_are_1_96_standard_errors_to_either_side_in_both_libraries() -> None:
    figure, page = (plot_layer_effects(EFFECTS, windows=[5], backend=each) for each in ("matplotlib", "plotly"))  # pyright: ignore
    values = np.stack([rows["effect"].to_numpy() for _, rows in EFFECTS.query("window == 5").groupby("layer")])
    half = 1.96 * np.sqrt(np.square(values - values.mean(1, keepdims=True)).sum(1) / 11 / 12)
    vertices = figure.axes[0].collections[0].get_paths()[0].vertices
    for layer in range(8):
        ends = vertices[vertices[:, 0] == layer, 1]
        middle = values[layer].mean()
        assert (ends.min(), ends.max()) == pytest.approx((middle - half[layer], middle + half[layer]), abs=1e-12)
    band = next(each for each in page.data if each.fill == "toself")
    np.testing.assert_allclose(band.y, np.concatenate([values.mean(1) + half, (values.mean(1) - half)[::-1]]))


def test_records_without_an_effect_are_left_out_and_the_panel_says_how_many_there_are() -> None:
    effects = EFFECTS.copy()
    effects.loc[(effects["id"] == "record 3") & (effects["layer"] < 2), "effect"] = np.nan
    figure = plot_layer_effects(effects, windows=[1])
    assert figure.axes[0].get_title() == "window of 1 layer (n = 11 to 12)"
    expected = effects.query("window == 1 and layer == 0 and id != 'record 3'")["effect"].mean()
    assert lines(figure, "matplotlib")[0][1][0] == pytest.approx(expected, abs=1e-14)


def test_one_record_has_a_line_and_no_band() -> None:
    effects = made_up_layer_effects(8, 1, (5,))
    np.testing.assert_allclose(lines(plot_layer_effects(effects), "matplotlib")[0][1], effects["effect"])
    page: Any = plot_layer_effects(effects, backend="plotly")
    assert [each.mode for each in page.data] == ["lines+markers"]


def test_marks_are_drawn_in_every_panel_and_said() -> None:
    figure = plot_layer_effects(EFFECTS, edited=5, shade=(2, 9))
    assert "Shaded: layers 2 to 9. Dashed line: layer 5." in " ".join(figure.get_suptitle().split())
    for axis in figure.axes:
        assert any(list(line.get_xdata()) == [5, 5] and line.get_linestyle() == "--" for line in axis.lines)
        assert axis.get_xlim() == (-0.6, 9.6)
    page: Any = plot_layer_effects(EFFECTS, edited=5, shade=(2, 9), backend="plotly")
    assert [(shape.x0, shape.x1) for shape in page.layout.shapes] == [(1.5, 9.5), (5, 5)] * 2


@pytest.mark.parametrize("plot", [plot_layer_effects, plot_effect_peaks])
def test_what_the_marks_are_is_said_where_it_is_told(plot: Any) -> None:
    names = {"edited_is": "the layer that ROME edits", "shade_is": "the layers that MEMIT edits"}
    text = " ".join(plot(EFFECTS, edited=5, shade=(2, 6), **names).get_suptitle().split())
    assert "Shaded: the layers that MEMIT edits (2 to 6). Dashed line: the layer that ROME edits (5)." in text
    assert "ROME" not in plot(EFFECTS, **names).get_suptitle()


@pytest.mark.parametrize("plot", [plot_layer_effects, plot_effect_peaks])
def test_windows_wider_than_the_model_are_named(plot: Any) -> None:
    text = " ".join(plot(made_up_layer_effects(8, 3, (8, 10))).get_suptitle().split())
    assert "Wider than the layers that there are (8), and cut off at their ends: window of 10 layers." in text
    assert "Wider" not in plot(EFFECTS).get_suptitle()


@pytest.mark.parametrize(
    ("by", "measure", "heading", "caption"),
    [
        ("effect", "tracing", "restoring MLP outputs at one token of the noised run", "share of lost"),
        ("effect_last", "tracing", "restoring MLP outputs", "tracing effect at the last subject token (change of"),
        ("effect", "zeroing", "zeroing MLP outputs at the subject tokens of the clean run", "lost)"),
    ],
)
def test_titles_and_captions_say_what_was_measured(by: str, measure: str, heading: str, caption: str) -> None:
    effects = made_up_layer_effects(8, 3, (1, 5), measure)
    figure = plot_layer_effects(effects, by=by, measure=measure, title="3 facts")
    text = " ".join(figure.get_suptitle().split())
    assert heading in text
    assert ": 3 facts Bands: mean ± 1.96 standard errors over records." in text
    assert caption in " ".join(figure.axes[0].get_ylabel().split())
    assert figure.axes[0].get_xlabel() == "middle layer of the window"
    assert plot_layer_effects(effects, measure=measure, windows=[1]).axes[0].get_xlabel() == "layer"


@pytest.mark.parametrize(("shift", "low", "high"), [(0.4, 0.0, None), (-2.0, None, 0.0)])
def test_scales_hold_0_and_every_band_in_both_libraries(shift: float, low: float | None, high: float | None) -> None:
    effects = EFFECTS.assign(effect=EFFECTS["effect"] + shift)
    figure, page = (plot_layer_effects(effects, backend=each) for each in ("matplotlib", "plotly"))  # pyright: ignore
    (limits,) = {axis.get_ylim() for axis in figure.axes}
    assert {axis.range for axis in page.select_yaxes()} == {limits}
    margin = 0.03 / 1.06 * (limits[1] - limits[0])
    band = np.concatenate([each.get_paths()[0].vertices[:, 1] for axis in figure.axes for each in axis.collections])
    assert limits[0] + margin == pytest.approx(band.min() if low is None else low)
    assert limits[1] - margin == pytest.approx(band.max() if high is None else high)


def test_panels_of_four_windows_make_two_rows_on_one_scale() -> None:
    effects = made_up_layer_effects(8, 3, (1, 3, 5, 10))
    figure = plot_layer_effects(effects)
    boxes = [axis.get_subplotspec() for axis in figure.axes]
    assert [(box.rowspan.start, box.colspan.start) for box in boxes] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len({axis.get_ylim() for axis in figure.axes}) == 1
    assert [bool(axis.get_xlabel()) for axis in figure.axes] == [False, False, True, True]
    page: Any = plot_layer_effects(effects, backend="plotly")
    shared = [axis.matches for axis in page.select_yaxes()]
    assert (shared.count(None), len(set(shared))) == (1, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"by": "peak"}, r"draws by='effect', 'effect_abs', 'effect_last', .* of tracing, got 'peak'"),
        ({"measure": "guessing"}, "knows the measures 'tracing', 'zeroing', got 'guessing'"),
        ({"measure": "zeroing"}, "finds no rows of measure 'zeroing'; the frame has 'tracing'"),
        ({"windows": [3]}, "finds no rows of window 3; the frame has 5, 1"),
        ({"windows": []}, "needs at least one window; the frame has 5, 1"),
        ({"shade": (9, 4)}, r"shade=\(9, 4\) is no range of layers"),
        ({"edited": -1}, "edited=-1 is no layer. Layers count from 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PlotError, match=message):
        plot_layer_effects(EFFECTS, **changes)


def test_too_many_windows_and_measures_without_values_are_refused() -> None:
    with pytest.raises(PlotError, match=r"draws one to 8 windows, got 9\. Choose windows="):
        plot_layer_effects(made_up_layer_effects(4, 2, range(1, 10)))
    both = pd.concat([EFFECTS, made_up_layer_effects(8, 2, (5,), "zeroing").assign(effect=np.nan)])
    with pytest.raises(PlotError, match="every effect of zeroing is NaN"):
        plot_layer_effects(both, measure="zeroing")
    with pytest.raises(PlotError, match="draws by='effect', 'effect_abs' of zeroing, got 'effect_last'"):
        plot_layer_effects(both, measure="zeroing", by="effect_last")
