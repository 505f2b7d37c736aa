"""The closed form against the published expression of each editor, and the theorems that connect them."""

import pytest
import torch

from lens_rome.editing.closed_form import closed_form, written_fraction
from lens_rome.editing.metric import Identity, InverseMoment, Metric, NullSpace
from tests.editing.problems import D, M, Problem, assert_same, normal
from tests.oracles import editors

THRESHOLD = 0.1


def metrics(problem: Problem) -> list[Metric]:
    moment = problem.moment
    return [
        InverseMoment(moment),
        InverseMoment(moment, 30.0),
        InverseMoment(moment, 2.0, 0.3),
        NullSpace(moment, THRESHOLD, 4.0),
        Identity(D),
    ]


@pytest.mark.parametrize("n", [1, 4, D, 3 * D])
@pytest.mark.parametrize("weight", [0.3, 15.0, 20000.0])
def test_slack_one_with_the_weighted_moment_is_memit(rng: torch.Generator, n: int, weight: float) -> None:
    problem = Problem.of(rng, n)
    delta = closed_form(problem.residuals, problem.keys, metric=InverseMoment(problem.moment, weight), slack=1.0)
    assert_same(delta.dense().T, editors.memit(*problem.columns, weight))
    assert delta.rank == min(n, D)


@pytest.mark.parametrize("n", [D + 1, 3 * D])
def test_the_dual_system_of_many_requests_equals_the_primal(rng: torch.Generator, n: int) -> None:
    problem = Problem.of(rng, n)
    for metric in metrics(problem):
        for slack in (0.7, torch.rand(n, generator=rng, dtype=torch.float64) + 0.1):
            primal = closed_form(problem.residuals, problem.keys, metric=metric, slack=slack)
            gram = problem.keys @ metric.apply(problem.keys).T
            system = gram + torch.diag(torch.as_tensor(slack, dtype=torch.float64).expand(n))
            dual = metric.apply(problem.keys).T @ torch.linalg.solve(system, problem.residuals)
            assert_same(primal.dense(), dual, 1e-9)
            assert primal.rank == metric.whiten(problem.keys).shape[1] <= D


def test_no_slack_is_emmet_and_writes_every_residual_exactly(rng: torch.Generator) -> None:
    problem = Problem.of(rng, 6)
    for weight in (1.0, 1000.0):  # the weight cancels
        delta = closed_form(problem.residuals, problem.keys, metric=InverseMoment(problem.moment, weight))
        assert_same(delta.dense().T, editors.emmet(*problem.columns))
        assert_same(problem.keys @ delta.dense(), problem.residuals)
        assert_same(written_fraction(problem.residuals, problem.keys, delta), torch.ones(6, dtype=torch.float64))


@pytest.mark.parametrize(("weight", "ridge", "diagonal"), [(1000.0, 0.1, 0.0), (1.0, 0.1, 0.0), (3.0, 0.2, 0.5)])
def test_slack_is_the_ridge_of_the_released_emmet(
    rng: torch.Generator, weight: float, ridge: float, diagonal: float
) -> None:
    problem = Problem.of(rng, 6)
    metric = InverseMoment(problem.moment, weight, diagonal)
    delta = closed_form(problem.residuals, problem.keys, metric=metric, slack=ridge)
    assert_same(delta.dense().T, editors.emmet_released(*problem.columns, weight, ridge, diagonal))


def test_emmet_with_a_ridge_is_memit_of_ridge_times_weight(rng: torch.Generator) -> None:
    problem, weight, ridge = Problem.of(rng, 6), 1000.0, 0.1
    emmet = closed_form(problem.residuals, problem.keys, metric=InverseMoment(problem.moment, weight), slack=ridge)
    memit = closed_form(
        problem.residuals, problem.keys, metric=InverseMoment(problem.moment, weight * ridge), slack=1.0
    )
    assert_same(emmet.dense(), memit.dense())
    assert_same(emmet.dense().T, editors.memit(*problem.columns, weight * ridge))


def test_memit_tends_to_emmet_as_its_weight_falls(rng: torch.Generator) -> None:
    problem = Problem.of(rng, 6)
    emmet, distances = editors.emmet(*problem.columns), []
    for weight in (1e-2, 1e-4, 1e-6, 1e-8):
        memit = closed_form(problem.residuals, problem.keys, metric=InverseMoment(problem.moment, weight), slack=1.0)
        distances.append(float((memit.dense().T - emmet).norm() / emmet.norm()))
    assert distances[-1] < 1e-6
    for nearer, farther in zip(distances[1:], distances, strict=False):
        assert farther / 110 < nearer < farther / 50  # first order in the weight


def test_one_request_without_slack_is_r_rome(rng: torch.Generator) -> None:
    problem = Problem.of(rng, 1)
    delta = closed_form(problem.residuals, problem.keys, metric=InverseMoment(problem.moment))
    expected = editors.r_rome(problem.moment.mean, problem.keys[0], problem.residuals[0])
    assert_same(delta.dense().T, expected)


def test_rome_takes_its_direction_from_one_key_and_maps_the_bare_key_to_its_value(rng: torch.Generator) -> None:
    problem, bare = Problem.of(rng, 1), normal(rng, 1, D)
    weight, bias, value = normal(rng, D, M), normal(rng, M), normal(rng, 1, M)
    residual = value - bare @ weight - bias
    for sign in (1.0, -1.0):  # a negative product of the two keys is no error
        delta = closed_form(residual, bare, metric=InverseMoment(problem.moment), direction_keys=sign * problem.keys)
        expected = editors.rome(problem.moment.mean, problem.keys[0], bare[0], residual[0])
        assert_same(delta.dense().T, expected)
        assert_same(bare @ (weight + delta.dense()) + bias, value)


def test_two_sets_of_keys_write_exactly_in_the_directions_of_the_one_at_the_other(rng: torch.Generator) -> None:
    problem, direction = Problem.of(rng, 5), normal(rng, 5, D)
    for metric in metrics(problem):
        delta = closed_form(problem.residuals, problem.keys, metric=metric, direction_keys=direction)
        assert_same(problem.keys @ delta.dense(), problem.residuals, 1e-8)
        assert_same(delta.left, metric.apply(direction).T)


@pytest.mark.parametrize("mixed", [False, True], ids=["one set", "two sets"])
def test_what_is_missing_at_the_constraint_is_slack_times_right(rng: torch.Generator, mixed: bool) -> None:
    problem, slack = Problem.of(rng, 5), torch.tensor([0.0, 0.1, 1.0, 0.0, 30.0], dtype=torch.float64)
    direction = problem.keys + 0.2 * normal(rng, 5, D) if mixed else None
    for metric in metrics(problem):
        delta = closed_form(problem.residuals, problem.keys, metric=metric, direction_keys=direction, slack=slack)
        expected = problem.residuals - slack[:, None] * delta.right
        assert_same(problem.keys @ delta.dense(), expected, 1e-8)


def test_the_same_keys_given_twice_are_one_set(rng: torch.Generator) -> None:
    problem = Problem.of(rng, 2 * D)
    once = closed_form(problem.residuals, problem.keys, metric=Identity(D), slack=1.0)
    twice = closed_form(
        problem.residuals, problem.keys, metric=Identity(D), direction_keys=problem.keys.clone(), slack=1.0
    )
    assert torch.equal(once.dense(), twice.dense()) and twice.rank == D


def test_no_other_change_of_the_same_effect_disturbs_the_corpus_less(rng: torch.Generator) -> None:
    problem = Problem.of(rng, 4)
    mean = problem.moment.mean
    delta = closed_form(problem.residuals, problem.keys, metric=InverseMoment(problem.moment)).dense()
    cost = float((delta * (mean @ delta)).sum())
    basis = torch.linalg.qr(problem.keys.T, mode="complete").Q[:, 4:]  # changes along these leave the keys' outputs
    for _ in range(10):
        other = basis @ normal(rng, D - 4, M)
        assert abs(float((other * (mean @ delta)).sum())) < 1e-10 * float(other.norm() * (mean @ delta).norm())
        assert float(((delta + other) * (mean @ (delta + other))).sum()) > cost


def test_one_request_with_slack_writes_its_share(rng: torch.Generator) -> None:
    problem, weight = Problem.of(rng, 1), 20.0
    energy = float(problem.keys[0] @ torch.linalg.inv(problem.moment.mean) @ problem.keys[0])
    delta = closed_form(problem.residuals, problem.keys, metric=InverseMoment(problem.moment, weight), slack=1.0)
    (found,) = written_fraction(problem.residuals, problem.keys, delta).tolist()
    assert found == pytest.approx(energy / (weight + energy), rel=1e-12)


def test_the_energy_of_a_corpus_key_is_the_dimension_on_average(rng: torch.Generator) -> None:
    corpus = normal(rng, 500, D) @ normal(rng, D, D)
    problem = Problem.of(rng, 1)
    moment = type(problem.moment)(0, corpus.T @ corpus, 500, problem.moment.origin)
    metric = InverseMoment(moment)
    energies = (corpus * metric.apply(corpus)).sum(1)
    assert float(energies.mean()) == pytest.approx(D, rel=1e-10)  # exactly so over the corpus itself
    fresh = torch.linalg.cholesky(moment.mean) @ normal(rng, D, 4000)
    # The energy of a Gaussian key is χ² of D degrees: standard deviation √(2D), here of a mean of 4,000.
    assert float((fresh.T * metric.apply(fresh.T)).sum(1).mean()) == pytest.approx(D, abs=4 * (2 * D / 4000) ** 0.5)


def test_numbers_in_single_precision_are_solved_in_double(rng: torch.Generator) -> None:
    problem = Problem.of(rng, 3)
    delta = closed_form(problem.residuals.float(), problem.keys.float(), metric=InverseMoment(problem.moment))
    assert delta.left.dtype == delta.right.dtype == torch.float64
    assert_same(problem.keys.float().double() @ delta.dense(), problem.residuals.float().double())
