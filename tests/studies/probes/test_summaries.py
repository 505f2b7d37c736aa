"""Lines of summaries, read off rows and answers that were made up."""

import sys
from typing import Any

import pytest

from lens_rome.studies.probes import BleedCase, HopsCase, bleed, hops
from lens_rome.studies.probes.asking import PHASES, Said
from lens_rome.studies.probes.direction_summary import summary_of
from tests.helpers import Case
from tests.studies.probes.support import TINY, identity, measured

Told = dict[tuple[str, str, str], tuple[float, int]]
"""Log-probability and rank by phase, prompt and target."""


@pytest.fixture
def model(shared_model: Any) -> Any:
    """Nobody may change it."""
    return shared_model(Case("gpt2", "bridge"))


@pytest.fixture
def saying(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`saying(probe, told)`: the probe hears this in the place of the models' answers, and every case counts."""

    def patch(probe: str, told: Told) -> None:
        def answers(_: Any, questions: Any, *__: Any, **___: Any) -> dict[str, list[Said]]:
            return {phase: [Said(*told[phase, *each], "word", 1) for each in questions] for phase in PHASES}  # pyright: ignore[reportArgumentType]

        module = sys.modules[f"lens_rome.studies.probes.{probe}"]
        monkeypatch.setattr(module, "before_and_after", answers)
        monkeypatch.setattr(module, "begins_with", lambda *_: True)

    return patch


def row(phase: str, way: str, which: str, role: str, case: str = "a", **columns: Any) -> dict[str, Any]:
    """A row of `direction`."""
    known: dict[str, Any] = {"prompt": "p", "logprob": -2.0, "says": False, "samples": 0, "mentioned": 0, "then_new": 0}
    return {"case": case, "phase": phase, "direction": way, "object": which, "role": role, **known, **columns}


def rows_of_direction() -> list[dict[str, Any]]:
    """Two cases: `a` with the reverse prompts p and q, `b` with p; what is not said here is as `row` has it."""
    texts: Any = {("a", "p"): (4, 2, 1), ("a", "q"): (4, 2, 2), ("b", "p"): (4, 0, 0)}
    rivals: Any = {("a", "p"): (-5.0, -1.0), ("a", "q"): (-3.0, -4.0), ("b", "p"): (-1.0,)}
    rows = []
    for phase in PHASES:
        for case in "ab":
            rows += [row(phase, "forward", which, "object", case, says=phase == "after") for which in ("new", "old")]
        for (case, prompt), (samples, mentioned, then_new) in texts.items():
            told = {"samples": samples, "mentioned": mentioned, "then_new": then_new, "says": prompt == "p"}
            rows.append(row(phase, "reverse", "new", "subject", case, prompt=prompt, **told))
            rows.append(row(phase, "reverse", "old", "subject", case, prompt=prompt, samples=4, mentioned=4))
            for value in rivals[case, prompt]:
                low = value if phase == "after" else value - 9
                rows.append(row(phase, "reverse", "new", "competitor", case, prompt=prompt, logprob=low))
                rows.append(row(phase, "reverse", "old", "competitor", case, prompt=prompt, logprob=0.0))
    return rows


def test_lines_of_direction_are_by_their_definitions() -> None:
    lines: Any = {
        (line["measure"], line["direction"], line["object"], line["phase"]): (line["mean"], line["n"])
        for line in summary_of(rows_of_direction(), 0)
    }
    # Of p and q one rival is likelier than the subject after p alone; of b after its one prompt.
    assert lines["competitor", "reverse", "new", "after"] == (0.75, 2)
    assert lines["competitor", "reverse", "new", "before"] == (0.0, 2)
    assert lines["mentions", "reverse", "new", "after"] == (pytest.approx(4 / 12), 2), "all texts weigh the same"
    assert lines["then new", "reverse", "new", "after"] == (pytest.approx(3 / 4), 1), "b has no mention"
    assert lines["mentions", "reverse", "old", "after"] == (1.0, 2)
    assert lines["then new", "reverse", "old", "after"] == (0.0, 2)
    assert lines["says", "reverse", "new", "after"] == (0.75, 2), "a mean of cases, not of prompts"
    assert lines["says", "forward", "new", "after"] == (1.0, 2)
    assert lines["says", "forward", "new", "before"] == (0.0, 2)
    assert lines["inconsistent", "", "", "after"] == (0.0, 2)


def test_without_competitors_there_is_no_line_of_them() -> None:
    rows = [row for row in rows_of_direction() if row["role"] != "competitor"]
    assert "competitor" not in {line["measure"] for line in summary_of(rows, 0)}
    assert summary_of([], 0) == ()


def test_hops_counts_the_prompts_after_which_an_object_is_the_most_likely_word(model: Any, saying: Any) -> None:
    described = ("This is", "That is")
    ranks = {  # Of the new and of the old object.
        ("before", TINY.prompt): (5, 1), ("before", "This is"): (5, 1), ("before", "That is"): (5, 3),
        ("after", TINY.prompt): (1, 2), ("after", "This is"): (2, 1), ("after", "That is"): (3, 2),
    }  # fmt: skip
    told: Told = {}
    for (phase, prompt), (new, old) in ranks.items():
        told |= {(phase, prompt, "cat"): (-float(new), new), (phase, prompt, "dog"): (-float(old), old)}
    saying("hops", told)
    found = hops(model, identity(model), [HopsCase("a", TINY, described)])
    shares = {
        (measure, way, phase): measured(found, measure=measure, way=way, phase=phase)
        for measure in ("says new", "says old")
        for way in ("direct", "description")
        for phase in PHASES
    }
    assert shares == {
        ("says new", "direct", "before"): 0, ("says new", "direct", "after"): 1,
        ("says new", "description", "before"): 0, ("says new", "description", "after"): 0,
        ("says old", "direct", "before"): 1, ("says old", "direct", "after"): 0,
        ("says old", "description", "before"): 0.5, ("says old", "description", "after"): 0.5,
    }  # fmt: skip


def test_bleed_tells_the_known_answer_apart_from_the_new_object(model: Any, saying: Any) -> None:
    alone, behind = "He is", "An Eiffel. He is"
    told: Told = {
        ("before", alone, "cat"): (-8, 9), ("before", behind, "cat"): (-8, 9),
        ("after", alone, "cat"): (-7, 9), ("after", behind, "cat"): (-5, 1),
        ("before", alone, "cow"): (-1, 1), ("before", behind, "cow"): (-2, 1),
        ("after", alone, "cow"): (-1.5, 1), ("after", behind, "cow"): (-4, 2),
    }  # fmt: skip
    saying("bleed", told)
    found = bleed(model, identity(model), [BleedCase("a", TINY, ("An Eiffel.",), ((alone, "cow"),))])
    assert found.answer.value == measured(found, measure="bleed", role="new") == 2.0
    assert measured(found, measure="bleed", role="known") == -1.5
    assert measured(found, measure="bleed of prompts", role="known") == -1.5
    assert measured(found, measure="change", role="known", distractor="without") == -0.5
    assert measured(found, measure="change", role="known", distractor="with") == -2.0
    likely = {"measure": "most likely", "role": "known", "distractor": "with"}
    assert [measured(found, phase=phase, **likely) for phase in PHASES] == [1, 0]
