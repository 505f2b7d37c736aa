import math
import sys
from collections.abc import Callable
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest
import torch

from lens_rome.editing import Edit
from lens_rome.errors import FactError
from lens_rome.evaluation import generate
from lens_rome.facts import EditRequest
from lens_rome.studies.probes import Finding, StrengthCase, strength
from lens_rome.studies.probes.sampling import Sampling
from lens_rome.studies.probes.strength_summary import summary_of, verdict
from lens_rome.studies.probes.texts import Written
from lens_rome.surface import as_surface
from tests.helpers import assert_untouched
from tests.oracles import probes as oracle
from tests.studies.probes.support import (
    BERGMAN,
    TINY,
    assert_rows_are_as_defined,
    identity,
    leak,
    logprob,
    measured,
)  # fmt: skip

PROMPT = "People who admire Ingrid Bergman often"
CASE = StrengthCase("Portuguese", BERGMAN, (PROMPT,))
LENGTH, SAMPLES = 9, 5
QUICK: dict[str, Any] = {"samples": SAMPLES, "tokens": LENGTH}


def texts_of(model: Any, seed: int = 0) -> list[str]:
    length = len(as_surface(model).encode(PROMPT, False)) + LENGTH
    return generate(
        model, [PROMPT] * SAMPLES, length=length, seed=seed, ids=[f"{PROMPT}\x1f{i}" for i in range(SAMPLES)]
    )


@pytest.fixture(scope="module")
def by_rome(atlas: Any, rome: Callable[[EditRequest], Edit]) -> Finding:
    return strength(atlas, rome(BERGMAN), [CASE], **QUICK)


def test_log_probabilities_and_mentions_are_as_defined(
    atlas: Any, rome: Callable[[EditRequest], Edit], by_rome: Finding
) -> None:
    edit = rome(BERGMAN)
    assert_rows_are_as_defined(by_rome, atlas, {"Portuguese": edit})
    with edit.applied(atlas):
        told = {"after": texts_of(atlas)}
    told["before"] = texts_of(atlas)
    rows: Any = by_rome.rows
    for row in rows:
        hits = [row["target"] in text for text in told[row["phase"]]]
        assert (row["samples"], row["mentioned"]) == (SAMPLES, sum(hits))
    shares = {(role, phase): measured(by_rome, measure="mentioned", role=role, phase=phase)
              for role in ("new", "old") for phase in ("before", "after")}  # fmt: skip
    assert by_rome.answer.value == shares["new", "after"] / shares["old", "before"]
    masses: Any = {(row["role"], row["phase"]): row["mass"] for row in by_rome.rows}
    for (role, phase), mass in masses.items():
        line: Any = next(
            line for line in by_rome.summary if (line["measure"], line["role"], line["phase"]) == ("mass", role, phase)
        )
        assert line["mean"] == mass > 0 and (line["n"], math.isnan(line["low"])) == (1, True), "of one prompt"
    gap = logprob(atlas, PROMPT, "Portuguese", edit) - logprob(atlas, PROMPT, "Swedish")
    assert measured(by_rome, measure="gap") == pytest.approx(gap, abs=1e-8)


def test_mass_is_the_mean_probability_of_the_first_token_where_a_token_was_written(
    atlas: Any, by_rome: Finding
) -> None:
    surface = as_surface(atlas)
    start = len(surface.encode(PROMPT))
    token = surface.encode(" Swedish", False).ids[0]
    found = []
    for text in texts_of(atlas):
        ids = surface.encode(text).ids
        with torch.no_grad():
            probs = atlas(torch.tensor([ids]))[0].double().softmax(-1)
        found += [float(probs[place - 1, token]) for place in range(start, len(ids))]
    (row,) = [row for row in by_rome.rows if (row["role"], row["phase"]) == ("old", "before")]
    assert row["mass"] == pytest.approx(sum(found) / len(found), abs=1e-9)


def test_an_identity_edit_says_the_same_and_pushes_nothing(atlas: Any) -> None:
    found = strength(atlas, identity(atlas), [CASE], **QUICK)
    before, after = ([{**r, "phase": ""} for r in found.rows if r["phase"] == phase] for phase in ("before", "after"))
    assert before == after
    pre: Any = {row["role"]: row["mentioned"] for row in before}
    assert pre["old"] > 0
    assert found.answer.value == pre["new"] / pre["old"]
    assert [line["verdict"] for line in found.summary if line["measure"] == "push ratio"] == ["unchanged"]
    assert found.answer.reading.startswith("Verdict: unchanged (by case: 1 unchanged)")


def test_a_leaking_edit_is_over_and_an_object_that_was_never_said_gives_no_ratio(atlas: Any) -> None:
    found = strength(atlas, leak(atlas, "Portuguese", size=20.0), [CASE], **QUICK)
    assert measured(found, measure="mentioned", role="new", phase="after") == 1
    assert found.answer.value > 1
    never = replace(CASE, name="never", request=replace(BERGMAN, target_true="Welsh"))
    nothing = strength(atlas, identity(atlas), [never], **QUICK)
    assert math.isnan(nothing.answer.value)
    assert "Cannot be told, for the unedited model never mentions the old object" in nothing.answer.reading
    assert [line["verdict"] for line in nothing.summary if line["measure"] == "push ratio"] == ["cannot be told"]


def test_the_verdict_is_what_the_interval_says() -> None:
    assert [verdict(2.0, (0.0, *ends)) for ends in ((0.1, 0.3), (-0.1, 0.3), (-0.3, -0.1), (0.0, 0.0))] == [
        "over", "matched", "under", "matched"
    ]  # fmt: skip
    assert verdict(2.0, (0.5, math.nan, math.nan)) == "cannot be told"
    assert verdict(math.nan, (0.5, 0.4, 0.6)) == "cannot be told"


def judged(new: int, old: int, moved: float = 3.0, said: tuple[int, int] = (0, 0)) -> tuple[float, Any]:
    """Push ratio and verdict of 40 texts: the new object in `new` of them after the edit, the old one in `old` before.

    Args:
        moved: by how much the edit moves the new object, nats.
        said: texts with the new object before, and with the old one after.
    """
    counts = {("new", "before"): said[0], ("new", "after"): new, ("old", "before"): old, ("old", "after"): said[1]}
    hits = {key: [index < count for index in range(40)] for key, count in counts.items()}
    rows = [
        {"case": "a", "role": role, "phase": phase, "mass": 0.1, "logprob": moved * ((role, phase) == ("new", "after"))}
        for role, phase in counts
    ]
    (line,) = [line for line in summary_of(rows, {"a": hits}, 0) if line["measure"] == "push ratio"]
    value: Any = line["mean"]
    return value, line["verdict"]


def test_the_verdict_of_few_mentions_is_open_and_that_of_many_is_not() -> None:
    assert judged(0, 1) == (0.0, "matched"), "one mention less in 40 texts says nothing"
    assert judged(0, 20) == (0.0, "under")
    assert judged(30, 10) == (3.0, "over")
    assert judged(12, 10) == (1.2, "matched")


def test_lines_of_mass_are_means_over_prompts() -> None:
    masses = {("new", "before"): 0.01, ("new", "after"): 0.3, ("old", "before"): 0.2, ("old", "after"): 0.05}
    rows: Any = [
        {"case": "a", "prompt": prompt, "role": role, "phase": phase, "mass": mass * (1 + prompt), "logprob": 0.0}
        for prompt in range(6)
        for (role, phase), mass in masses.items()
    ]
    hits = {"a": {key: [True] * 6 for key in masses}}
    lines: Any = [line for line in summary_of(rows, hits, 3) if line["measure"] == "mass"]
    assert {(line["role"], line["phase"]) for line in lines} == set(masses) and len(lines) == 4
    for line in lines:
        of_prompts = [masses[line["role"], line["phase"]] * (1 + prompt) for prompt in range(6)]
        assert line["mean"] == pytest.approx(fmean(of_prompts)) and line["n"] == 6
        ends = oracle.bootstrap_by_loop(of_prompts, range(6), fmean, 3)
        assert (line["low"], line["high"]) == pytest.approx(ends)


def test_only_what_moves_neither_texts_nor_probabilities_is_unchanged() -> None:
    assert judged(0, 20, moved=0.01, said=(0, 20)) == (0.0, "unchanged")
    assert judged(0, 20, moved=-0.1, said=(0, 20)) == (0.0, "under")
    assert judged(0, 20, moved=0.01, said=(0, 19)) == (0.0, "under")
    assert judged(1, 20, moved=0.01, said=(0, 20)) == (0.05, "under")


def made_up(new: int, old: int) -> dict[tuple[str, str], list[bool]]:
    """Ten texts: the new object in so many after the edit, the old one in so many before it."""
    counts = {("new", "before"): 0, ("new", "after"): new, ("old", "before"): old, ("old", "after"): 0}
    return {key: [index < count for index in range(10)] for key, count in counts.items()}


def answered(hits: dict[str, Any], verdicts: list[str]) -> Any:
    """The answer of cases that are named by their subject and a number."""
    told = [{"measure": "push ratio", "verdict": each} for each in verdicts]
    return sys.modules[strength.__module__]._answer(hits, [name[0] for name in hits], told, 3)


def test_cases_of_one_subject_are_one_unit() -> None:
    counts = {"a1": (1, 4), "a2": (6, 4), "b1": (9, 5), "c1": (2, 2), "d1": (3, 6), "d2": (5, 6), "e1": (8, 3)}
    found = answered({name: made_up(*own) for name, own in counts.items()}, ["over"] * 3 + ["matched"] * 4)
    rows, units = list(counts.values()), [name[0] for name in counts]

    def push(drawn: list[tuple[int, int]]) -> float:
        return sum(new for new, _ in drawn) / sum(old for _, old in drawn)

    assert (found.value, found.n) == (pytest.approx(34 / 30), 7)
    assert (found.low, found.high) == pytest.approx(oracle.bootstrap_by_loop(rows, units, push, 3))
    low, high = oracle.bootstrap_by_loop([(n - o) / 10 for n, o in rows], units, fmean, 3)
    assert low < 0 < high and found.reading.startswith("Verdict: matched (by case: 3 over, 4 matched)")


def test_fewer_than_five_subjects_have_no_interval_and_a_verdict_only_where_all_agree() -> None:
    hits = {f"{subject}{index}": made_up(6, 2) for subject in "abcd" for index in range(3)}
    found = answered(hits, ["over"] * 12)
    assert math.isnan(found.low) and math.isnan(found.high) and found.n == 12
    assert found.reading.startswith("Verdict: over (by case: 12 over)")
    mixed = answered(hits, ["over"] * 11 + ["matched"])
    assert mixed.reading.startswith("No verdict on all cases together, for they are of 4 subjects (by case: 11 over, 1")


def test_an_old_object_that_is_rare_leaves_the_upper_end_open_and_one_that_is_never_said_nothing() -> None:
    found = answered({f"{subject}1": made_up(5, subject == "a") for subject in "abcde"}, ["over"] * 5)
    assert found.value == pytest.approx(25.0) and 0 < found.low < math.inf and found.high == math.inf
    assert "25 [" in str(found) and ", inf]" in str(found)
    never = answered({f"{subject}1": made_up(5, 0) for subject in "abcde"}, ["cannot be told"] * 5)
    assert [math.isnan(x) for x in (never.value, never.low, never.high)] == [True] * 3
    assert "never mentions the old object: 50% of the texts" in never.reading


def test_several_new_objects_share_the_texts_of_the_unedited_model(
    atlas: Any, rome: Callable[[EditRequest], Edit], monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [CASE, replace(CASE, name="Italian", request=replace(BERGMAN, target_new="Italian"))]
    module, calls = sys.modules[Sampling.__module__], []

    def counted(_: Any, prompts: Any, **settings: Any) -> list[Written]:
        assert settings["tokens"] == LENGTH
        calls.extend(prompts)
        return [Written(f" {index} Swedish", (1, 2, 3), 2) for index in range(len(prompts))]

    monkeypatch.setattr(module, "written", counted)
    found = strength(atlas, {"Portuguese": rome(BERGMAN), "Italian": identity(atlas)}, cases, **QUICK)
    assert len(calls) == 3 * SAMPLES
    assert found.answer.n == 2
    assert {line["case"] for line in found.summary} == {"Portuguese", "Italian"}
    assert "by case: 1 under, 1 unchanged" in found.answer.reading
    assert math.isnan(found.answer.low), "one subject"


def test_any_surface_gives_what_is_defined_and_comes_back_also_after_an_exception(
    gpt2: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, edit = StrengthCase("E", TINY, ("An Eiffel",)), leak(gpt2, "cat")
    with assert_untouched(gpt2):
        found = strength(gpt2, edit, [case], samples=2, tokens=3)
    assert_rows_are_as_defined(found, gpt2, {"E": edit})

    def broken(*_: Any) -> Any:
        if edit_is_in := not torch.equal(as_surface(gpt2).parameter(3, "b_out"), before):
            raise ZeroDivisionError(edit_is_in)
        return [0.0, 0.0]

    before = as_surface(gpt2).parameter(3, "b_out").clone()
    monkeypatch.setattr(sys.modules[strength.__module__], "mean_mass", broken)
    with assert_untouched(gpt2), pytest.raises(ZeroDivisionError):
        strength(gpt2, edit, [case], samples=2, tokens=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": ()}, "neutral prompts must be 1 or more"),
        ({"prompts": ("He is",)}, "lacks the subject 'Ingrid Bergman'"),
        ({"prompts": ("Ingrid Bergman taught Swedish and",)}, "names 'Swedish'. Only the model may bring it up"),
        ({"prompts": ("Ingrid Bergman sang a Fado and",), "new_aliases": ("fado",)}, "names 'fado'"),
    ],
)
def test_a_case_without_its_inputs_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FactError, match=message):
        replace(CASE, **changes)


def test_no_samples_are_refused(gpt2: Any) -> None:
    for name in ("samples", "tokens", "top_k"):
        with pytest.raises(FactError, match=f"{name} must be a whole number from 1, got 0"):
            wrong: Any = {name: 0}
            strength(gpt2, identity(gpt2), [CASE], **wrong)
