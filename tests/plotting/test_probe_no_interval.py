"""Pictures and printed lines of findings whose intervals are not known, or have no upper end."""

import math
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lens_rome.cli.show_finding import show_finding
from lens_rome.plotting import plot_direction
from lens_rome.studies.probes import Answer, Finding
from tests.plotting.layout import page_texts
from tests.plotting.test_probe_plots import ALL, Found, of_direction


def with_ends(found: Found, low: float, high: float) -> Found:
    return Found([{**row, "low": low, "high": high} for row in found.summary], found.rows)


@pytest.mark.parametrize(("plot", "found"), ALL)
@pytest.mark.parametrize("ends", [(math.nan, math.nan), (0.1, math.inf)])
def test_what_has_no_ends_is_drawn_without_them(plot: Any, found: Any, ends: tuple[float, float]) -> None:
    plot(with_ends(found(), *ends))
    for text in page_texts(plot(with_ends(found(), *ends), backend="plotly")):
        assert "nan" not in text


def test_no_interval_is_announced_where_there_is_none() -> None:
    whole, few = (plot_direction(found) for found in (of_direction(), with_ends(of_direction(), math.nan, math.nan)))
    assert "Mean over 6 cases with its 95% interval." in whole.get_suptitle()
    assert "Mean over 6 cases." in few.get_suptitle()


def test_few_units_print_no_interval_and_an_open_end_is_infinite(tmp_path: Path) -> None:
    for ends, answered, printed in (
        ((math.nan, math.nan), "push ratio: 2 (4 cases)", ""),
        ((0.5, math.inf), "push ratio: 2 [0.5, inf] (4 cases)", "0.5 to inf"),
    ):
        line = {"measure": "push ratio", "mean": 2.0, "low": ends[0], "high": ends[1], "n": 4}
        finding = Finding("strength", "Is it?", Answer("push ratio", 2.0, *ends, 4, "So."), ({"case": "a"},), (line,))
        screen = Console(file=StringIO(), width=120)
        show_finding(screen, "strength", finding, finding.summary)
        told: Any = screen.file
        assert answered in told.getvalue() and printed in told.getvalue() and "nan" not in told.getvalue()
        again = Finding.load(finding.save(tmp_path / "found.json"))
        assert repr(again.answer) == repr(finding.answer) and repr(again.summary) == repr(finding.summary)
