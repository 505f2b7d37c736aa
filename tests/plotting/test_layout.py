"""Every picture at the size of a small and of a large model, with texts that libraries read as markup or formulas."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from lens_rome.plotting import (
    plot_average,
    plot_average_heatmap,
    plot_heads,
    plot_peak_layers,
    plot_segments,
    plot_severed,
    plot_trace,
    save_figure,
)
from tests.plotting.layout import assert_page_fits, assert_texts_are_apart, page_texts
from tests.plotting.synthetic import (
    made_up_heads,
    made_up_peaks,
    made_up_segments,
    made_up_severed,
    made_up_trace,
    six_roles,
    three_traces,
)

ODD = "costs $5_ and $x^\n<b>{bold}</b> %{x}"
TOKENS = ("<b>bold", " $x_$", "$ &", "\n", "  ", "</b>", "a" * 60)


def counted(n: int) -> pd.DataFrame:
    """Average effects with the longest labels, and one effect that the colours do not reach."""
    effects = six_roles(n).assign(n_facts=110)
    effects.loc[2, "effect"] = -0.03
    return effects


def odd_trace(n_layers: int) -> Any:
    result = made_up_trace(n_layers=n_layers, tokens=TOKENS, span=(1, 2), answer=" $5^\n", target="$5^")
    settings = dataclasses.replace(
        result.settings, metric="logit_diff", against=" %{x} a long answer$", approximate=True, severed="mlp"
    )
    return dataclasses.replace(result, settings=settings, corrupted_spans=((3, 5),))


PICTURES: dict[str, Callable[[int, str], Any]] = {
    "trace": lambda n, backend: plot_trace(three_traces(n), backend=backend),  # pyright: ignore
    "odd trace": lambda n, backend: plot_trace({ODD: odd_trace(n)}, backend=backend),  # pyright: ignore
    "average": lambda n, backend: plot_average(counted(n), title=ODD, measure=ODD, backend=backend),  # pyright: ignore
    "average of one kind": lambda n, backend: plot_average(
        counted(n).query("kind == 'attn'").replace("further", ODD), title=ODD, backend=backend
    ),  # pyright: ignore
    "average heat map": lambda n, backend: plot_average_heatmap(
        counted(n).replace("further", ODD), title=ODD, measure=ODD, backend=backend
    ),  # pyright: ignore
    "severed": lambda n, backend: plot_severed(made_up_severed(n), title=ODD, measure=ODD, backend=backend),  # pyright: ignore
    "peaks": lambda n, backend: plot_peak_layers(made_up_peaks(n), title=ODD, band=(0, 2), line=3, backend=backend),  # pyright: ignore
    "peaks of windows": lambda n, backend: plot_peak_layers(
        pd.concat([made_up_peaks(n).assign(window=size) for size in (1, 3, 5, 10)]), title=ODD, backend=backend
    ),  # pyright: ignore
    "heads": lambda n, backend: plot_heads(made_up_heads(n, max(4, n // 2)), title=ODD, measure=ODD, backend=backend),  # pyright: ignore
    "segments": lambda n, backend: plot_segments(made_up_segments(n), title=ODD, kind="mlp", backend=backend),  # pyright: ignore
}


@pytest.mark.parametrize("n_layers", [4, 48])
@pytest.mark.parametrize("name", PICTURES)
def test_no_texts_overlap_or_are_cut_off(name: str, n_layers: int) -> None:
    assert_texts_are_apart(PICTURES[name](n_layers, "matplotlib"))


@pytest.mark.parametrize("n_layers", [4, 48])
@pytest.mark.parametrize("name", PICTURES)
def test_texts_of_a_page_have_room_and_are_shown_literally(name: str, n_layers: int) -> None:
    figure = PICTURES[name](n_layers, "plotly")
    assert_page_fits(figure)
    for text in page_texts(figure):
        assert "$" not in text  # a formula
        assert "<b>{bold}" not in text  # markup
        assert "\n" not in text
    assert all("bold" not in (trace.hovertemplate or "") for trace in figure.data)


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_is_written_by_both_libraries(name: str, tmp_path: Any) -> None:
    assert save_figure(PICTURES[name](4, "matplotlib"), tmp_path / "picture.pdf").read_bytes().startswith(b"%PDF")
    page = PICTURES[name](4, "plotly").to_html(include_plotlyjs=False)
    assert "Plotly.newPlot" in page
