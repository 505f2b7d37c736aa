from typing import Any

import numpy as np
import pandas as pd
import pytest

from lens_rome.plotting import PlotError, plot_explained
from tests.plotting.synthetic_study import METHODS, PROBLEMS, made_up_regressions

ROWS = made_up_regressions()
PUBLISHED = ROWS[["problem", "method", "score"]].assign(r2_layer=0.5, difference=0.032, model="GPT-J", subset="all")


def bars(figure: Any, backend: str) -> list[dict[str, list[tuple[float, float, float]]]]:
    """Middle, foot and height of the bars of each name, by panel."""
    panels: list[dict[str, list[tuple[float, float, float]]]] = []
    if backend == "matplotlib":
        for axis in figure.axes:
            found = {
                each.get_label(): [(b.get_x() + b.get_width() / 2, b.get_y(), b.get_height()) for b in each]
                for each in axis.containers
            }
            panels.append(found)
        return panels
    for each in figure.data:
        if each.type == "bar":
            at = int((each.xaxis or "x")[1:] or 1) - 1
            panels += [{} for _ in range(at + 1 - len(panels))]
            base = each.base if each.base is not None else np.zeros(len(each.y))
            panels[at][each.name] = list(zip(each.x, base, each.y, strict=True))
    return panels


def text(figure: Any) -> str:
    return " ".join(figure.get_suptitle().split())


@pytest.mark.parametrize("backend", ["matplotlib", "plotly"])
def test_a_bar_is_the_layer_s_share_and_on_it_stands_what_the_effect_adds(backend: str) -> None:
    figure = plot_explained(ROWS.sample(frac=1, random_state=1), backend=backend)  # pyright: ignore
    found = bars(figure, backend)
    assert len(found) == 5
    rows = ROWS.set_index(["problem", "method"])[["r2_layer", "difference"]]
    for problem, panel in zip(PROBLEMS, found, strict=True):
        assert list(panel) == ["edited layer alone", "added by the effect"]
        for place, method in enumerate(METHODS):
            layer, more = rows.loc[(problem, method)]
            (below,) = (bar for bar in panel["edited layer alone"] if bar[0] == pytest.approx(place))
            (above,) = (bar for bar in panel["added by the effect"] if bar[0] == pytest.approx(place))
            assert below[1:] == pytest.approx((0, layer))
            assert above[1:] == pytest.approx((layer, more))


@pytest.mark.parametrize("backend", ["matplotlib", "plotly"])
def test_published_bars_stand_to_the_right_of_ours_and_name_their_model(backend: str) -> None:
    panel = bars(plot_explained(ROWS, published=PUBLISHED, backend=backend), backend)[0]  # pyright: ignore
    assert list(panel)[2:] == ["edited layer alone, published (GPT-J)", "added by the effect, published (GPT-J)"]
    ours, theirs = panel["edited layer alone"], panel["edited layer alone, published (GPT-J)"]
    np.testing.assert_allclose([bar[0] for bar in ours], np.arange(4) - 0.21)
    np.testing.assert_allclose([bar[0] for bar in theirs], np.arange(4) + 0.21)
    assert all(bar[2] == 0.5 for bar in theirs)


def test_the_number_above_a_bar_is_what_the_effect_adds() -> None:
    rows = ROWS[ROWS["problem"] == "error injection"].assign(difference=[0.032, 0.0, 0.0004, -1e-9])
    axis = plot_explained(rows).axes[0]
    assert [label.get_text() for label in axis.texts] == ["+.032", "+.000", "+.000", "+.000"]
    np.testing.assert_allclose([label.get_position()[1] for label in axis.texts], rows["r2_layer"] + rows["difference"])
    page: Any = plot_explained(rows, backend="plotly")
    written = next(each for each in page.data if each.type == "scatter")
    assert list(written.text) == ["+.032", "+.000", "+.000", "+.000"]


def test_ticks_are_methods_and_titles_problems_in_the_paper_s_order_with_their_records() -> None:
    figure = plot_explained(ROWS.iloc[::-1], title="atlas")
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == list(METHODS)
    assert [axis.get_title() for axis in figure.axes] == [f"{problem} (n = 120)" for problem in PROBLEMS]
    assert "Variance of the rewrite score that layer and effect explain: atlas Effect: largest tracing" in text(figure)
    assert "window of 5 layers. Numbers: what it adds to R²." in text(figure)
    page: Any = plot_explained(ROWS, backend="plotly")
    assert list(page.layout.xaxis.ticktext) == list(METHODS)
    assert page.layout.yaxis5.range == (0.0, 1.12)


def test_stacks_differ_in_hatching_as_well_as_in_colour() -> None:
    containers = plot_explained(ROWS, published=PUBLISHED).axes[0].containers
    assert [each[0].get_hatch() for each in containers] == ["", "//", "..", "//"]
    assert len({each[0].get_facecolor() for each in containers}) == 4


def test_rows_without_numbers_have_no_bar_and_their_reason_is_said() -> None:
    rows = ROWS.copy()
    rows.loc[:3, ["r2_layer", "difference"]] = np.nan
    rows.loc[:1, "missing"] = "fewer than two layers"
    figure = plot_explained(rows)
    told = "No bar: error injection, FT-1 (fewer than two layers); error injection, FT-5 (fewer than two layers); "
    assert told + "error injection, ROME; and 1 more." in text(figure)
    assert [len(each) for each in figure.axes[0].containers] == [0, 0]


def test_several_windows_predictors_or_subsets_need_a_choice() -> None:
    more = pd.concat([ROWS, ROWS.assign(window=10, r2_layer=0.1), ROWS.assign(subset="concentrated", r2_layer=0.2)])
    with pytest.raises(PlotError, match=r"draws one window, the frame has 5, 10\. Choose window="):
        plot_explained(more)
    with pytest.raises(PlotError, match=r"draws one subset, the frame has 'all', 'concentrated'\. Choose subset="):
        plot_explained(more, window=5)
    figure = plot_explained(more, window=5, subset="concentrated")
    assert bars(figure, "matplotlib")[0]["edited layer alone"][0][2] == 0.2
    assert "window of 5 layers, records with a concentrated effect." in text(figure)


@pytest.mark.parametrize(
    ("frame", "changes", "message"),
    [
        (ROWS, {"score": "magic"}, "knows the scores"),
        (ROWS, {"score": "essence"}, "finds no rows of score 'essence'; the frame has 'rewrite'"),
        (ROWS, {"window": 3}, "finds no rows of window 3"),
        (ROWS.drop(columns="subset"), {}, "missing: subset"),
        (ROWS.assign(difference=np.nan), {}, "every R² of the rewrite score is NaN"),
        (ROWS.assign(r2_layer=90.0), {}, "Give fractions, not percent"),
        (ROWS.assign(difference=-0.1), {}, "Give fractions, not percent"),
        (pd.concat([ROWS, ROWS]), {}, "two rows have the same"),
        (
            made_up_regressions([f"p{i}" for i in range(9)], ["ROME"]).assign(r2_layer=0.5),
            {},
            "draws one to 8 problems, got 9",
        ),
        (ROWS, {"published": PUBLISHED.drop(columns="difference")}, r"plot_explained\(published=\) needs .*difference"),
        (ROWS, {"published": PUBLISHED.assign(score="overall")}, "has no rows of .* Leave it out"),
        (ROWS, {"published": pd.concat([PUBLISHED, PUBLISHED])}, "two rows have the same problem and method"),
    ],
)
def test_what_cannot_be_drawn_is_refused(frame: pd.DataFrame, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PlotError, match=message):
        plot_explained(frame, **changes)
