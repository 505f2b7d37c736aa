"""The pictures of the probes concept, layers and prefixes: what is drawn where, and that it can be read."""

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lens_rome.plotting import PlotError, plot_concept, plot_layers, plot_prefixes
from tests.plotting.layout import assert_page_fits, assert_texts_are_apart, page_texts

NAMES = ["cheddar", "red leicester", "Kingdom of all $Denmark", "feta"]
SHORT = dict(zip(NAMES, ("brie", "gouda", "edam", "feta"), strict=True))


def related(groups: int = 1) -> Any:
    """Old objects fall by 10 for the edited subject and by 1 for others; new ones rise by half of that."""
    rows = []
    for i, j, template in itertools.product(range(4), range(4), range(2)):
        if i * groups // 4 != j * groups // 4:
            continue
        for phase, role in itertools.product(("before", "after"), ("true", "new")):
            moved = (10.0 if i == j else 1.0) * (phase == "after") + 0.1 * template
            logprob = -moved if role == "true" else -6 + moved / 2
            row = {"case": NAMES[i], "tested": NAMES[j], "template": template, "phase": phase, "role": role}
            rows.append({**row, "target": {"true": "milk", "new": "grapes"}[role], "logprob": logprob})
    return pd.DataFrame(rows)


def swept() -> Any:
    rows = [
        {"layer": float(layer), "token": token, "measure": name, "mean": mean, "low": mean - 0.2, "high": mean + 0.2}
        for layer, token, name in itertools.product((0, 1, 2), ("subject_last", "last"), ("S", "ES", "PM"))
        for mean in [0.9 - 0.3 * layer - 0.1 * (token == "last")]
    ]
    plain = {"layer": None, "token": "unedited", "measure": "S", "mean": 0.1, "low": 0.0, "high": 0.2}
    return pd.DataFrame([*rows, plain])


def keys() -> Any:
    rows = [
        {"case": str(case), "subject": f"subject {case}", "set": name, "context": index, "cosine": 1 - 0.1 * index / 9}
        for name, count in (("none", 1), ("few", 4), ("many", 10))
        for case, index in itertools.product((7, 8), range(count))
    ]
    other = {"case": "7", "subject": "subject 7", "set": "few", "context": None, "cosine": None}
    return pd.DataFrame([*rows, other])


def test_three_heat_maps_hold_both_changes_and_the_margin() -> None:
    figure: Any = plot_concept(related())
    page: Any = plot_concept(related(), backend="plotly")
    changes = np.where(np.eye(4) == 1, 10.0, 1.0)
    expected = [-changes, changes / 2, -6.0 + 0.05 / 2 + changes / 2 + changes + 0.05]
    for matrix, axis, trace in zip(expected, figure.axes[:3], page.data, strict=True):
        np.testing.assert_allclose(axis.collections[0].get_array().reshape(4, 4), matrix, atol=1e-9)
        np.testing.assert_allclose(trace.z, matrix, atol=1e-9)
        assert trace.zmin == -trace.zmax
        labels = [text.get_text() for text in axis.get_xticklabels()]
        assert labels == ["cheddar", "red leicester", "Kingdom…$Denmark", "feta"]
    assert page.data[0].zmax == page.data[1].zmax == 10.0
    assert "Change of the old object (milk)" in [axis.get_title() for axis in figure.axes]
    assert page.data[0].text[0][1] == "cheddar, red leicester" and "layer" not in page.data[0].hovertemplate
    assert "Each cell is a mean over 2 tests." in figure.get_suptitle()


def test_what_was_not_asked_is_grey_and_said_to_be() -> None:
    figure: Any = plot_concept(related(groups=2))
    assert figure.axes[0].collections[0].get_array().mask.sum() == 8
    assert "Grey: not asked" in figure.get_suptitle()


def test_a_line_a_token_is_drawn_in_a_panel_a_metric() -> None:
    figure: Any = plot_layers(swept(), metrics=("S", "ES", "PS"))
    assert [axis.get_title() for axis in figure.axes] == ["S: all three together", "ES: the edited prompt"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "last subject token",
        "last token of the prompt",
        "unedited",
    ]
    first, second, flat, *_ = figure.axes[0].lines
    np.testing.assert_allclose(first.get_ydata(), [0.9, 0.6, 0.3])
    np.testing.assert_allclose(second.get_ydata(), [0.8, 0.5, 0.2])
    np.testing.assert_allclose(flat.get_ydata(), [0.1, 0.1])
    page: Any = plot_layers(swept(), metrics=("ES",), backend="plotly")
    assert max(max(trace.y) for trace in page.data) == 1.0, "bands of a share are cut at 1"
    margin: Any = plot_layers(swept(), metrics=("PM",), backend="plotly")
    assert max(max(trace.y) for trace in margin.data) == pytest.approx(1.1)


def test_prefixes_are_columns_and_sets_panels() -> None:
    figure: Any = plot_prefixes(keys(), title="two")
    page: Any = plot_prefixes(keys(), sets=["many"], backend="plotly")
    assert [axis.get_title() for axis in figure.axes[:2]] == ["few", "many"]
    np.testing.assert_allclose(page.data[0].z, [1 - 0.1 * np.arange(10) / 9] * 2)
    assert "prefix %{x}" in page.data[0].hovertemplate
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["subject 7", "subject 8"]


@pytest.mark.parametrize(
    "draw",
    [
        # Frames around long slanted labels overlap where the letters do not.
        lambda backend: plot_concept(related(groups=2).replace(SHORT), title="cheeses", backend=backend),
        lambda backend: plot_layers(swept(), metrics=("S", "ES", "PM"), title="records", backend=backend),
        lambda backend: plot_prefixes(keys(), title="records", backend=backend),
    ],
)
def test_texts_can_be_read(draw: Any) -> None:
    assert_texts_are_apart(draw("matplotlib"))
    page = draw("plotly")
    assert_page_fits(page)
    assert all("nan" not in text for text in page_texts(page))


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plot_concept(related().drop(columns="role")), "missing: role"),
        (lambda: plot_concept(related().replace("after", "later")), "phases before and after"),
        (lambda: plot_concept(pd.concat([related()] * 2)), "two rows have the same case, tested"),
        (lambda: plot_layers(swept(), metrics=("NS",)), "no rows of edits for the metrics NS"),
        (lambda: plot_layers(swept().assign(mean=math.nan)), "nothing to draw"),
        (lambda: plot_prefixes(keys(), sets=["none", "other"]), "one to 3 sets of several prefixes"),
        (lambda: plot_prefixes(keys()[keys()["set"] == "none"]), "got none"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw: Any, message: str) -> None:
    with pytest.raises(PlotError, match=message):
        draw()
