import dataclasses
import itertools
import sys
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch

from lens_rome.errors import LensRomeError, MissingLibraryError
from lens_rome.plotting import PlotError, plot_trace, save_figure
from lens_rome.tracing import TraceResult, trace
from tests.helpers import FACTS
from tests.plotting.synthetic import EIFFEL, made_up_trace, three_traces

FIRST, LAST = 2, 6


def panels(figure: Any) -> list[Any]:
    """The axes that hold heat maps, left to right; the others are colour bars."""
    return [axis for axis in figure.axes if axis.get_title()]


def drawn(axis: Any) -> np.ma.MaskedArray:
    return axis.collections[0].get_array()


def heading(figure: Any) -> str:
    return " ".join(figure.get_suptitle().replace("\u00a0", " ").split())


def title(axis: Any) -> str:
    return " ".join(axis.get_title().replace("\u00a0", " ").split())


def with_nan(result: TraceResult) -> TraceResult:
    scores = result.sample_scores.clone()
    scores[1, 3] = float("nan")
    return dataclasses.replace(result, sample_scores=scores)


def test_a_cell_stands_in_the_row_of_its_token_and_the_column_of_its_layer() -> None:
    result = made_up_trace()
    axis = panels(plot_trace(result))[0]
    np.testing.assert_array_equal(drawn(axis), result.scores.numpy().T)
    # The first token is on top.
    bottom, top = axis.get_ylim()
    assert bottom > top
    assert next(label.get_text() for label in axis.get_yticklabels()) == "<|endoftext|>"


def test_plotly_cells_stand_in_the_same_places() -> None:
    result = made_up_trace()
    figure = plot_trace(result, backend="plotly")
    heatmap: Any = figure.data[0]
    np.testing.assert_array_equal(np.asarray(heatmap.z), result.scores.numpy().T)
    assert figure.layout.yaxis.autorange == "reversed"
    assert figure.layout.yaxis.ticktext[0] == "&lt;|endoftext|&gt;"
    effects = np.asarray(heatmap.customdata)[..., 1]
    np.testing.assert_allclose(effects, result.indirect_effects.numpy().T, atol=1e-15)
    spread = np.asarray(heatmap.customdata)[..., 0]
    np.testing.assert_allclose(spread, result.sample_scores.std(-1, correction=0).numpy().T, atol=1e-15)


def test_only_subject_tokens_carry_a_star_and_bold_type() -> None:
    labels = panels(plot_trace(made_up_trace()))[0].get_yticklabels()
    expected = [token + "*" * (FIRST <= pos < LAST) for pos, token in enumerate(EIFFEL)]
    assert [label.get_text() for label in labels] == expected
    assert [label.get_fontweight() == "bold" for label in labels] == [FIRST <= i < LAST for i in range(len(EIFFEL))]
    texts = plot_trace(made_up_trace(), backend="plotly").layout.yaxis.ticktext
    assert [text.startswith("<b>") and text.endswith("*</b>") for text in texts] == [
        FIRST <= i < LAST for i in range(len(EIFFEL))
    ]


def test_the_palest_colour_is_the_corrupted_probability_and_the_darkest_the_largest_cell() -> None:
    result = made_up_trace()
    mesh = panels(plot_trace(result))[0].collections[0]
    expected = (result.corrupted_score, float(result.scores.max()))
    assert mesh.get_clim() == expected
    heatmap: Any = plot_trace(result, backend="plotly").data[0]
    assert (heatmap.zmin, heatmap.zmax) == expected


@pytest.mark.parametrize(("kind", "colours"), [("resid", "Purples"), ("mlp", "Greens"), ("attn", "Reds")])
def test_each_kind_has_the_colours_of_the_paper(kind: str, colours: str) -> None:
    mesh = panels(plot_trace(made_up_trace(kind)))[0].collections[0]
    assert mesh.get_cmap().name == colours
    darkest = matplotlib.colormaps[colours](1.0)
    np.testing.assert_allclose(mesh.get_cmap()(1.0), darkest)
    heatmap: Any = plot_trace(made_up_trace(kind), backend="plotly").data[0]
    # Plotly's scale of that name runs from pale to dark too.
    brightness = [sum(int(v) for v in colour[1][4:-1].split(",")) for colour in heatmap.colorscale]
    assert brightness == sorted(brightness, reverse=True)


def test_three_results_make_three_panels_that_name_what_was_restored() -> None:
    figure = plot_trace(three_traces())
    assert [title(axis) for axis in panels(figure)] == [
        "Restoring the residual after layer l at one token",
        "Restoring the MLP output of a window of 3 layers around l at one token",
        "Restoring the attention output of a window of 3 layers around l at one token",
    ]
    as_list = plot_trace(list(three_traces().values()), backend="plotly")
    assert len(as_list.data) == 3


def test_the_title_states_prompt_answer_probabilities_samples_and_noise() -> None:
    text = heading(plot_trace(made_up_trace()))
    assert "The Eiffel Tower is in the city of → 'Paris'" in text
    assert "p(Paris): clean 0.960, corrupted 0.040; 10 samples of noise 3σ = 0.187 on the subject*" in text
    number = heading(plot_trace(made_up_trace(noise="0.187", samples=1)))
    assert "1 sample of noise 0.187 on" in number


def test_conditions_that_differ_between_panels_stand_above_each_panel() -> None:
    before, after = made_up_trace(), made_up_trace(answer=" Rome", clean=0.5)
    figure = plot_trace({"before the edit": before, "after the edit": after})
    first, second = panels(figure)
    assert title(first).startswith("before the edit: restoring the residual")
    assert "p(Paris): clean 0.960" in title(first)
    assert "p(Rome): clean 0.500" in title(second)
    assert "clean" not in heading(figure)
    assert "'Rome' is not the fact's target 'Paris'" in heading(figure)


def test_cells_that_were_not_traced_are_grey_and_the_title_says_so() -> None:
    result = with_nan(made_up_trace())
    figure = plot_trace(result)
    axis = panels(figure)[0]
    np.testing.assert_array_equal(np.argwhere(drawn(axis).mask), [[3, 1]])
    red, green, blue, alpha = axis.collections[0].get_cmap().get_bad()
    assert red == green == blue
    assert 0.5 < red < 0.85
    assert alpha == 1
    assert "Grey: not traced." in heading(figure)
    assert "Grey" not in heading(plot_trace(made_up_trace()))
    page = plot_trace(result, backend="plotly")
    assert np.argwhere(np.isnan(np.asarray(page.data[0].z))).tolist() == [[3, 1]]
    assert page.layout.plot_bgcolor == "#b8b8b8"


def test_a_trace_of_no_cells_at_all_can_still_be_drawn() -> None:
    result = made_up_trace()
    empty = dataclasses.replace(result, sample_scores=torch.full_like(result.sample_scores, float("nan")))
    # The scale is as wide as the total effect below which a trace counts as weak.
    expected = (result.corrupted_score, result.corrupted_score + 0.01)
    assert panels(plot_trace(empty))[0].collections[0].get_clim() == expected
    heatmap: Any = plot_trace(empty, backend="plotly").data[0]
    assert (heatmap.zmin, heatmap.zmax) == expected


@pytest.mark.parametrize(("n_layers", "expected"), [(1, 1), (8, 8), (24, 12), (48, 10), (96, 10)])
def test_few_enough_layers_are_labelled_to_be_read(n_layers: int, expected: int) -> None:
    axis = panels(plot_trace(made_up_trace(n_layers=n_layers)))[0]
    labels = [int(label.get_text()) for label in axis.get_xticklabels()]
    assert len(labels) == expected
    # Each label stands in the middle of its own column.
    assert list(axis.get_xticks()) == [layer + 0.5 for layer in labels]
    page = plot_trace(made_up_trace(n_layers=n_layers), backend="plotly")
    assert list(page.layout.xaxis.tickvals) == labels


def test_labels_of_layers_do_not_overlap_in_a_figure_of_three_panels() -> None:
    for n_layers in (12, 48):
        figure = plot_trace(three_traces(n_layers))
        figure.canvas.draw()
        for axis in panels(figure):
            boxes = [label.get_window_extent() for label in axis.get_xticklabels()]
            assert all(a.x1 + 2 < b.x0 for a, b in itertools.pairwise(boxes)), n_layers


def test_cells_visibly_below_the_floor_are_announced_by_the_colour_bar() -> None:
    result = made_up_trace()
    scores = result.sample_scores.clone()
    scores[0, 0] = 0.0
    lower = plot_trace(dataclasses.replace(result, sample_scores=scores))
    assert panels(lower)[0].collections[0].colorbar.extend == "min"
    assert panels(plot_trace(result))[0].collections[0].colorbar.extend == "neither"


def test_a_weak_trace_says_that_it_shows_nothing() -> None:
    assert "Weak" in heading(plot_trace(made_up_trace(clean=0.041)))
    assert "Weak" not in heading(plot_trace(made_up_trace()))


def test_markup_and_formulas_in_tokens_are_shown_literally(tmp_path: Any) -> None:
    tokens = ("<b>bold", " $x_$", "$ &", "\n", "  ", "</b>")
    result = made_up_trace(tokens=tokens, span=(1, 2))
    figure = plot_trace(result)
    save_figure(figure, tmp_path / "odd.png")  # a formula that cannot be parsed raises here
    labels = [label.get_text() for label in panels(figure)[0].get_yticklabels()]
    assert labels == ["<b>bold", " $x_$*", "$ &", "\\n", "␣␣", "</b>"]
    page = plot_trace(result, backend="plotly")
    assert page.layout.yaxis.ticktext == (
        "&lt;b&gt;bold", "<b> &#36;x_&#36;*</b>", "&#36; &amp;", "\\n", "␣␣", "&lt;/b&gt;",
    )  # fmt: skip
    assert "$" not in page.layout.title.text


def test_drawing_changes_no_global_style_and_opens_no_pyplot_figure() -> None:
    import matplotlib.pyplot as plt

    before, figures = dict(matplotlib.rcParams), plt.get_fignums()
    figure = plot_trace(three_traces())
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == figures


@pytest.mark.parametrize("library", ["matplotlib", "plotly"])
def test_a_missing_library_is_an_error_that_says_what_to_install(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure", "plotly", "plotly.subplots"):
        if name.startswith(library):
            monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingLibraryError, match=r"pip install 'lens_rome\[plot\]'") as caught:
        plot_trace(made_up_trace(), backend=library)  # pyright: ignore
    assert isinstance(caught.value, LensRomeError | ImportError)


def test_results_that_cannot_share_a_figure_are_refused() -> None:
    other = made_up_trace(tokens=("Rome", " is"), span=(0, 1))
    with pytest.raises(PlotError, match="Make one figure for each"):
        plot_trace([made_up_trace(), other])
    with pytest.raises(PlotError, match="Make several figures"):
        plot_trace([made_up_trace()] * 4)
    with pytest.raises(PlotError, match="one to 3 results"):
        plot_trace([])
    with pytest.raises(PlotError, match="Use its own kind as its key"):
        plot_trace({"mlp": made_up_trace("resid")})
    with pytest.raises(PlotError, match="use 'matplotlib' or 'plotly'"):
        plot_trace(made_up_trace(), backend="bokeh")  # pyright: ignore


@pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")
def test_a_real_trace_of_a_model_can_be_drawn(gpt2: Any) -> None:
    fact = FACTS["subject in the middle"]
    results = [trace(gpt2, fact, kind, samples=2) for kind in ("resid", "mlp", "attn")]
    axes = panels(plot_trace(results))
    for axis, result in zip(axes, results, strict=True):
        np.testing.assert_array_equal(drawn(axis), result.scores.numpy().T)
    assert len(plot_trace(results, backend="plotly").data) == 3
