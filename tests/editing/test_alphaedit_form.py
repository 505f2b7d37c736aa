"""AlphaEdit as a metric: three published forms, exact zero on protected directions, and the bound on its leak."""

import pytest
import torch

from lens_rome.editing.closed_form import closed_form
from lens_rome.editing.metric import Conditioned, NullSpace
from lens_rome.errors import EditError
from tests.editing.problems import D, Problem, assert_same, made_moment, normal
from tests.oracles import editors

THRESHOLD, PENALTY = 0.1, 10.0


@pytest.mark.parametrize("n", [1, 4, 3 * D])
@pytest.mark.parametrize("n_past", [0, 3, 2 * D])
def test_all_forms_of_alphaedit_are_the_closed_form(rng: torch.Generator, n: int, n_past: int) -> None:
    problem, past = Problem.of(rng, n), normal(rng, n_past, D)
    _, keys, residuals = problem.columns
    projector = editors.null_projector(problem.moment.mean, THRESHOLD)
    metric = Conditioned(NullSpace(problem.moment, THRESHOLD, PENALTY), past)
    found = closed_form(problem.residuals, problem.keys, metric=metric, slack=1.0).dense().T
    cache = past.T @ past
    assert_same(found, editors.alphaedit_released(projector, keys, residuals, cache, PENALTY))
    assert_same(found, editors.alphaedit_symmetric(projector, keys, residuals, cache, PENALTY))
    if n_past == 0:
        assert_same(found, editors.alphaedit_first(projector, keys, residuals, PENALTY))


def test_the_papers_form_has_penalty_one(rng: torch.Generator) -> None:
    problem, past = Problem.of(rng, 4), normal(rng, 3, D)
    _, keys, residuals = problem.columns
    projector = editors.null_projector(problem.moment.mean, THRESHOLD)
    metric = Conditioned(NullSpace(problem.moment, THRESHOLD, 1.0), past)
    found = closed_form(problem.residuals, problem.keys, metric=metric, slack=1.0)
    assert_same(found.dense().T, editors.alphaedit_paper(projector, keys, residuals, past.T @ past))


@pytest.mark.parametrize("n", [2, 3 * D])
def test_the_change_is_zero_on_protected_directions_and_of_the_requests_rank(rng: torch.Generator, n: int) -> None:
    problem = Problem.of(rng, n)
    metric = NullSpace(problem.moment, THRESHOLD, PENALTY)
    delta = closed_form(problem.residuals, problem.keys, metric=metric, slack=1.0)
    values, vectors = torch.linalg.eigh(problem.moment.mean)
    protected = vectors[:, values >= THRESHOLD]
    assert 0 < protected.shape[1] < D
    assert float((protected.T @ delta.dense()).norm()) <= 1e-12 * delta.norm()
    assert delta.rank == min(n, metric.rank) and torch.linalg.matrix_rank(delta.dense()) <= min(n, metric.rank)


def test_the_corpus_outputs_change_by_less_than_the_threshold_allows(rng: torch.Generator) -> None:
    problem = Problem.of(rng, 4)
    delta = closed_form(
        problem.residuals, problem.keys, metric=NullSpace(problem.moment, THRESHOLD, 1e-3), slack=1.0
    ).dense()
    leak = float((delta * (problem.moment.mean @ delta)).sum())
    assert 0 < leak < THRESHOLD * float(delta.square().sum())


def test_the_metric_counts_free_and_protected_directions(rng: torch.Generator) -> None:
    moment = made_moment(rng)
    below = int((torch.linalg.eigvalsh(moment.mean) < THRESHOLD).sum())
    found = NullSpace(moment, THRESHOLD, 2).describe()
    assert found == {
        "kind": "null_space", "threshold": THRESHOLD, "penalty": 2.0, "free": below, "protected": D - below
    }  # fmt: skip


def test_a_threshold_that_protects_all_or_nothing_says_where_the_eigenvalues_lie(rng: torch.Generator) -> None:
    moment = made_moment(rng)
    values = torch.linalg.eigvalsh(moment.mean)
    where = f"the smallest is {float(values[0]):.3g}, .* the largest {float(values[-1]):.3g}"
    with pytest.raises(EditError, match=f"nothing can be written.* 0 lie below it and {D} above; {where}"):
        NullSpace(moment, 1e-9, 1.0)
    with pytest.raises(EditError, match=f"protects no direction.*{D} lie below it and 0 above; {where}"):
        NullSpace(moment, 1e9, 1.0)
    for threshold, penalty in ((0.0, 1.0), (0.1, 0.0), (0.1, float("nan"))):
        with pytest.raises(EditError, match="must be a positive number"):
            NullSpace(moment, threshold, penalty)


def test_a_moment_is_decomposed_once(rng: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    moment, calls, real = made_moment(rng), [], torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda matrix: calls.append(1) or real(matrix))
    for threshold in (0.1, 0.2):
        NullSpace(moment, threshold, 1.0).apply(normal(rng, 2, D))
    NullSpace(moment.conditioned(normal(rng, 2, D)), 0.1, 1.0).apply(normal(rng, 2, D))
    assert len(calls) == 1
