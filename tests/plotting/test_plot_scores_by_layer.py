from typing import Any

import numpy as np
import pandas as pd
import pytest

from lens_rome.plotting import PlotError, plot_scores_by_layer
from tests.plotting.synthetic_study import METHODS, PROBLEMS, made_up_scores

SCORES = made_up_scores()
NAMES = ["rewrite", "paraphrase", "neighborhood", "essence", "overall", "overall_essence"]


def lines(figure: Any, backend: str) -> list[dict[str, tuple[Any, Any]]]:
    """Places and values of each method's line, by panel."""
    if backend == "matplotlib":
        names = [label.get_text() for label in figure.legends[0].get_texts()]
        kept = [[line for line in axis.lines if line.get_marker() not in ("None", "")] for axis in figure.axes]
        return [{name: line.get_data() for name, line in zip(names, each, strict=True)} for each in kept]
    panels: dict[str, dict[str, tuple[Any, Any]]] = {}
    for each in figure.data:
        if each.mode == "lines+markers":
            panels.setdefault(each.xaxis, {})[each.name] = (each.x, each.y)
    return list(panels.values())


def assert_means(found: dict[str, tuple[Any, Any]], problem: str, name: str) -> None:
    assert list(found) == list(METHODS)
    for method, (layers, values) in found.items():
        for layer, value in zip(layers, values, strict=True):
            rows = SCORES[(SCORES["problem"] == problem) & (SCORES["method"] == method) & (SCORES["layer"] == layer)]
            assert value == pytest.approx(sum(rows[name]) / 12, abs=1e-14)


@pytest.mark.parametrize("backend", ["matplotlib", "plotly"])
def test_one_problem_has_a_panel_a_score_with_the_means_of_each_method(backend: str) -> None:
    figure = plot_scores_by_layer(SCORES.iloc[::-1], problem="fact erasure", backend=backend)  # pyright: ignore
    found = lines(figure, backend)
    assert len(found) == 6
    for name, panel in zip(NAMES, found, strict=True):
        assert_means(panel, "fact erasure", name)


@pytest.mark.parametrize("backend", ["matplotlib", "plotly"])
def test_one_score_has_a_panel_a_problem(backend: str) -> None:
    figure = plot_scores_by_layer(SCORES.iloc[::-1], names="overall", backend=backend)  # pyright: ignore
    found = lines(figure, backend)
    assert len(found) == 5
    for problem, panel in zip(PROBLEMS, found, strict=True):
        assert_means(panel, problem, "overall")


def test_titles_say_score_problem_form_and_records() -> None:
    figure = plot_scores_by_layer(SCORES, problem="fact erasure", title="12 facts")
    assert figure.get_suptitle().startswith("Mean score of fact erasure by edited layer: 12 facts\nBands: mean ± 1.96")
    assert [axis.get_title() for axis in figure.axes] == [
        "rewrite score, erasure form (n = 12)",
        "paraphrase score, erasure form (n = 12)",
        "neighborhood score (n = 12)",
        "essence score (n = 12)",
        "overall score (n = 12)",
        "overall score with essence (n = 12)",
    ]
    by_problem = plot_scores_by_layer(SCORES, names="rewrite")
    assert by_problem.get_suptitle().startswith("Mean rewrite score by edited layer\n")
    assert by_problem.axes[2].get_title() == "fact erasure, erasure form (n = 12)"
    assert by_problem.axes[0].get_ylabel() == "mean rewrite score"


def test_a_method_has_the_same_colour_marker_and_line_whichever_others_are_there() -> None:
    def looks(methods: list[str]) -> dict[str, tuple[Any, ...]]:
        scores = made_up_scores(range(3), 2, ["error injection"], methods)
        figure = plot_scores_by_layer(scores, names=["rewrite", "overall"])
        handles = figure.legends[0].legend_handles
        found = [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in handles]
        return dict(zip([label.get_text() for label in figure.legends[0].get_texts()], found, strict=True))

    few, many = looks(["MEMIT", "ROME"]), looks(["R-ROME", *METHODS, "AlphaEdit", "EMMET"])
    assert list(few) == ["ROME", "MEMIT"]
    assert few == {name: many[name] for name in few}
    for cue in range(2):
        assert len({look[cue] for look in many.values()}) == 7


def test_missing_scores_are_left_out_and_counted_and_unmeasured_ones_named() -> None:
    scores = SCORES.assign(essence=np.nan, overall_essence=np.nan)
    scores.loc[scores.index[:5], "rewrite"] = np.nan
    figure = plot_scores_by_layer(scores, problem="error injection")
    assert len(figure.axes) == 4
    assert figure.axes[0].get_title() == "rewrite score (n = 7 to 12)"
    text = " ".join(figure.get_suptitle().split())
    assert (
        "Left out: 5 of 1536 scores that are missing. Not measured: essence score, overall score with essence." in text
    )
    some = scores.assign(rewrite=scores["rewrite"].where(scores["problem"] != "fact forcing"))
    assert "Not measured: fact forcing." in plot_scores_by_layer(some, names="rewrite").get_suptitle()


def test_the_scale_runs_from_0_to_1_unless_a_mean_or_band_lies_beyond() -> None:
    figure = plot_scores_by_layer(SCORES.assign(rewrite=0.1 + 0.8 * SCORES["rewrite"]), names="rewrite")
    assert {axis.get_ylim() for axis in figure.axes} == {(-0.03, 1.03)}
    scores = SCORES.assign(rewrite=(0.8 * SCORES["rewrite"]).where(SCORES["problem"] != "fact forcing", -1.0))
    (limits,) = {axis.get_ylim() for axis in plot_scores_by_layer(scores, names="rewrite").axes}
    assert limits == pytest.approx((-1.06, 1.06))


@pytest.mark.parametrize(
    ("methods", "caption"),
    [
        (METHODS, "edited layer (for FT-5 and MEMIT the middle one)"),
        (("ROME", "MEMIT"), "edited layer (for MEMIT the middle one)"),
        (("FT-1", "ROME"), "edited layer"),
        (("ROME", "mine"), "edited layer (the middle one of several)"),
    ],
)
def test_the_axis_says_of_which_methods_it_has_the_middle_layer(methods: tuple[str, ...], caption: str) -> None:
    figure = plot_scores_by_layer(made_up_scores(range(3), 2, ["fact forcing"], methods), names="rewrite")
    assert figure.axes[0].get_xlabel() == caption


def test_edited_layers_are_labelled_where_they_stand_apart() -> None:
    layers = [0, 4, 8, 12, 16, 17, 20, 24, 28, 32, 36, 40, 44, 47]
    figure = plot_scores_by_layer(made_up_scores(layers, 2), names="rewrite")
    assert [int(tick) for tick in figure.axes[0].get_xticks()] == [0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44]
    whole = plot_scores_by_layer(made_up_scores(range(48), 2, ["fact forcing"], ["ROME"]), names="rewrite")
    assert [int(tick) for tick in whole.axes[0].get_xticks()] == list(range(0, 48, 5))
    assert not whole.legends


@pytest.mark.parametrize(
    ("frame", "changes", "message"),
    [
        (SCORES, {}, r"several scores of one problem or one score of several, got 6 of 5\. Choose problem= or names="),
        (SCORES, {"names": ["rewrite", "magic"]}, "knows the scores .*, got 'magic'"),
        (SCORES, {"names": []}, "knows the scores .*, got none"),
        (SCORES, {"problem": "fact fixing"}, "finds no rows of problem 'fact fixing'"),
        (SCORES.drop(columns="essence"), {"names": "essence"}, "missing: essence"),
        (SCORES.drop(columns=NAMES), {}, "missing: rewrite"),
        (made_up_scores(range(2), 2, [f"p{i}" for i in range(9)]), {"names": "rewrite"}, "to 8 problems, got 9"),
        (
            made_up_scores(range(2), 2, ["fact forcing"], [f"m{i}" for i in range(8)]),
            {},
            "can tell 7 methods apart, got 8",
        ),
        (
            SCORES.assign(rewrite=SCORES["rewrite"].where(SCORES["problem"] != "fact forcing")),
            {"problem": "fact forcing", "names": "rewrite"},
            "every score of 'fact forcing' is NaN",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(frame: pd.DataFrame, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PlotError, match=message):
        plot_scores_by_layer(frame, **changes)
