import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lens_rome.plotting import PlotError, plot_score_effect
from lens_rome.plotting._fit import fit_line
from tests.plotting.synthetic_study import made_up_layer_effects, made_up_scores

SCORES, EFFECTS = made_up_scores(), made_up_layer_effects(8, 12, (1, 5))
CHOSEN: dict[str, Any] = {"problem": "fact forcing", "method": "FT-5", "window": 5}


def pairs(layer: int, score: str = "rewrite", by: str = "effect") -> list[tuple[float, float]]:
    """Effect and score of each record at a layer, looked up one at a time."""
    effects = EFFECTS.set_index(["id", "window", "layer"])[by]
    scores = SCORES.set_index(["id", "problem", "method", "layer"])[score]
    names = [f"record {record}" for record in range(12)]
    return sorted((effects[name, 5, layer], scores[name, "fact forcing", "FT-5", layer]) for name in names)


def drawn(figure: Any, backend: str, marker: str = "o") -> list[list[tuple[float, float]]]:
    """Points with that marker, by panel."""
    if backend == "matplotlib":
        lines = [[line for line in axis.lines if line.get_marker() == marker] for axis in figure.axes]
        return [sorted(zip(*line.get_data(), strict=True)) for (line,) in (each for each in lines if each)]
    symbol = {"o": "circle", "X": "x"}[marker]
    found = [each for each in figure.data if each.mode == "markers" and each.marker.symbol == symbol]
    return [sorted(zip(each.x, each.y, strict=True)) for each in found]


def text(figure: Any) -> str:
    return " ".join(figure.get_suptitle().split())


def with_one(layer: int, **values: float) -> pd.DataFrame:
    """The scores, with one record's at a layer of the drawn problem changed."""
    place = (SCORES["id"] == "record 0") & (SCORES["layer"] == layer)
    place &= (SCORES["problem"] == "fact forcing") & (SCORES["method"] == "FT-5")
    scores = SCORES.copy()
    scores.loc[place, list(values)] = list(values.values())
    return scores


@pytest.mark.parametrize("backend", ["matplotlib", "plotly"])
def test_each_panel_has_a_point_a_record_at_its_effect_and_score(backend: str) -> None:
    shuffled = SCORES.sample(frac=1, random_state=1), EFFECTS.sample(frac=1, random_state=2)
    figure = plot_score_effect(*shuffled, **CHOSEN, score="overall", backend=backend)
    found = drawn(figure, backend)
    assert len(found) == 8
    for layer, points in enumerate(found):
        np.testing.assert_array_equal(points, pairs(layer, "overall"))


def test_the_fit_is_that_of_the_normal_equations_with_the_band_of_its_mean() -> None:
    x, y = np.array(pairs(3)).T
    design = np.stack([np.ones_like(x), x], 1)
    inverse = np.linalg.inv(design.T @ design)
    weights = inverse @ design.T @ y
    variance = np.square(y - design @ weights).sum() / (len(x) - 2)
    line = fit_line(x, y)
    assert (line.x[0], line.x[-1]) == (x.min(), x.max())
    for place, mean, low, high in zip(line.x, line.y, line.low, line.high, strict=True):
        at = np.array([1, place])
        error = math.sqrt(variance * (at @ inverse @ at))
        assert mean == pytest.approx(at @ weights, abs=1e-12)
        assert (low, high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=1e-12)
    assert line.r == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)


def test_constant_or_few_values_have_no_line_band_or_correlation() -> None:
    same, other = np.array([0.3, 0.1 + 0.2, 0.3, 0.3, 0.1 + 0.2]), np.arange(5.0)  # the same but for rounding
    assert len(fit_line(same, other).x) == 0
    assert math.isnan(fit_line(same, other).r)
    flat = fit_line(other, same)
    assert math.isnan(flat.r)
    np.testing.assert_allclose(flat.y, 0.3)
    assert np.isnan(fit_line(other[:2], other[:2]).low).all()
    assert len(fit_line(other[:1], other[:1]).x) == 0


@pytest.mark.parametrize("backend", ["matplotlib", "plotly"])
def test_each_panel_draws_the_fit_its_band_and_the_line_of_equality(backend: str) -> None:
    figure: Any = plot_score_effect(SCORES, EFFECTS, **CHOSEN, layers=3, backend=backend)
    line = fit_line(*np.array(pairs(3)).T)
    if backend == "matplotlib":
        (dashed,) = (each for each in figure.axes[0].lines if each.get_linestyle() == "--")
        (fit,) = (each for each in figure.axes[0].lines if len(each.get_xdata()) == len(line.x))
        (band,) = (path.vertices for each in figure.axes[0].collections for path in each.get_paths())
        same, fitted = dashed.get_data(), fit.get_data()
        assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((line.low.min(), line.high.max()))
    else:
        dashed, band, fit = (each for each in figure.data if each.mode == "lines")
        assert dashed.line.dash == "dash"
        same, fitted = (dashed.x, dashed.y), (fit.x, fit.y)
        np.testing.assert_allclose(band.y, np.concatenate([line.high, line.low[::-1]]), atol=1e-12)
    np.testing.assert_array_equal(same, [[0, 1], [0, 1]])
    np.testing.assert_allclose(fitted, [line.x, line.y], atol=1e-12)  # the order of records changes the last bits


@pytest.mark.parametrize("backend", ["matplotlib", "plotly"])
def test_bands_end_at_the_ends_of_the_axis_and_the_dashed_line_says_what_it_is(backend: str) -> None:
    rng = np.random.default_rng(0)
    scores = SCORES.assign(rewrite=np.where(rng.random(len(SCORES)) < 0.2, 0.0, 1.0))
    figure: Any = plot_score_effect(scores, EFFECTS, **CHOSEN, backend=backend)
    if backend == "matplotlib":
        found = [path.vertices[:, 1] for axis in figure.axes for each in axis.collections for path in each.get_paths()]
        names = [label.get_text() for label in figure.legends[0].get_texts()]
    else:
        found = [np.array(each.y) for each in figure.data if each.fill == "toself"]
        names = [each.name for each in figure.data]
    assert max(band.max() for band in found) == 1.0 and min(band.min() for band in found) >= 0.0
    assert "score = effect (as if tracing told)" in names


def test_titles_say_layer_correlation_and_records_and_the_heading_what_was_edited() -> None:
    figure = plot_score_effect(SCORES, EFFECTS, **CHOSEN, layers=[2, 7], title="12 facts")
    for axis, layer in zip(figure.axes, (2, 7), strict=True):
        r = np.corrcoef(*np.array(pairs(layer)).T)[0, 1]
        assert axis.get_title() == f"layer {layer}: r = {r:.2f}, n = 12".replace("-", "\u2212")
    assert text(figure) == (
        "Rewrite score of an edit against the effect at the edited layer: "
        "fact forcing, FT-5, window of 5 layers, 12 facts"
    )
    assert figure.axes[0].get_ylabel() == "rewrite score"
    assert figure.axes[0].get_xlabel().startswith("largest tracing effect over tokens\n(share of lost")
    constant = plot_score_effect(SCORES.assign(rewrite=1.0), EFFECTS, **CHOSEN, layers=2)
    assert constant.axes[0].get_title() == "layer 2: r undefined, n = 12"


def test_axes_run_from_0_to_1_and_a_little_further_only_where_points_lie_there() -> None:
    figure = plot_score_effect(SCORES, EFFECTS, **CHOSEN)
    assert {(axis.get_xlim(), axis.get_ylim()) for axis in figure.axes} == {((-0.04, 1.04), (-0.04, 1.04))}
    lower: Any = plot_score_effect(with_one(3, rewrite=-0.1), EFFECTS, **CHOSEN)
    assert [axis.get_ylim() for axis in lower.axes] == [(pytest.approx(-0.14), 1.04)] * 8
    assert "outside" not in text(lower)
    page: Any = plot_score_effect(with_one(3, rewrite=-0.1), EFFECTS, **CHOSEN, backend="plotly")
    assert [axis.range for axis in page.select_yaxes()] == [(pytest.approx(-0.14), 1.04)] * 8


@pytest.mark.parametrize("backend", ["matplotlib", "plotly"])
def test_points_far_outside_stand_at_the_border_are_counted_and_tell_their_true_numbers(backend: str) -> None:
    scores = with_one(3, rewrite=-7.0)
    figure: Any = plot_score_effect(scores, EFFECTS, **CHOSEN, backend=backend)
    effect = EFFECTS.query("id == 'record 0' and window == 5 and layer == 3")["effect"].item()
    assert drawn(figure, backend, "X") == [[(effect, -0.25)]]
    assert [len(points) for points in drawn(figure, backend)] == [12, 12, 12, 11, 12, 12, 12, 12]
    heading = text(figure) if backend == "matplotlib" else figure.layout.title.text
    assert "1 of 96 points lie outside the axes; lines and r are of their true values." in heading
    if backend == "plotly":
        outside = next(each for each in figure.data if each.marker.symbol == "x")
        assert outside.text == (f"record 0<br>effect {effect:.4f}<br>rewrite score -7.0000",)
    else:
        chosen = scores.query("problem == 'fact forcing' and method == 'FT-5' and layer == 3").sort_values("id")
        found = EFFECTS.query("window == 5 and layer == 3").sort_values("id")
        r = np.corrcoef(found["effect"], chosen["rewrite"])[0, 1]
        assert f"r = {r:.2f},".replace("-", "\u2212") in figure.axes[3].get_title()


def test_records_without_a_score_or_an_effect_are_left_out() -> None:
    some = EFFECTS[EFFECTS["id"] != "record 1"]
    figure = plot_score_effect(with_one(3, rewrite=math.nan), some, **CHOSEN)
    assert [len(points) for points in drawn(figure, "matplotlib")] == [11, 11, 11, 10, 11, 11, 11, 11]


def test_fourteen_layers_make_three_rows_and_one_layer_a_single_panel() -> None:
    layers = list(range(0, 42, 3))
    scores, effects = made_up_scores(layers, 4), made_up_layer_effects(48, 4, (5,))
    figure = plot_score_effect(scores, effects, problem="fact erasure", method="ROME")
    assert len(figure.axes) == 14
    assert figure.axes[13].get_subplotspec().rowspan.start == 2
    assert len(plot_score_effect(SCORES, EFFECTS, **CHOSEN, layers=5).axes) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"problem": "fact fixing"}, "finds no rows of problem 'fact fixing'; the frame has 'error injection', "),
        ({"method": "MEND"}, "finds no rows of method 'MEND'; the frame has 'FT-1', 'FT-5', 'ROME', 'MEMIT'"),
        ({"score": "magic"}, "knows the scores 'rewrite', .*, got 'magic'"),
        ({"by": "magic"}, "draws by=.* of tracing, got 'magic'"),
        ({"measure": "zeroing"}, "finds no rows of measure 'zeroing'"),
        ({"window": None}, r"draws one window, the frame has 1, 5\. Choose window="),
        ({"window": 3}, "finds no rows of window 3; the frame has 1, 5"),
        ({"layers": 11}, "finds no rows of layer 11; the frame has 0, 1,"),
        ({"layers": []}, "needs at least one layer"),
    ],
)
def test_what_is_not_there_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PlotError, match=message):
        plot_score_effect(SCORES, EFFECTS, **(CHOSEN | changes))


def test_frames_of_different_records_and_too_many_layers_are_refused() -> None:
    with pytest.raises(PlotError, match="Give scores and effects of the same study"):
        plot_score_effect(SCORES.assign(id="other " + SCORES["id"]), EFFECTS, **CHOSEN)
    with pytest.raises(PlotError, match=r"draws one to 20 layers, got 21\. Choose layers="):
        plot_score_effect(made_up_scores(range(21), 2), made_up_layer_effects(24, 2), **CHOSEN)
