from typing import Any

import numpy as np
import pandas as pd
import pytest

from lens_rome.plotting import PlotError, plot_average_heatmap
from tests.plotting.synthetic import six_roles
from tests.plotting.test_plot_trace import drawn, panels

ROLES = ["subject_first", "subject_middle", "subject_last", "after_subject", "further", "last"]
LABELS = [
    "first subject token (n = 120)",
    "middle subject tokens (n = 95)",
    "last subject token (n = 120)",
    "first token after the subject (n = 118)",
    "further tokens (n = 301)",
    "last token (n = 120)",
]
KINDS = ["resid", "mlp", "attn"]


def grid(effects: pd.DataFrame, kind: str, column: str = "effect") -> np.ndarray:
    rows = effects[effects["kind"] == kind]
    return rows.pivot(index="role", columns="layer", values=column).loc[ROLES].to_numpy()


@pytest.mark.parametrize("order", [1, -1])
def test_a_cell_is_the_effect_of_its_role_and_layer_whatever_the_order_of_the_rows(order: int) -> None:
    effects = six_roles()
    figure = plot_average_heatmap(effects.sort_values("kind", ascending=False, kind="stable").iloc[::order])
    kinds = ["resid", "mlp", "attn"][::order]
    for axis, kind in zip(panels(figure), kinds, strict=True):
        np.testing.assert_array_equal(drawn(axis), grid(effects, kind))


def test_plotly_cells_hold_the_effect_its_interval_and_the_count() -> None:
    effects = six_roles()
    figure: Any = plot_average_heatmap(effects, backend="plotly")
    for heatmap, kind in zip(figure.data, KINDS, strict=True):
        np.testing.assert_array_equal(np.asarray(heatmap.z), grid(effects, kind))
        for index, column in enumerate(("low", "high", "n")):
            np.testing.assert_array_equal(np.asarray(heatmap.customdata)[..., index], grid(effects, kind, column))
    assert list(figure.layout.yaxis.ticktext) == LABELS
    assert figure.layout.yaxis.autorange == "reversed"


def test_rows_are_the_roles_of_the_paper_from_top_to_bottom_with_their_counts() -> None:
    axis = panels(plot_average_heatmap(six_roles()))[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == LABELS
    bottom, top = axis.get_ylim()
    assert bottom > top


def test_counts_that_differ_between_layers_or_kinds_are_given_as_a_range() -> None:
    effects = six_roles()
    effects.loc[effects["role"].eq("last") & effects["kind"].eq("mlp"), "n"] = 80
    labels = [label.get_text() for label in panels(plot_average_heatmap(effects))[0].get_yticklabels()]
    assert labels[-1] == "last token (n = 80 to 120)"


def test_labels_name_tokens_and_facts_where_the_frame_tells_them() -> None:
    effects = six_roles().assign(n_facts=118)
    effects.loc[effects["role"].eq("after_subject") & effects["layer"].eq(3), ["n", "n_facts"]] = 100
    effects.loc[effects["role"].eq("last"), ["n", "n_facts"]] = 1
    labels = [label.get_text() for label in panels(plot_average_heatmap(effects))[0].get_yticklabels()]
    assert labels[3:] == [
        "first token after the subject (100 to 118 facts)",
        "further tokens (301 tokens of 118 facts)",
        "last token (1 fact)",
    ]


def test_all_panels_share_one_scale_from_no_effect_to_the_largest() -> None:
    effects = six_roles()
    figure = plot_average_heatmap(effects)
    limits = (0.0, effects["effect"].max())
    assert [axis.collections[0].get_clim() for axis in panels(figure)] == [limits] * 3
    assert [axis.collections[0].get_cmap().name for axis in panels(figure)] == ["Purples", "Greens", "Reds"]
    page: Any = plot_average_heatmap(effects, backend="plotly")
    assert [(heatmap.zmin, heatmap.zmax) for heatmap in page.data] == [limits] * 3


def test_effects_below_zero_are_dark_where_they_are_lowest() -> None:
    effects = six_roles()
    columns = ["effect", "low", "high"]
    effects[columns] = -effects[["effect", "high", "low"]].to_numpy()
    mesh = panels(plot_average_heatmap(effects))[0].collections[0]
    assert mesh.get_clim() == (effects["effect"].min(), 0.0)
    assert mesh.get_cmap().name == "Purples_r"


def bar_labels(figure: Any) -> list[str]:
    return [" ".join(axis.get_ylabel().split()) for axis in figure.axes if not axis.get_title()]


def test_small_effects_of_the_other_sign_are_announced_by_the_colour_bar() -> None:
    effects = six_roles()
    effects.loc[5, "effect"] = -0.04
    figure = plot_average_heatmap(effects)
    assert panels(figure)[0].collections[0].colorbar.extend == "min"
    assert panels(figure)[1].collections[0].colorbar.extend == "neither"
    label = "average indirect effect (change of p(answer))"
    assert bar_labels(figure) == [f"{label} (below 0 drawn as 0; lowest -0.040)", label, label]
    page: Any = plot_average_heatmap(effects, backend="plotly")
    assert "lowest -0.040" in page.data[0].colorbar.title.text and "lowest" not in page.data[1].colorbar.title.text
    columns = ["effect", "low", "high"]
    effects[columns] = -effects[["effect", "high", "low"]].to_numpy()
    assert "(above 0 drawn as 0; highest +0.040)" in bar_labels(plot_average_heatmap(effects))[0]


def test_effects_of_both_signs_have_zero_in_the_middle_of_the_colours() -> None:
    effects = six_roles()
    effects.loc[5, "effect"] = -0.1
    figure, largest = plot_average_heatmap(effects), effects["effect"].max()
    for axis in panels(figure):
        mesh = axis.collections[0]
        assert mesh.get_clim() == (-largest, largest) and mesh.get_cmap().name == "RdBu"
        assert mesh.colorbar.extend == "neither"
    assert not any("drawn as" in label for label in bar_labels(figure))
    page: Any = plot_average_heatmap(effects, backend="plotly")
    assert {(heatmap.zmin, heatmap.zmax) for heatmap in page.data} == {(-largest, largest)}


def test_titles_and_bars_say_what_was_averaged_restored_and_measured() -> None:
    figure = plot_average_heatmap(six_roles(), title="120 facts", measure="log p(answer), nats")
    text = " ".join(figure.get_suptitle().split())
    assert text == "Average indirect effect of restoring one site at one token: 120 facts"
    assert [axis.get_title() for axis in panels(figure)] == [
        "hidden states",
        "MLP outputs, window of 3 layers",
        "attention outputs, window of 3 layers",
    ]
    bars = {" ".join(axis.get_ylabel().split()) for axis in figure.axes if not axis.get_title()}
    assert bars == {"average indirect effect (change of log p(answer), nats)"}


def test_cells_without_a_row_are_grey_and_the_title_says_so() -> None:
    effects = six_roles()
    without = effects[~(effects["role"].eq("further") & effects["layer"].eq(2))]
    figure = plot_average_heatmap(without)
    assert [np.argwhere(drawn(axis).mask).tolist() for axis in panels(figure)] == [[[4, 2]]] * 3
    assert "Grey: no value." in figure.get_suptitle()
    assert "Grey" not in plot_average_heatmap(effects).get_suptitle()


def test_layers_keep_their_numbers_where_the_first_were_not_traced() -> None:
    effects = six_roles(12)
    figure = plot_average_heatmap(effects[effects["layer"] >= 5])
    axis = panels(figure)[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["5", "6", "7", "8", "9", "10", "11"]
    assert list(axis.get_xticks()) == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5]
    page: Any = plot_average_heatmap(effects[effects["layer"] >= 5], backend="plotly")
    assert list(page.data[0].x) == [5, 6, 7, 8, 9, 10, 11]


def test_more_kinds_than_panels_are_refused() -> None:
    effects = six_roles()
    many = pd.concat([effects.query("kind == 'mlp'").assign(kind=f"kind {i}") for i in range(4)])
    with pytest.raises(PlotError, match="draws one to 3 kinds, got 4"):
        plot_average_heatmap(many)
