"""What is printed of a finding fits a screen of 80 characters, and no cell is broken."""

import io
import math
from typing import Any

from rich.console import Console

from lens_rome.cli.show_finding import show_finding
from lens_rome.studies.probes import Answer, Finding

CASES = ("Ingrid Bergman: mother tongue Swedish → English", "北京: capital [b] → 罗马")


def line(case: str, measure: str, mean: float = 0.000739, **words: Any) -> dict[str, Any]:
    return {
        "measure": measure,
        "case": case,
        "role": "new",
        **words,
        "mean": mean,
        "low": 0.000141,
        "high": 0.00134,
        "n": 80,
    }


def shown(lines: list[dict[str, Any]], width: int = 80) -> list[str]:
    screen = Console(file=io.StringIO(), width=width, highlight=False)
    answer = Answer("ratio", 1.0, math.nan, math.nan, 1, "Matched.")
    show_finding(screen, "strength", Finding("strength", "Is it?", answer, ()), lines)
    text: Any = screen.file
    return text.getvalue().splitlines()[3:]


def test_long_words_stand_above_the_lines_that_share_them_and_shared_ones_are_said_once() -> None:
    lines = [
        line(case, measure, phase=phase, verdict="")
        for case in CASES
        for measure, phase in (("mentioned with an object", "before"), ("push difference", "after"))
    ]
    told = shown(lines)
    assert told[0] == "  of all lines: role new" and "verdict" not in "".join(told)
    assert [each.split() for each in told[1:2]] == [["measure", "phase", "mean", "95%", "n"]]
    assert told[2] == f"  {CASES[0]}" and told[5] == f"  {CASES[1]}" and len(told) == 8
    assert told[3].split("  ")[2:4] == ["mentioned with an object", "before"]
    assert all(each.endswith("0.000739  0.000141 to 0.00134  80") for each in (*told[3:5], *told[6:]))
    assert max(map(len, told)) <= 80


def test_a_wide_screen_and_a_single_line_have_all_words_in_columns() -> None:
    lines = [line(case, "mentioned") for case in CASES]
    told = shown(lines, 200)
    assert told[1].split() == ["case", "mean", "95%", "n"] and len(told) == 4
    alone = shown(lines[:1], 200)
    assert alone[0].split() == ["measure", "case", "role", "mean", "95%", "n"] and len(alone) == 2


def test_what_is_not_known_is_left_empty() -> None:
    told = shown([line("a", "gap", math.nan), line("b", "gap")])
    assert told[2].split() == ["a", "0.000141", "to", "0.00134", "80"]
