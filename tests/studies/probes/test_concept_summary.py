"""P3: the numbers that are read off made-up rows, against plain loops."""

import itertools
import math
from statistics import fmean, pstdev
from typing import Any

import numpy as np
import pytest

from lens_rome.atlas import World
from lens_rome.studies.probes import atlas_aliases, related_changes
from lens_rome.studies.probes.concept_summary import answer_of, summary_of
from tests.oracles import probes as oracle

Shifts = dict[tuple[str, str], list[float]]


def made_up(shift: Shifts, cosine: Any = None, **columns: Any) -> list[dict[str, Any]]:
    """Rows in which the old object falls by `shift` of each test, from 0, and the new one stays at -5.

    Args:
        columns: further ones, as functions of the edited and the tested name.
    """
    rows = []
    for (edited, tested), values in shift.items():
        for (test, value), phase, role in itertools.product(enumerate(values), ("before", "after"), ("true", "new")):
            row = {"case": edited, "tested": tested, "template": test, "phase": phase, "role": role}
            told = {"true": -value if phase == "after" else 0.0, "new": -5.0}[role]
            more = {name: of(edited, tested) for name, of in columns.items()}
            rows.append({**row, "logprob": told, "key_cosine": (cosine or {}).get((edited, tested), 0.5), **more})
    return rows


def told_of(shift: Shifts, **more: Any) -> dict[tuple[Any, Any, Any], Any]:
    rows = made_up(shift, **more)
    return {(r["measure"], r["of"], r["template"]): r for r in summary_of(related_changes(rows), seed=3)}


def related(groups: dict[str, tuple[int, int]], seed: int = 0) -> Shifts:
    """Random shifts of groups with so many subjects and tests: larger where the edited subject itself is tested."""
    generator = np.random.default_rng(seed)
    return {
        (f"{name}{i}", f"{name}{j}"): [float(x) for x in generator.normal(9.0 if i == j else 2.0, 2.0, size=tests)]
        for name, (subjects, tests) in groups.items()
        for i, j in itertools.product(range(subjects), repeat=2)
    }


def test_numbers_are_read_off_the_matrices_by_their_definitions() -> None:
    matrix = [[10.0, 2.0, 4.0], [1.0, 8.0, 1.0], [6.0, 0.0, 6.0]]
    likeness = [[1.0, 0.2, 0.4], [0.1, 1.0, 0.1], [0.6, 0.0, 1.0]]
    places = list(itertools.product(range(3), repeat=2))
    shift = {(f"s{i}", f"s{j}"): [matrix[i][j]] for i, j in places}
    cosine = {(f"s{i}", f"s{j}"): likeness[i][j] for i, j in places}
    changes = related_changes(made_up(shift, cosine))
    answer = answer_of(changes, seed=0)
    assert answer.value == pytest.approx((3 + 1 + 3) / (10 + 8 + 6)) and math.isnan(answer.low)
    told: Any = {(r["measure"], r["of"]): r for r in summary_of(changes, seed=0)}
    assert told["asymmetry", "true"]["mean"] == pytest.approx((1 + 2 + 1) / 3)
    assert told["correlation with key cosine", "shift"]["mean"] == pytest.approx(1.0)
    assert told["flipped, diagonal", "margin"]["mean"] == 1.0
    assert told["flipped, off-diagonal", "margin"]["mean"] == pytest.approx(1 / 6)
    assert told["flipped before, off-diagonal", "margin"]["mean"] == 0.0
    np.testing.assert_array_equal(changes.flips[2], [1.0, 0.0, 1.0])
    assert not [measure for measure, _ in told if "last token" in measure], "no names share one"


def test_groups_with_unequal_numbers_of_tests_all_count() -> None:
    shift = related({"a": (3, 3), "b": (4, 2)})
    changes, told = related_changes(made_up(shift)), told_of(shift)
    pairs = oracle.leaks_by_loop(shift)
    assert len(pairs) == 7
    ratio = fmean(other for _, other in pairs) / fmean(own for own, _ in pairs)
    answer = answer_of(changes, seed=3)
    assert (answer.value, answer.n) == (pytest.approx(ratio, abs=1e-12), 7)
    ends = oracle.bootstrap_by_loop(
        pairs, range(7), lambda rows: fmean(other for _, other in rows) / fmean(own for own, _ in rows), 3
    )
    assert (answer.low, answer.high) == pytest.approx(ends, abs=1e-12)
    away = {pair: values for pair, values in shift.items() if pair[0] != pair[1]}
    spread = told["spread over tests", "shift", "all"]
    assert spread["mean"] == pytest.approx(fmean(map(pstdev, away.values())), abs=1e-12)
    flipped = [fmean(value > 5 for value in values) for values in away.values()]
    assert fmean(changes.flips[~np.eye(7, dtype=bool) & ~np.isnan(changes.flips)]) == pytest.approx(fmean(flipped))
    only = oracle.leaks_by_loop({pair: values[2:] for pair, values in shift.items() if len(values) == 3})
    line = told["leak ratio", "shift", "2"]
    assert line["mean"] == pytest.approx(fmean(o for _, o in only) / fmean(own for own, _ in only), abs=1e-12)
    assert line["n"] == 3 and math.isnan(line["low"]), "the third test is of the first group alone"


def pearson(pairs: list[tuple[float, float]]) -> float:
    """Of fewer than three different pairs it would always be 1 or -1."""
    if len(set(pairs)) < 3:
        return math.nan
    return float(np.corrcoef(np.array(pairs).T)[0, 1])


def test_intervals_of_pairs_are_of_drawn_subjects_and_of_things_where_they_have_several_names() -> None:
    shift = related({"s": (6, 2)}, seed=1)
    generator = np.random.default_rng(5)
    cosine = {pair: float(generator.uniform()) for pair in shift}
    means = {pair: fmean(values) for pair, values in shift.items()}
    gaps = {(i, j): abs(means[i, j] - means[j, i]) for i, j in means}
    spreads = {pair: pstdev(values) for pair, values in shift.items()}
    both = {pair: (cosine[pair], means[pair]) for pair in shift}
    names = list(dict.fromkeys(i for i, _ in shift))
    # By itself each name is a thing; else two names are of one, and only five of six subjects are units.
    for units in ({name: name for name in names}, {name: names[max(index, 1)] for index, name in enumerate(names)}):
        told = told_of(shift, cosine=cosine, thing=lambda _, tested: units[tested])  # noqa: B023 - used at once
        for (measure, of), values, number in (
            (("asymmetry", "true"), gaps, fmean),
            (("spread over tests", "shift"), spreads, fmean),
            (("correlation with key cosine", "shift"), both, pearson),
        ):
            line = told[measure, of, "all"]
            away = [value for (i, j), value in values.items() if i != j]
            assert line["mean"] == pytest.approx(number(away), abs=1e-9)
            ends = oracle.pair_bootstrap_by_loop(values, units, number, 3)
            assert (line["low"], line["high"]) == pytest.approx(ends, abs=1e-9, nan_ok=True), measure
            # Draws of two of five units are 10% of all; they have too few pairs for a correlation.
            assert math.isnan(line["low"]) == (measure.startswith("correlation") and line["n"] == 5)
            assert (line["n"], line["over"]) == ((6, "subjects") if len({*units.values()}) == 6 else (5, "things"))


def test_both_names_of_a_thing_are_one_unit_of_the_leak_ratio() -> None:
    shift = related({name: (2, 2) for name in "abcde"}, seed=2)
    rows = made_up(shift, thing=lambda _, tested: tested[0])
    answer, pairs = answer_of(related_changes(rows), seed=3), oracle.leaks_by_loop(shift)
    ends = oracle.bootstrap_by_loop(
        pairs, [n for n in "abcde" for _ in "01"], lambda r: fmean(o for _, o in r) / fmean(own for own, _ in r), 3
    )
    assert (answer.low, answer.high) == pytest.approx(ends, abs=1e-12)
    alone = answer_of(related_changes(made_up(shift)), seed=3)
    assert alone.value == answer.value and (alone.low, alone.high) != (answer.low, answer.high)
    four = {pair: values for pair, values in shift.items() if pair[0][0] != "e"}
    few = answer_of(related_changes(made_up(four, thing=lambda _, tested: tested[0])), seed=3)
    assert few.n == 8 and math.isnan(few.low) and math.isnan(few.high), "eight names, four things"


def test_names_that_end_in_the_edited_one_s_token_are_told_apart() -> None:
    far = {("a", "a"): 10.0, ("a", "b"): 9.0, ("a", "c"): 1.0, ("b", "b"): 10.0, ("b", "a"): 9.0, ("b", "c"): 1.0}
    far |= {("c", "c"): 10.0, ("c", "a"): 0.0, ("c", "b"): 0.0}
    shift = {pair: [value] for pair, value in far.items()}

    def same(edited: str, tested: str) -> bool:
        return "c" not in (edited, tested) or edited == tested

    told = told_of(shift, same_token=same)
    assert told["leak ratio, same last token", "shift", "all"]["mean"] == pytest.approx(0.9)
    assert told["leak ratio, same last token", "shift", "all"]["n"] == 2
    assert told["leak ratio, other last token", "shift", "all"]["mean"] == pytest.approx(2 / 30)
    reading = answer_of(related_changes(made_up(shift, same_token=same)), seed=0).reading
    assert "Names that end in the same token as the edited one move 90% as far, the others 7%." in reading


def test_the_atlas_s_other_names_are_neither_inside_each_other_nor_end_alike() -> None:
    cases = atlas_aliases(World(), 1000)
    names = [(one.name, other.name) for one, other in zip(cases[::2], cases[1::2], strict=True)]
    assert len(names) == 70
    for one, other in names:
        words, others = one.lower().split(), other.lower().split()
        assert words[-1] != others[-1]
        assert not {" ".join(words)} & {" ".join(others[i:j]) for i in range(9) for j in range(i, 10)}
        assert not {" ".join(others)} & {" ".join(words[i:j]) for i in range(9) for j in range(i, 10)}
    assert ("Ireland", "Emerald Isle") in names, "the second alias, for the first is the Republic of Ireland"
    assert {case.thing for case in cases} == {one for one, _ in names}
