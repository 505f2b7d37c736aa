"""`plot_edit`: what an edit did to the answers of many prompts, before and after."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lens_rome.plotting._figure import BLUE, ORANGE, Frame, MplFigure, PlotError, import_library, new_figure
from lens_rome.plotting._labels import shorten, visible, wrap

_PROBABILITIES = ("p_true_before", "p_new_before", "p_true_after", "p_new_after")
_COLUMNS = ("group", "prompt", *_PROBABILITIES)
_INTENDED = {
    "rewrite": "should change",
    "paraphrase": "should change",
    "neighbourhood": "should stay",
    "attribute": "should stay",
}
"""What an edit is for, by group (CounterFact's)."""
_MAX_ROWS = 150
_ROW_HEIGHT, _SECOND_LINE, _PANEL_EXTRA = 0.34, 0.10, 0.42
_PROMPT_CHARACTERS = 46
_WIDTH = 9.5


@dataclass(frozen=True)
class _Answer:
    """One of the two answers and how it is drawn: colour, marker and lane all tell it from the other."""

    column: str
    label: str
    colour: str
    marker: str
    lane: float


def plot_edit(frame: Frame, *, true: str | None = None, new: str | None = None) -> MplFigure:
    """Probability of the true and of the new answer of every prompt, before the edit (hollow) and after it (filled).

    One row a prompt, one block a group, both in the order of `frame`. Above each block stands how often the new answer
    was the more likely of the two.

    Args:
        frame: a row a prompt with the columns `group` (`rewrite`, `paraphrase`, `neighbourhood` or any name), `prompt`,
            and the probabilities `p_true_before`, `p_new_before`, `p_true_after`, `p_new_after`.
        true: the answer before the edit, for the legend, where all prompts share it.
        new: the answer that was written.

    Raises:
        PlotError: missing columns, no rows or too many to read, or values that are not probabilities.
        MissingLibraryError: matplotlib is not installed.
    """
    _check(frame)
    answers = (
        _Answer("p_true", _name("true answer", true), BLUE, "o", -0.16),
        _Answer("p_new", _name("new answer", new), ORANGE, "D", 0.16),
    )
    groups: list[tuple[str, Any]] = [(str(name), rows) for name, rows in frame.groupby("group", sort=False)]
    heights = [len(rows) * _row_height(rows) + _PANEL_EXTRA for _, rows in groups]
    figure = new_figure(_WIDTH, sum(heights) + 1.5)
    change = f"{visible(true)} → {visible(new)}" if true and new else "true → new answer"
    figure.suptitle(f"Probability of each answer before and after the edit ({change})", fontsize=11, parse_math=False)
    axes = figure.subplots(len(groups), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (name, rows) in zip(axes, groups, strict=True):
        _draw_group(axis, name, rows, answers)
    axes[-1].set_xlabel("probability of the answer after the prompt", fontsize=9)
    axes[-1].set_xlim(-0.02, 1.02)
    axes[-1].tick_params(axis="x", labelsize=8.5)
    _add_legend(figure, answers)
    return figure


def _check(frame: Any) -> None:
    missing = [name for name in _COLUMNS if name not in frame.columns]
    if missing:
        raise PlotError(f"plot_edit needs the columns {', '.join(_COLUMNS)}; missing: {', '.join(missing)}.")
    if not 1 <= len(frame) <= _MAX_ROWS:
        raise PlotError(
            f"plot_edit draws 1 to {_MAX_ROWS} prompts, got {len(frame)}. "
            "Choose some, e.g. frame.groupby('group').head(10)."
        )
    if frame[["group", "prompt"]].isna().any().any():
        raise PlotError("every row needs a group and a prompt; some are missing. Fill them or drop those rows.")
    try:
        values = frame[list(_PROBABILITIES)].to_numpy(dtype=float)
    except (TypeError, ValueError) as error:
        raise PlotError(f"the columns {', '.join(_PROBABILITIES)} must hold numbers: {error}.") from error
    wrong = ~((values >= 0) & (values <= 1 + 1e-6))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise PlotError(
            f"{_PROBABILITIES[column]} of row {row} is {values[row, column]}, not a probability. "
            "Take exp of log-probabilities; drop prompts without a value."
        )


def _name(role: str, answer: str | None) -> str:
    return f"{role} ({visible(answer)})" if answer else role


def _labels(rows: Any) -> list[str]:
    """The prompts of a group, of at most two lines."""
    return [
        wrap(shorten(visible(str(text)), 2 * _PROMPT_CHARACTERS - 8), _PROMPT_CHARACTERS) for text in rows["prompt"]
    ]


def _row_height(rows: Any) -> float:
    """Inches for a row: more in a group where some label needs a second line."""
    return _ROW_HEIGHT + (_SECOND_LINE if any("\n" in label for label in _labels(rows)) else 0.0)


def _draw_group(axis: Any, name: str, rows: Any, answers: tuple[_Answer, ...]) -> None:
    lanes = np.arange(len(rows), dtype=float)
    for answer in answers:
        before, after = rows[f"{answer.column}_before"].to_numpy(float), rows[f"{answer.column}_after"].to_numpy(float)
        y = lanes + answer.lane
        axis.hlines(y, before, after, color=answer.colour, linewidth=1.8, alpha=0.55, zorder=2)
        style = {
            "marker": answer.marker,
            "linestyle": "none",
            "color": answer.colour,
            "markersize": 5.5,
            "clip_on": False,
        }
        # The filled marker is smaller and on top, so that a prompt without any change shows a ring around a dot.
        axis.plot(before, y, **{**style, "markersize": 7}, markerfacecolor="none", zorder=3)
        axis.plot(after, y, **{**style, "markersize": 4.5}, zorder=4)
    axis.set_yticks(lanes, _labels(rows), fontsize=8, parse_math=False, linespacing=1.2)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_title(_heading(name, rows), loc="left", fontsize=9, fontweight="bold", parse_math=False)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", alpha=0.35, linewidth=0.6)
    for row in range(1, len(rows)):
        axis.axhline(row - 0.5, color="0.9", linewidth=0.6, zorder=0)
    axis.spines[["top", "right"]].set_visible(False)


def _heading(name: str, rows: Any) -> str:
    count = len(rows)
    before = int((rows["p_new_before"] > rows["p_true_before"]).sum())
    after = int((rows["p_new_after"] > rows["p_true_after"]).sum())
    intended = f" ({_INTENDED[name]})" if name in _INTENDED else ""
    counts = f"{before} of {count} before, {after} of {count} after"
    return f"{visible(name)}{intended}: new answer more likely than the true one in {counts}"


def _add_legend(figure: MplFigure, answers: tuple[_Answer, ...]) -> None:
    line: Any = import_library("matplotlib.lines").Line2D
    entries = [
        line(
            [],
            [],
            color=a.colour,
            marker=a.marker,
            linestyle="none",
            markersize=size,
            markerfacecolor=face,
            label=f"{a.label}, {when}",
        )
        for a in answers
        for when, size, face in (("before", 7, "none"), ("after", 4.5, a.colour))
    ]
    legend = figure.legend(
        handles=entries, loc="outside lower center", ncols=4 if _fits(answers) else 2, fontsize=8, frameon=False
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _fits(answers: tuple[_Answer, ...]) -> bool:
    return sum(len(answer.label) for answer in answers) <= 48
