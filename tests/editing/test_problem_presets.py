"""Scores and published settings of the five editing problems."""

from typing import Any

import pytest

from lens_rome.editing import MEMIT, ROME, Objective
from lens_rome.editing.finetune import FineTune
from lens_rome.editing.problem_presets import problem_noise, problem_preset
from lens_rome.editing.problems import editing_problems
from lens_rome.editing.scores import erasure_score, neighborhood_score, rewrite_score
from lens_rome.errors import EditError

PROBLEMS = editing_problems(0.1)
NAMES = [problem.name for problem in PROBLEMS]
FORMS = ("FT-1", "FT-5")
J = [(1e-4, 2e-5), (1e-5, 2e-5), (1e-5, 1e-5), (1e-5, 1e-5), (1e-4, 1e-4)]
"""The paper's bounds for GPT-J, problem by problem in the paper's order, of one layer and of five."""
XL = [(1e-3, 1e-4), None, None, None, (5e-4, 5e-5)]


@pytest.mark.parametrize(("problem", "bounds"), list(zip(PROBLEMS, J, strict=True)), ids=NAMES)
def test_fine_tuning_on_gpt_j_has_the_paper_s_bounds(problem: Any, bounds: Any) -> None:
    editors = [problem_preset(problem, form, "EleutherAI/gpt-j-6b", layer=9) for form in FORMS]
    assert [editor.norm_bound for editor in editors] == list(bounds)
    assert [editor.layers for editor in editors] == [(9,), (7, 8, 9, 10, 11)]
    for editor in editors:
        assert isinstance(editor, FineTune) and editor.prepend_bos is False
        assert (editor.lr, editor.reduction, editor.patience) == (5e-4, "sum", 5)
        assert editor.steps == (50 if problem is PROBLEMS[-1] else 25)
        assert editor.objective == problem.objective


@pytest.mark.parametrize(("problem", "bounds"), list(zip(PROBLEMS, XL, strict=True)), ids=NAMES)
def test_fine_tuning_on_gpt2_xl_has_bounds_for_two_problems(problem: Any, bounds: Any) -> None:
    if bounds is None:
        with pytest.raises(EditError, match=r"no bound of FT-1 was published .* Give one: problem.adapt"):
            problem_preset(problem, "FT-1", "gpt2-xl")
    else:
        assert tuple(problem_preset(problem, form, "gpt2-xl").norm_bound for form in FORMS) == bounds


@pytest.mark.parametrize(
    ("model", "layer", "weight", "steps", "kl"),
    [("gpt-j-6b", 5, 15000.0, 25, (1.0, 0.9)), ("gpt2-xl", 17, 20000.0, 20, (0.0625, 0.0625))],
)
def test_closed_form_editors_differ_from_their_own_presets_in_the_divergence_alone(
    model: str, layer: int, weight: float, steps: int, kl: tuple[float, float]
) -> None:
    for problem in PROBLEMS:
        rome, memit = (problem_preset(problem, name, model) for name in ("ROME", "MEMIT"))
        assert isinstance(rome, ROME) and isinstance(memit, MEMIT)
        assert (rome.layer, memit.layers) == (layer, tuple(range(layer - 2, layer + 3)))
        injection, forcing = problem is PROBLEMS[0], problem is PROBLEMS[-1]
        assert (rome.value.kl_factor, memit.value.kl_factor) == (kl if injection else (0.0625, 0.0625))
        assert (rome.value.steps, memit.value.steps) == (25 if forcing else 20, steps)
        assert (rome.value.clamp, memit.value.clamp, memit.weight) == (4.0, 0.75, weight)
        assert rome.value.stop_loss == memit.value.stop_loss == 0
        assert rome.objective == memit.objective == problem.objective


def test_the_published_noise_is_that_of_the_model() -> None:
    assert (problem_noise("EleutherAI/gpt-j-6B"), problem_noise("gpt2-xl")) == (0.094, 0.1)


def test_windows_are_cut_at_the_edges_of_the_model() -> None:
    assert problem_preset(PROBLEMS[0], "FT-5", "gpt-j-6b", layer=27).layers == (25, 26, 27)
    with pytest.raises(EditError, match="layer 28 does not exist: the model has layers 0 to 27"):
        problem_preset(PROBLEMS[0], "ROME", "gpt-j-6b", layer=28)


def test_what_the_study_does_not_have_is_refused() -> None:
    with pytest.raises(EditError, match="it has ROME, MEMIT, FT-1, FT-5"):
        problem_preset(PROBLEMS[0], "KN", "gpt-j-6b")
    with pytest.raises(EditError, match="it has them for gpt-j-6b, gpt2-xl"):
        problem_preset(PROBLEMS[0], "ROME", "gpt2")
    assert PROBLEMS[0].objective == Objective()


def test_an_unchanged_neighbour_scores_one_and_the_largest_possible_change_zero() -> None:
    assert neighborhood_score(0.3, 0.3) == 1
    assert neighborhood_score(0.3, 1.0) == 0 and neighborhood_score(0.7, 0.0) == 0
    assert neighborhood_score(0.2, 0.6) == pytest.approx(1 - 0.4 / (0.5 + abs(0.2 - 0.5)))


@pytest.mark.parametrize("score", [rewrite_score, erasure_score, neighborhood_score])
@pytest.mark.parametrize("probs", [(-0.1, 0.5), (0.5, 1.1), (0.5, float("nan"))])
def test_scores_refuse_what_is_no_probability(score: Any, probs: tuple[float, float]) -> None:
    with pytest.raises(EditError, match="probabilities from 0 to 1"):
        score(*probs)
