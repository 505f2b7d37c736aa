from typing import Any

import numpy as np
import pytest

from lens_rome.plotting import PlotError, plot_segments
from tests.plotting.synthetic import SEGMENTS, made_up_segments
from tests.plotting.test_plot_trace import drawn

LABELS = [
    "beginning (1 token)",
    "subject (4 tokens)",
    "relation (5 tokens)",
    "costs $5 or $6\\n (2 tokens)",
    "last token (1 token)",
]


def test_a_cell_stands_in_the_row_of_its_segment_in_order_of_appearance() -> None:
    effects = made_up_segments()
    axis = plot_segments(effects).axes[0]
    expected = effects.pivot(index="segment", columns="layer", values="effect").loc[list(SEGMENTS)].to_numpy()
    np.testing.assert_array_equal(drawn(axis), expected)
    assert [label.get_text() for label in axis.get_yticklabels()] == LABELS
    page: Any = plot_segments(effects, backend="plotly")
    np.testing.assert_array_equal(np.asarray(page.data[0].z), expected)
    assert list(page.layout.yaxis.ticktext) == [label.replace("$", "&#36;") for label in LABELS]


def test_no_effect_is_palest_and_the_largest_darkest() -> None:
    effects = made_up_segments()
    mesh = plot_segments(effects, kind="mlp").axes[0].collections[0]
    assert (mesh.get_clim(), mesh.get_cmap().name) == ((0.0, effects["effect"].max()), "Greens")
    assert plot_segments(effects).axes[0].collections[0].get_cmap().name == "Blues"
    page: Any = plot_segments(effects, backend="plotly")
    assert (page.data[0].zmin, page.data[0].zmax) == (0.0, effects["effect"].max())


@pytest.mark.parametrize(("statistic", "word"), [("mean", "Mean"), ("max", "Largest")])
def test_title_and_bar_say_which_statistic_of_what(statistic: str, word: str) -> None:
    figure = plot_segments(made_up_segments(), statistic=statistic, kind="mlp", title="one prompt", measure="logit")
    text = " ".join(figure.get_suptitle().split())
    assert text == f"{word} indirect effect of restoring MLP outputs over the tokens of each segment: one prompt"
    assert " ".join(figure.axes[1].get_ylabel().split()) == f"indirect effect, {statistic} (change of logit)"


def test_a_picture_of_an_unnamed_kind_claims_none() -> None:
    text = " ".join(plot_segments(made_up_segments()).get_suptitle().split())
    assert text == "Mean indirect effect over the tokens of each segment"


def test_a_layer_that_was_not_traced_is_grey_and_the_title_says_so() -> None:
    effects = made_up_segments()
    figure = plot_segments(effects[effects["layer"] != 3])
    assert drawn(figure.axes[0]).mask.any(axis=0).tolist() == [layer == 3 for layer in range(8)]
    assert "Grey: no value." in figure.get_suptitle()


def test_unknown_statistics_and_unclear_lengths_are_refused() -> None:
    effects = made_up_segments()
    with pytest.raises(PlotError, match="unknown statistic 'median'; use 'mean' or 'max'"):
        plot_segments(effects, statistic="median")
    with pytest.raises(PlotError, match="'beginning' has 1 and 3 tokens"):
        plot_segments(effects.assign(n_tokens=[3, *effects["n_tokens"][1:]]))
    with pytest.raises(PlotError, match="'beginning' has no number of tokens"):
        plot_segments(effects.assign(n_tokens=np.nan))
