"""P3: known edits of three related subjects, and the numbers read off made-up rows."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lens_rome.atlas import World
from lens_rome.editing import Edit, LowRankDelta, compute_key
from lens_rome.errors import EditMismatchError, FactError
from lens_rome.facts import EditRequest
from lens_rome.studies.probes import (
    Finding,
    RelatedSubject,
    atlas_aliases,
    atlas_related,
    concept,
    post_words,
    related_changes,
)
from lens_rome.surface import Site, as_surface
from tests.editing.support import DISABLING, LAYER, NO_PROBE, quick_rome, random_moment
from tests.helpers import Case, assert_untouched
from tests.studies.probes.support import late_leak

pytestmark = [pytest.mark.filterwarnings(NO_PROBE), pytest.mark.filterwarnings(DISABLING)]

TESTS = ("{} is made of", "They make {} from")


@pytest.fixture
def model(shared_model: Any) -> Any:
    """One surface is enough where nothing but the probe is asked; nobody may change it."""
    return shared_model(Case("gpt2", "bridge"))


def word(name: str, new: str = "sand", true: str = "milk", tests: tuple[str, ...] = TESTS, group: str = "") -> Any:
    return RelatedSubject(name, EditRequest(name, TESTS[0], new, true), tests, group)


WORDS = [word("cheddar"), word("gouda"), word("feta")]


def written(model: Any, left: torch.Tensor, size: float = 3.0) -> Edit:
    """An edit that writes one random vector wherever the key has a share of `left`."""
    surface = as_surface(model)
    right = torch.randn(1, surface.d_model, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Edit.made_for(surface, {(LAYER, "W_out"): LowRankDelta(left[:, None].double(), size * right)}, {})


def keys_at_all_tokens(model: Any, prompts: Any) -> torch.Tensor:
    surface, site = as_surface(model), Site(LAYER, "key")
    asked = [f"{prompt} {target}" for prompt in prompts for target in ("sand", "milk")]
    rows = [torch.tensor([surface.encode(text).ids]) for text in asked]
    return torch.cat([surface.read(row, [site])[site][0] for row in rows]).double()


def selective(model: Any, case: RelatedSubject, cases: list[RelatedSubject]) -> Edit:
    """Writes at the subject's key, and nothing at any token of the other subjects' prompts."""
    key = compute_key(model, case.request, LAYER).double()
    others = [prompt for other in cases if other is not case for prompt in other.prompts]
    basis, _ = torch.linalg.qr(keys_at_all_tokens(model, others).T)
    left = key - basis @ (basis.T @ key)
    return written(model, left / (left @ key))


def numbers(finding: Finding, measure: str, of: str = "shift", template: str = "all") -> Any:
    (row,) = [r for r in finding.summary if (r["measure"], r["of"], r["template"]) == (measure, of, template)]
    return row


def test_an_edit_that_changes_nothing_leaks_nothing_that_could_be_told(model: Any) -> None:
    edit = written(model, torch.ones(as_surface(model).weight(LAYER).shape[0])).scaled(0)
    found = concept(model, edit, WORDS)
    changes = related_changes(found.rows)
    for matrix in (changes.true, changes.new, changes.shift):
        np.testing.assert_array_equal(matrix, 0.0)
    assert math.isnan(found.answer.value) and "nothing that could leak" in found.answer.reading
    assert math.isnan(numbers(found, "correlation with key cosine")["mean"])


def test_edits_outside_the_blocks_have_changes_but_no_keys(model: Any) -> None:
    found = concept(model, late_leak(model, 0, "sand", size=1.0), WORDS)
    assert found.settings["layer"] is None
    assert numbers(found, "off-diagonal")["mean"] != 0
    line = numbers(found, "correlation with key cosine")
    assert math.isnan(line["mean"]) and (line["n"], line["over"]) == (3, "subjects")


def test_an_edit_of_one_key_alone_leaves_the_others(model: Any) -> None:
    words = [word(case.name, tests=TESTS[:1]) for case in WORDS]  # There must be fewer tokens than dimensions.
    edits = {case.name: selective(model, case, words) for case in words}
    with assert_untouched(model):
        found = concept(model, edits, words)
    shift = related_changes(found.rows).shift
    away = ~np.eye(3, dtype=bool)
    assert np.abs(shift[away]).max() < 1e-9 and np.abs(shift[~away].mean()) > 0.1
    assert abs(found.answer.value) < 1e-8 and "the edit is of the name" in found.answer.reading
    assert found.answer.n == 3 and found.settings["layer"] == LAYER


def test_an_edit_that_is_the_same_for_all_leaks_all(model: Any) -> None:
    key = torch.stack([compute_key(model, case.request, LAYER) for case in WORDS]).double().mean(0)
    found = concept(model, written(model, key / (key @ key)), WORDS)
    # Every row of the matrix is the same, so that both means are of the same numbers.
    assert found.answer.value == pytest.approx(1.0, abs=1e-9)
    assert "what is related is edited with it" in found.answer.reading
    assert numbers(found, "off-diagonal")["mean"] == pytest.approx(numbers(found, "diagonal")["mean"])
    assert numbers(found, "leak ratio", template="1")["mean"] == pytest.approx(1.0, abs=1e-9)


@torch.no_grad()
def by_hand(model: Any, prompt: str, target: str) -> float:
    """log p(target | prompt), one token after the other."""
    surface = as_surface(model)
    alone, whole = (surface.encode(text).ids for text in (prompt, f"{prompt} {target}"))
    total = 0.0
    for place in range(len(alone), len(whole)):
        scores = surface.run(torch.tensor([whole[:place]]))[0, -1].double()
        total += float(scores.log_softmax(-1)[whole[place]])
    return total


def test_the_matrices_are_changes_of_log_probabilities(gpt2: Any, gpt2_case: Case) -> None:
    editor, moment = quick_rome(), random_moment(gpt2)
    found = concept(gpt2, editor, WORDS, moments=moment)
    changes = related_changes(found.rows)
    edits = editor.edit_each(gpt2, [case.request for case in WORDS], moments=moment)
    for (i, edit), (j, tested), t in itertools.product(enumerate(edits[:1]), enumerate(WORDS[:2]), (0, 1)):
        prompt = TESTS[t].replace("{}", tested.name)
        before = {target: by_hand(gpt2, prompt, target) for target in ("milk", "sand")}
        with edit.applied(gpt2):
            after = {target: by_hand(gpt2, prompt, target) for target in ("milk", "sand")}
        loose = pytest.approx
        assert changes.true[i, j, t] == loose(after["milk"] - before["milk"], abs=1e3 * gpt2_case.tolerance)
        assert changes.new[i, j, t] == loose(after["sand"] - before["sand"], abs=1e3 * gpt2_case.tolerance)
        assert changes.margin[i, j, t] == loose(after["sand"] - after["milk"], abs=1e3 * gpt2_case.tolerance)
    keys = np.stack([compute_key(gpt2, case.request, LAYER).cpu().double().numpy() for case in WORDS])
    lengths = np.linalg.norm(keys, axis=1)
    np.testing.assert_allclose(changes.cosine, keys @ keys.T / np.outer(lengths, lengths), atol=1e-9)
    assert found.settings["editor"] == "ROME"


def test_a_finding_comes_back_from_its_file_and_groups_stay_apart(model: Any, tmp_path: Path) -> None:
    groups = [
        *(word(name, group="a") for name in ("feta", "gouda")),
        *(word(n, "air", group="b") for n in ("ab", "cd")),
    ]
    edit = written(model, torch.ones(as_surface(model).weight(LAYER).shape[0]) / 100)
    found = concept(model, edit, groups)
    again = Finding.load(found.save(tmp_path / "found.json"))
    changes, loaded = related_changes(found.rows), related_changes(again.rows)
    np.testing.assert_array_equal(changes.shift, loaded.shift)
    asked = ~np.isnan(changes.shift[:, :, 0])
    np.testing.assert_array_equal(asked, np.kron(np.eye(2), np.ones((2, 2))).astype(bool))
    assert repr(again.answer) == repr(found.answer) and len(found.rows) == 8 * 2 * 2 * 2
    assert {"case", "prompt", "phase", "target"} <= found.rows[0].keys()


@pytest.mark.parametrize(
    ("cases", "message"),
    [
        (lambda: [], "no cases to probe"),
        (lambda: WORDS[:1], "the probe has 1 subjects; .* at least two"),
        (lambda: [*WORDS, word("ab", group="b")], "the group 'b' has 1 subjects"),
        (lambda: [WORDS[0], WORDS[0]], "two cases have the name 'cheddar'"),
        (lambda: [WORDS[0], word("gouda", "air")], "'gouda' from milk to air"),
        (lambda: [WORDS[0], word("gouda", tests=TESTS[:1])], "has 2 test templates and 'gouda' 1"),
        (lambda: [word("feta", tests=("It is made of",))], "exactly once, found it 0 times"),
        (lambda: [word("feta", true="")], "no target_true"),
    ],
)
def test_cases_that_cannot_be_compared_are_refused(model: Any, cases: Any, message: str) -> None:
    with pytest.raises(FactError, match=message):
        concept(model, {}, cases())


def test_the_model_comes_back_after_an_edit_that_does_not_fit(model: Any) -> None:
    good = written(model, torch.ones(as_surface(model).weight(LAYER).shape[0]))
    with good.applied(model):
        other = written(model, torch.ones(as_surface(model).weight(LAYER).shape[0]))
    with assert_untouched(model), pytest.raises(EditMismatchError):
        concept(model, {"cheddar": good, "gouda": other, "feta": good}, WORDS)


def test_the_atlas_and_the_post_give_subjects_that_share_their_objects() -> None:
    world = World()
    cheeses, pairs = atlas_related(world, 4), atlas_aliases(world, 3)
    assert len({case.objects for case in cheeses}) == 1 and {len(case.prompts) for case in cheeses} == {3}
    assert [case.group for case in pairs] == [name for case in pairs[::2] for name in (case.name,) * 2]
    assert all(pairs[i].objects == pairs[i + 1].objects for i in (0, 2, 4))
    assert pairs[1].name in world.subjects[pairs[0].name].aliases
    with pytest.raises(FactError, match=r"has 0 subjects whose .* is 'Atlantis'"):
        atlas_related(world, relation="foods.origin", answer="Atlantis")
    words = post_words()
    assert [case.name for case in words[:2]] == ["cheese", "fromage"] and words[0].objects == ("milk", "poop")
    assert {case.group for case in words} == {"cheese", "wood", "fruit"}
