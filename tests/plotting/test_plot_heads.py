from typing import Any

import matplotlib
import numpy as np

from lens_rome.plotting import plot_heads
from tests.plotting.synthetic import made_up_heads
from tests.plotting.test_plot_trace import drawn


def test_a_cell_stands_in_the_row_of_its_head_and_the_column_of_its_layer() -> None:
    effects = made_up_heads()
    axis = plot_heads(effects.sample(frac=1, random_state=1)).axes[0]
    expected = effects.pivot(index="head", columns="layer", values="effect").to_numpy()
    np.testing.assert_array_equal(drawn(axis), expected)
    assert [label.get_text() for label in axis.get_yticklabels()] == ["0", "1", "2", "3"]
    assert axis.get_ylabel() == "head"
    page: Any = plot_heads(effects, backend="plotly")
    np.testing.assert_array_equal(np.asarray(page.data[0].z), expected)
    assert list(page.layout.yaxis.ticktext) == ["0", "1", "2", "3"]
    assert page.layout.yaxis.title.text == "head"


def test_zero_is_white_and_both_ends_are_as_far_from_it_as_the_largest_effect() -> None:
    mesh = plot_heads(made_up_heads()).axes[0].collections[0]
    assert mesh.get_clim() == (-0.25, 0.25)
    assert min(mesh.get_cmap()(0.5)[:3]) > 0.95
    red, _, blue, _ = mesh.get_cmap()(0.1)
    assert red > blue  # what is lost is red
    page: Any = plot_heads(made_up_heads(), backend="plotly")
    assert (page.data[0].zmin, page.data[0].zmax) == (-0.25, 0.25)
    first, middle, last = (page.data[0].colorscale[index][1][4:-1].split(",") for index in (0, 5, -1))
    assert int(first[0]) > int(first[2])
    assert min(map(int, middle)) > 240
    assert int(last[2]) > int(last[0])
    assert matplotlib.colormaps["RdBu"].name == mesh.get_cmap().name


def test_the_largest_of_either_sign_are_named_with_their_effects() -> None:
    text = " ".join(plot_heads(made_up_heads(), title="restored at the last token").get_suptitle().split())
    assert text.startswith("Indirect effect of each attention head: restored at the last token")
    assert "Largest: layer 2 head 1 (-0.250), layer 7 head 3 (-0.001), layer 7 head 2 (+0.001)." in text


def test_heads_that_were_not_traced_are_grey_and_the_title_says_so() -> None:
    effects = made_up_heads()
    figure = plot_heads(effects[~(effects["layer"].eq(3) & effects["head"].eq(0))])
    np.testing.assert_array_equal(np.argwhere(drawn(figure.axes[0]).mask), [[0, 3]])
    assert "Grey: no value." in figure.get_suptitle()


def test_the_bar_says_what_was_measured() -> None:
    figure = plot_heads(made_up_heads(), measure="logit difference")
    assert " ".join(figure.axes[1].get_ylabel().split()) == "indirect effect (change of logit difference)"
