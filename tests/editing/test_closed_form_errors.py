"""Requests that cannot be told apart, and arguments that do not fit."""

import math

import pytest
import torch
from jaxtyping import TypeCheckError

from lens_rome.editing.closed_form import closed_form, written_fraction
from lens_rome.editing.metric import Identity, InverseMoment, NullSpace
from lens_rome.errors import EditError, MomentError, SingularSystemError
from lens_rome.moments import MomentOrigin, SecondMoment
from tests.editing.problems import D, M, Problem, assert_same, made_moment, normal


@pytest.mark.parametrize("scale", [1.0, -0.5, 1e4])
@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_parallel_keys_without_slack_are_named(rng: torch.Generator, scale: float, noise: float) -> None:
    problem = Problem.of(rng, 5)
    problem.keys[3] = scale * (problem.keys[1] + noise * normal(rng, D))
    with pytest.raises(SingularSystemError, match=r"requests 1 and 3 .*parallel.*Merge them.*slack > 0") as caught:
        closed_form(problem.residuals, problem.keys, metric=InverseMoment(problem.moment))
    assert caught.value.pair == (1, 3)
    assert caught.value.cosine == pytest.approx(math.copysign(1, scale))


def test_keys_that_differ_in_protected_directions_alone_are_parallel(rng: torch.Generator) -> None:
    problem = Problem.of(rng, 3)
    metric = NullSpace(problem.moment, 0.1, 1.0)
    problem.keys[2] = problem.keys[0] + problem.moment.spectrum[1][:, -1]
    with pytest.raises(SingularSystemError) as caught:
        closed_form(problem.residuals, problem.keys, metric=metric)
    assert caught.value.pair == (0, 2)


@pytest.mark.parametrize("slack", [0.1, 1.0])
def test_parallel_keys_with_slack_get_the_average_of_what_they_ask(rng: torch.Generator, slack: float) -> None:
    """Two requests at one key count as one of their mean residual and half the slack."""
    problem = Problem.of(rng, 4)
    problem.keys[3] = problem.keys[1]
    metric = InverseMoment(problem.moment)
    merged = problem.residuals[:3].clone()
    merged[1] = (problem.residuals[1] + problem.residuals[3]) / 2
    slacks = torch.tensor([slack, slack / 2, slack], dtype=torch.float64)
    expected = closed_form(merged, problem.keys[:3], metric=metric, slack=slacks)
    found = closed_form(problem.residuals, problem.keys, metric=metric, slack=slack)
    assert_same(found.dense(), expected.dense())


def test_dependent_keys_of_which_no_two_are_parallel_have_no_pair(rng: torch.Generator) -> None:
    problem = Problem.of(rng, 4)
    problem.keys[3] = problem.keys[:3].sum(0)
    with pytest.raises(SingularSystemError, match=r"keys depend on each other.*Give slack > 0") as caught:
        closed_form(problem.residuals, problem.keys, metric=Identity(D))
    assert caught.value.pair is None and caught.value.cosine is None
    many = Problem.of(rng, D + 1)
    with pytest.raises(SingularSystemError, match=f"the {D + 1} requests cannot all be written exactly"):
        closed_form(many.residuals, many.keys, metric=Identity(D))


def test_parallel_directions_are_named_as_well(rng: torch.Generator) -> None:
    problem, direction = Problem.of(rng, 3), normal(rng, 3, D)
    direction[2] = direction[1]
    with pytest.raises(SingularSystemError, match="requests 1 and 2") as caught:
        closed_form(problem.residuals, problem.keys, metric=Identity(D), direction_keys=direction)
    assert caught.value.pair == (1, 2)


def test_a_key_at_right_angles_to_its_direction_is_refused() -> None:
    key, direction = torch.eye(D)[:1], torch.eye(D)[1:2]
    with pytest.raises(SingularSystemError, match="right angles to its direction"):
        closed_form(torch.ones(1, M), key, metric=Identity(D), direction_keys=direction)


def test_a_key_in_protected_directions_is_refused(rng: torch.Generator) -> None:
    problem = Problem.of(rng, 2)
    problem.keys[1] = problem.moment.spectrum[1][:, -1]
    with pytest.raises(SingularSystemError, match=r"requests \[1\] .*have no length under the metric"):
        closed_form(problem.residuals, problem.keys, metric=NullSpace(problem.moment, 0.1, 1.0))
    with pytest.raises(SingularSystemError, match=r"requests \[0\]"):
        closed_form(
            problem.residuals,
            0 * problem.keys[:2] + torch.eye(2, D)[1] * torch.tensor([[0.0], [1]]),
            metric=Identity(D),
        )


def test_arguments_that_do_not_fit_are_refused(rng: torch.Generator) -> None:
    problem = Problem.of(rng, 3)
    residuals, keys = problem.residuals, problem.keys
    # With checked annotations, as in these tests, some shapes are refused even before the package looks at them.
    wrong = (EditError, TypeCheckError)
    with pytest.raises(wrong, match="constraint_keys"):
        closed_form(residuals, keys[:2], metric=Identity(D))
    with pytest.raises(EditError, match=f"constraint_keys must be .3, {D + 1}.*as wide as the metric"):
        closed_form(residuals, keys, metric=Identity(D + 1))
    with pytest.raises(wrong, match="direction_keys"):
        closed_form(residuals, keys, metric=Identity(D), direction_keys=keys[:, 1:])
    with pytest.raises(EditError, match="one a request at least"):
        closed_form(residuals[:0], keys[:0], metric=Identity(D))
    with pytest.raises(EditError, match="constraint_keys are not finite"):
        closed_form(residuals, keys * torch.inf, metric=Identity(D))
    with pytest.raises(EditError, match="residuals are not finite"):
        closed_form(residuals * torch.nan, keys, metric=Identity(D))
    for slack in (-1.0, float("nan"), torch.tensor([1.0, -1.0, 0.0])):
        with pytest.raises(EditError, match="slack must be a number from 0 up"):
            closed_form(residuals, keys, metric=Identity(D), slack=slack)


def test_the_written_fraction_of_no_residual_is_unknown(rng: torch.Generator) -> None:
    problem = Problem.of(rng, 2)
    problem.residuals[1] = 0
    delta = closed_form(problem.residuals, problem.keys, metric=Identity(D))
    found = written_fraction(problem.residuals, problem.keys, delta)
    assert found[0] == pytest.approx(1) and bool(found[1].isnan())


def test_settings_of_the_inverse_moment_are_checked(rng: torch.Generator) -> None:
    moment = made_moment(rng)
    for weight in (0.0, -1.0, float("inf")):
        with pytest.raises(EditError, match="weight must be a positive number"):
            InverseMoment(moment, weight)
    with pytest.raises(EditError, match="ridge must be a number from 0 up"):
        InverseMoment(moment, 1.0, -0.1)


def test_a_singular_moment_is_refused_at_once_and_may_be_helped_by_a_ridge(rng: torch.Generator) -> None:
    keys = normal(rng, 5, D)
    moment = SecondMoment(3, keys.T @ keys, 5, MomentOrigin("toy", None))
    with pytest.raises(MomentError, match="5 tokens for 14 dimensions"):
        InverseMoment(moment)
    with pytest.raises(MomentError, match=r"ridge of 1e-20 cannot be inverted.*5 tokens for 14 dimensions"):
        InverseMoment(moment, 1.0, 1e-20)
    eye = torch.eye(D, dtype=torch.float64)
    assert_same(InverseMoment(moment, 1.0, 0.1).apply(eye), torch.linalg.inv(moment.mean + 0.1 * eye))
