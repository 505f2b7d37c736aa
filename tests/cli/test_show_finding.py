"""What is printed of a finding fits a screen of 80 characters, and no cell is broken."""

import io
import math
from typing import Any

from rich.console import Console

from lens_rome.cli.limits_probes import PROBES
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


def shown(lines: list[dict[str, Any]], width: int = 80, table: str = "") -> list[str]:
    screen = Console(file=io.StringIO(), width=width, highlight=False)
    answer = Answer("ratio", 1.0, math.nan, math.nan, 1, "Matched.")
    show_finding(screen, "strength", Finding("strength", "Is it?", answer, ()), lines, table=table)
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


def test_lines_that_are_cut_are_told_with_the_place_of_all() -> None:
    lines = [line(f"case {place}", "push ratio") for place in range(20)]
    told = shown(lines, 200)
    assert told[-1] == "  4 more such lines are not shown; --out FOLDER writes the whole summary."
    told = shown(lines, 200, table="found/strength_summary.csv")
    assert told[-1] == "  4 more such lines are not shown; the whole summary is in found/strength_summary.csv."
    assert "more" not in shown(lines[:16], 200)[-1]


def test_the_lines_that_decide_are_printed_first() -> None:
    def measures(probe: str, rows: list[dict[str, Any]]) -> list[Any]:
        return [row["measure"] for row in PROBES[probe].shown(rows)]

    direction = [("change", "change"), ("says", "before"), ("says", "after"), ("inconsistent", "after")]
    rows = [line("a", measure, phase=phase) for measure, phase in direction]
    assert measures("direction", rows) == ["inconsistent", "change", "says"]
    rows = [line(case, measure, phase="after", verdict="over") for case in CASES for measure in ("gap", "push ratio")]
    told = PROBES["strength"].shown(rows)
    assert [(row["measure"], row["case"]) for row in told] == [
        (measure, case) for measure in ("push ratio", "gap") for case in CASES
    ]
    rows = [
        line("a", each) | {"role": role} for role in ("new", "known") for each in ("most likely", "change", "bleed")
    ]
    assert measures("bleed", rows) == ["bleed", "most likely", "change", "most likely", "change", "bleed"]
    rows = [line("a", "flipped", phase=phase) for phase in ("before", "after", "change")]
    assert [row["phase"] for row in PROBES["hops"].shown(rows)] == ["change", "after", "before"]
    rows = [line("a", each, of="shift", template="all") for each in ("diagonal", "leak ratio", "leak ratio, same")]
    assert measures("concept", rows) == ["leak ratio", "leak ratio, same", "diagonal"]
    rows = [line("a", each) for each in ("change", "ES", "S")]
    assert measures("prefixes", rows) == ["S", "change"]
