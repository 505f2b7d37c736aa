"""Pictures of the probes direction, strength, hops and bleed: what is drawn is what was found."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lens_rome.plotting import (
    PlotError,
    plot_bleed,
    plot_concept,
    plot_direction,
    plot_hops,
    plot_layers,
    plot_prefixes,
    plot_strength,
)
from tests.plotting.layout import assert_page_fits, assert_texts_are_apart
from tests.plotting.test_probe_pictures import keys, related, swept


class Found:
    """Stands for a finding."""

    class answer:
        reading = "Cannot be told: nothing is known."

    def __init__(self, summary: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
        self.summary, self.rows = summary, rows

    def to_dataframe(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows)

    def to_summary_dataframe(self) -> pd.DataFrame:
        return pd.DataFrame(self.summary)


def line(value: float, n: int = 6, **words: Any) -> dict[str, Any]:
    return {**words, "mean": value, "low": value - 0.1, "high": value + 0.1, "n": n}


def of_direction() -> Found:
    values = iter((18.2, -5.8, -0.05, -0.1))
    ways: list[dict[str, Any]] = [
        {"direction": way, "object": which} for way in ("forward", "reverse") for which in ("new", "old")
    ]
    changes = [line(next(values), measure="change", phase="change", **words) for words in ways]
    says = [line(0.5, measure="says", phase=phase, **words) for phase in ("before", "after") for words in ways]
    return Found([*changes, *says], [{"x": 1}])


def of_strength(count: int = 3) -> Found:
    summary = []
    for index in range(count):
        case = f"David Beckham: sport soccer → basketball number {index}"
        for role in ("new", "old"):
            for phase in ("before", "after"):
                words = {"measure": "mentioned", "case": case, "role": role, "phase": phase, "verdict": ""}
                summary.append(line(0.2 + 0.05 * index + 0.3 * (role == "new") * (phase == "after"), 80, **words))
        push = math.nan if index == 1 else 2.0
        verdict = "cannot be told" if index == 1 else "over"
        summary.append(line(push, 80, measure="push ratio", case=case, role="", phase="", verdict=verdict))
    return Found(summary, [{"x": 1}])


def of_hops(count: int = 3) -> Found:
    rows, ends = [], []
    for index in range(count):
        for way, gain in (("direct", 10.0), ("description", 1.0 + index)):
            for phase in ("before", "after"):
                for role in ("new", "old"):
                    value = -5.0 + (gain if (phase, role) == ("after", "new") else 0.0)
                    words = {"case": f"case {index}", "prompt": way, "phase": phase, "target": role}
                    rows.append({**words, "way": way, "role": role, "logprob": value})
    for way in ("direct", "description"):
        ends.append(line(5.0, measure="change", way=way, phase="change"))
    return Found(ends, rows)


def of_bleed() -> Found:
    summary = [line(0.3, measure="bleed", role="new", distractor="", phase="change")]
    rows: list[dict[str, Any]] = []
    for role in ("new", "known"):
        for place in ("with", "without"):
            for phase in ("before", "after"):
                words: dict[str, Any] = {"role": role, "distractor": place, "phase": phase}
                summary.append(line(-9.0 + (phase == "after") + (place == "with"), measure="logprob", **words))
                summary.append(line(0.5, measure="most likely", **words))
                rows += [
                    {"case": "a", "prompt": f"{place} {i}", "logprob": -1.0, "top": top, **words}
                    for i, top in enumerate(("Rome", "Rome", "<b>"))
                ]
    return Found(summary, rows)


ALL: list[tuple[Callable[..., Any], Callable[[], Found]]] = [
    (plot_direction, of_direction), (plot_strength, of_strength), (plot_hops, of_hops), (plot_bleed, of_bleed)
]  # fmt: skip


@pytest.mark.parametrize(("plot", "found"), ALL)
def test_texts_have_their_room_in_both_libraries(plot: Any, found: Any) -> None:
    assert_texts_are_apart(plot(found(), title="ROME of <b>GPT-2</b>"))
    page = plot(found(), title="ROME of <b>GPT-2</b>", backend="plotly")
    assert_page_fits(page)
    assert "<b>GPT" not in page.layout.title.text


def heights(figure: Any) -> list[list[float]]:
    return [[bar.get_height() for bar in container] for container in figure.axes[0].containers]


def test_direction_draws_the_four_changes_and_writes_them_below() -> None:
    figure = plot_direction(of_direction())
    assert heights(figure) == [[18.2, -0.05], [-5.8, -0.1]]
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels[0].endswith("+18.20 / -5.80 nats")
    assert labels[1].endswith("-0.05 / -0.10 nats")
    assert "50%" in figure.get_suptitle()


def test_strength_draws_shares_and_says_push_and_verdict() -> None:
    figure = plot_strength(of_strength())
    np.testing.assert_allclose(heights(figure)[1], [0.5, 0.55, 0.6])
    np.testing.assert_allclose(heights(figure)[0], [0.2, 0.25, 0.3])
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels[0].endswith("×2.00, over")
    assert labels[1].endswith("cannot be told")
    assert "The first 12 of 14 cases." in plot_strength(of_strength(14)).get_suptitle()


def test_hops_draws_each_case_and_the_mean_with_its_interval() -> None:
    direct, described = heights(plot_hops(of_hops()))
    assert direct == [10.0, 10.0, 10.0, 10.0]
    assert described == [1.0, 2.0, 3.0, 2.0]
    assert heights(plot_hops(of_hops().to_dataframe())) == [direct, described]
    page: Any = plot_hops(of_hops(), backend="plotly")
    assert list(page.layout.xaxis.ticktext) == ["case 0", "case 1", "case 2", "mean of<br>3 cases"]


def test_bleed_draws_levels_and_lists_the_most_likely_words() -> None:
    figure = plot_bleed(of_bleed())
    drawn: Any = figure.axes[0].get_lines()
    lines = [list(each.get_ydata()) for each in drawn if len(each.get_ydata()) == 2]
    assert [-9.0, -8.0] in lines
    assert [-8.0, -7.0] in lines
    assert "before the edit: Rome 2×, <b> 1×." in figure.get_suptitle().replace("\n", " ")
    assert "+0.300 nats [+0.200, +0.400]" in figure.get_suptitle().replace("\n", " ")


OTHERS: list[tuple[Callable[..., Any], Callable[[], Found]]] = [
    (plot_concept, lambda: Found([], related().to_dict("records"))),
    (plot_layers, lambda: Found(swept().to_dict("records"), [{"x": 1}])),
    (plot_prefixes, lambda: Found([], keys().to_dict("records"))),
]


@pytest.mark.parametrize(("plot", "found"), [*ALL, *OTHERS])
def test_what_cannot_be_drawn_is_told(plot: Any, found: Any) -> None:
    with pytest.raises(PlotError, match=r"the finding has no rows to draw\. Cannot be told: nothing is known"):
        plot(Found([], []))
    with pytest.raises(PlotError, match="needs the columns"):
        plot(pd.DataFrame({"case": ["a"]}))
    with pytest.raises(PlotError, match="takes its finding or a frame of it, got a int"):
        plot(3)
    with pytest.raises(PlotError, match="unknown backend"):
        plot(found(), backend="ggplot")
    assert plot(found(), backend="plotly").data
