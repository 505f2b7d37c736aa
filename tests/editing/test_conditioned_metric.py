"""Memory of past edits in the metric: recursive least squares, exact protection, and the errors."""

import pytest
import torch

from lens_rome.editing.closed_form import closed_form
from lens_rome.editing.metric import Conditioned, Identity, InverseMoment, Metric, NullSpace
from lens_rome.errors import EditError, SingularSystemError
from tests.editing.problems import D, M, Problem, assert_same, made_moment, normal
from tests.oracles import editors


def metrics(problem: Problem) -> list[Metric]:
    moment = problem.moment
    return [InverseMoment(moment, 3.0), InverseMoment(moment, 2.0, 0.3), NullSpace(moment, 0.1, 4.0), Identity(D)]


def dense(metric: Metric) -> torch.Tensor:
    return metric.apply(torch.eye(D, dtype=torch.float64))


def test_a_metric_is_the_matrix_of_its_definition(rng: torch.Generator) -> None:
    moment, eye = made_moment(rng), torch.eye(D, dtype=torch.float64)
    assert_same(dense(InverseMoment(moment)), torch.linalg.inv(moment.mean))
    assert_same(dense(InverseMoment(moment, 3.0, 0.2)), torch.linalg.inv(3 * moment.mean + 0.2 * eye))
    assert_same(dense(NullSpace(moment, 0.1, 4.0)), editors.null_projector(moment.mean, 0.1) / 4)
    assert_same(dense(Identity(D)), eye)


@pytest.mark.parametrize("n_past", [0, 1, 5, 4 * D])
def test_conditioning_adds_the_past_keys_to_what_is_left_alone(rng: torch.Generator, n_past: int) -> None:
    problem, past = Problem.of(rng, 2), normal(rng, n_past, D)
    for metric in metrics(problem):
        found = Conditioned(metric, past)
        assert_same(dense(found), editors.conditioned(dense(metric), past.T), 1e-9)
        assert found.rank == metric.rank == int(torch.linalg.matrix_rank(dense(found), rtol=1e-9))


def test_conditioning_twice_is_conditioning_on_both(rng: torch.Generator) -> None:
    problem, past = Problem.of(rng, 2), normal(rng, 9, D)
    for metric in metrics(problem):
        twice = Conditioned(Conditioned(metric, past[:4]), past[4:])
        assert_same(dense(twice), dense(Conditioned(metric, past)))


def test_very_long_past_keys_cost_no_digits(rng: torch.Generator) -> None:
    past = 1e5 * normal(rng, 3, D)
    basis = torch.linalg.qr(past.T, mode="complete").Q
    inside = torch.linalg.inv(torch.eye(3, dtype=torch.float64) + basis[:, :3].T @ past.T @ past @ basis[:, :3])
    found = basis[:, :3].T @ dense(Conditioned(Identity(D), past)) @ basis[:, :3]
    assert_same(found, inside, 1e-4)  # of entries of 1e-11; the difference of two matrices would leave noise of 1e-16


@pytest.mark.parametrize("sizes", [(1, 1), (3, 4), (2, 5, 1, 20)])
def test_batches_one_after_another_with_memory_are_one_batch(rng: torch.Generator, sizes: tuple[int, ...]) -> None:
    """Recursive least squares: keys and the outputs wanted for them held fixed."""
    problem = Problem.of(rng, sum(sizes))
    for metric in metrics(problem):
        together = closed_form(problem.residuals, problem.keys, metric=metric, slack=1.0).dense()
        total, done, current = torch.zeros(D, M, dtype=torch.float64), 0, metric
        for size in sizes:
            keys, wanted = problem.keys[done : done + size], problem.residuals[done : done + size]
            total = total + closed_form(wanted - keys @ total, keys, metric=current, slack=1.0).dense()
            current, done = Conditioned(current, keys), done + size
        assert_same(total, together, 1e-9)
        flat = Conditioned(metric, problem.keys[: -sizes[-1]])  # the memory as one set of keys
        last = Conditioned(flat, problem.keys[-sizes[-1] :])
        assert_same(dense(last), dense(current), 1e-9)


def test_the_conditioned_moment_is_the_sequential_memit(rng: torch.Generator) -> None:
    problem, past = Problem.of(rng, 4), normal(rng, 6, D)
    metric = Conditioned(InverseMoment(problem.moment, 20.0), past)
    found = closed_form(problem.residuals, problem.keys, metric=metric, slack=1.0)
    assert_same(found.dense().T, editors.memit_sequential(*problem.columns, 20.0, past.T))


@pytest.mark.parametrize("slack", [0.0, 1.0])
def test_hard_protection_keeps_the_outputs_of_past_keys_exactly(rng: torch.Generator, slack: float) -> None:
    problem, past = Problem.of(rng, 3), normal(rng, 2, D)
    for metric in metrics(problem):
        hard = Conditioned(metric, past, hard=True)
        assert_same(dense(hard), editors.protected(dense(metric), past.T), 1e-9)
        delta = closed_form(problem.residuals, problem.keys, metric=hard, slack=slack).dense()
        assert float((past @ delta).norm()) <= 1e-12 * float(delta.norm() * past.norm())
        soft = closed_form(problem.residuals, problem.keys, metric=Conditioned(metric, past), slack=slack).dense()
        assert float((past @ soft).norm()) > 1e-3 * float(soft.norm())
        if slack == 0:
            assert_same(problem.keys @ delta, problem.residuals, 1e-9)
        assert hard.rank == metric.rank - 2 == int(torch.linalg.matrix_rank(dense(hard), rtol=1e-9))


def test_a_protected_key_cannot_be_written_at_and_says_so(rng: torch.Generator) -> None:
    problem = Problem.of(rng, 3)
    metric = Conditioned(InverseMoment(problem.moment), problem.keys[1:2], hard=True)
    with pytest.raises(SingularSystemError, match=r"requests \[1\] .*protected directions") as caught:
        closed_form(problem.residuals, problem.keys, metric=metric)
    assert caught.value.pair is None


def test_dependent_protected_keys_are_named(rng: torch.Generator) -> None:
    keys = normal(rng, 4, D)
    keys[3] = -2 * keys[1]
    with pytest.raises(SingularSystemError, match=r"past keys \[3\].*Keys 1 and 3 are parallel.*hard=False") as caught:
        Conditioned(Identity(D), keys, hard=True)
    assert caught.value.pair == (1, 3) and caught.value.cosine == pytest.approx(-1)
    keys[3] = keys[0] + keys[1]
    with pytest.raises(SingularSystemError, match=r"past keys \[3\] .*depend on the keys before them") as caught:
        Conditioned(Identity(D), keys, hard=True)
    assert caught.value.pair is None
    with pytest.raises(SingularSystemError, match=f"take up all {D} directions.*Protect fewer"):
        Conditioned(Identity(D), normal(rng, D, D), hard=True)


def test_past_keys_of_another_width_or_not_finite_are_refused(rng: torch.Generator) -> None:
    for keys in (normal(rng, 2, D + 1), torch.full((2, D), torch.nan)):
        with pytest.raises(EditError, match=f"past keys must be \\[n, {D}\\] and finite"):
            Conditioned(Identity(D), keys)


def test_metrics_describe_themselves_in_plain_values(rng: torch.Generator) -> None:
    moment = made_moment(rng)
    found = Conditioned(InverseMoment(moment, 3, 0), normal(rng, 4, D)).describe()
    inner = {"kind": "inverse_moment", "weight": 3.0, "ridge": 0.0, "condition": moment.condition}
    assert found == {"kind": "conditioned", "past_keys": 4, "hard": False, "on": inner}
    assert Identity(D).describe() == {"kind": "identity"}
