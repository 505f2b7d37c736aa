import math
import sys
from collections.abc import Callable
from dataclasses import replace
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
LENGTH, SAMPLES = 9, 4
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


def test_only_what_moves_neither_texts_nor_probabilities_is_unchanged() -> None:
    assert judged(0, 20, moved=0.01, said=(0, 20)) == (0.0, "unchanged")
    assert judged(0, 20, moved=-0.1, said=(0, 20)) == (0.0, "under")
    assert judged(0, 20, moved=0.01, said=(0, 19)) == (0.0, "under")
    assert judged(1, 20, moved=0.01, said=(0, 20)) == (0.05, "under")


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
