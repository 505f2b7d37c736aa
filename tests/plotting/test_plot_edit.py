import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lens_rome.plotting import PlotError, plot_edit, save_figure
from tests.plotting.synthetic import made_up_edit


def marks(axis: Any) -> dict[str, np.ndarray]:
    """Horizontal places of the marks, by column of the data frame: circles are the true answer, hollow is before."""
    found = {}
    for line in axis.lines:
        if line.get_marker() in ("o", "D"):
            when = "before" if line.get_markerfacecolor() == "none" else "after"
            found[f"{'p_true' if line.get_marker() == 'o' else 'p_new'}_{when}"] = line.get_xdata()
    return found


def test_every_probability_of_every_prompt_stands_at_its_place() -> None:
    frame = made_up_edit()
    figure = plot_edit(frame)
    assert len(figure.axes) == 3
    for axis, (_, rows) in zip(figure.axes, frame.groupby("group", sort=False), strict=True):
        places = marks(axis)
        assert len(places) == 4
        for column, values in places.items():
            np.testing.assert_array_equal(values, rows[column])


def test_groups_and_prompts_keep_the_order_of_the_frame_from_top_to_bottom() -> None:
    frame = made_up_edit()
    figure = plot_edit(frame)
    headings = [axis.get_title(loc="left").split()[0].rstrip(":") for axis in figure.axes]
    assert headings == ["rewrite", "paraphrase", "neighbourhood"]
    last = figure.axes[-1]
    bottom, top = last.get_ylim()
    assert bottom > top
    labels = [label.get_text().replace("\n", " ") for label in last.get_yticklabels()]
    assert labels == frame["prompt"].tolist()[3:]


def test_headings_count_where_the_new_answer_is_the_more_likely_one() -> None:
    titles = [axis.get_title(loc="left") for axis in plot_edit(made_up_edit()).axes]
    # One of the two is new at 0.45 against 0.31: more likely, though below a half.
    assert titles[1].endswith("0 of 2 before, 2 of 2 after")
    assert titles[2] == (
        "neighbourhood (should stay): new answer more likely than the true one in 0 of 3 before, 1 of 3 after"
    )


def test_title_and_legend_name_the_answers() -> None:
    figure = plot_edit(made_up_edit(), true="Paris", new="Rome")
    assert figure.get_suptitle() == "Probability of each answer before and after the edit (Paris → Rome)"
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == [
        "true answer (Paris), before",
        "true answer (Paris), after",
        "new answer (Rome), before",
        "new answer (Rome), after",
    ]


def test_long_prompts_with_dollar_signs_stay_readable(tmp_path: Path) -> None:
    frame = made_up_edit()
    frame.loc[0, "prompt"] = "It costs $5 and $" + "very " * 60 + "much in the city of"
    figure = plot_edit(frame, true="$1_", new="$2^")
    save_figure(figure, tmp_path / "edit.png")
    label = figure.axes[0].get_yticklabels()[0].get_text()
    assert label.startswith("It costs $5 and $")
    assert label.endswith("in the city of")
    assert max(map(len, label.split("\n"))) <= 46
    assert label.count("\n") <= 2


def test_rows_of_many_prompts_do_not_overlap() -> None:
    frame = pd.concat([made_up_edit()] * 10, ignore_index=True)
    figure = plot_edit(frame)
    figure.canvas.draw()
    for axis in figure.axes:
        boxes = [label.get_window_extent() for label in axis.get_yticklabels()]
        assert all(upper.y0 >= lower.y1 - 1 for upper, lower in itertools.pairwise(boxes))


def test_frames_that_cannot_be_drawn_are_refused() -> None:
    frame = made_up_edit()
    with pytest.raises(PlotError, match="missing: p_new_after"):
        plot_edit(frame.drop(columns="p_new_after"))
    with pytest.raises(PlotError, match="got 0"):
        plot_edit(frame.iloc[:0])
    with pytest.raises(PlotError, match=r"head\(10\)"):
        plot_edit(pd.concat([frame] * 40))
    with pytest.raises(PlotError, match="Fill them or drop"):
        plot_edit(frame.assign(prompt=None))
    with pytest.raises(PlotError, match="must hold numbers"):
        plot_edit(frame.assign(p_true_before="high"))
    with pytest.raises(PlotError, match=r"p_new_before of row 0 is -3\.0, not a probability"):
        plot_edit(frame.assign(p_new_before=-3.0))
    with pytest.raises(PlotError, match="drop prompts without a value"):
        plot_edit(frame.assign(p_new_after=float("nan")))
