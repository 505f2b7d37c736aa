"""The closed form of ROME's update, by the theorems that define it."""

import pytest
import torch

from lens_rome._linalg import NotPositiveDefiniteError, rank_one_factors, rank_one_update

D_IN, D_OUT = 12, 7


def random_normal(rng: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def random_moment(rng: torch.Generator, size: int = D_IN) -> torch.Tensor:
    """A positive definite matrix far from the identity (condition number of some hundreds)."""
    factor = random_normal(rng, size, 3 * size) * torch.logspace(0, 1.2, size, dtype=torch.float64)[:, None]
    return factor @ factor.T / (3 * size)


@pytest.fixture
def problem(rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weight, moment, key and value."""
    return random_normal(rng, D_IN, D_OUT), random_moment(rng), random_normal(rng, D_IN), random_normal(rng, D_OUT)


def changes_that_keep(key: torch.Tensor, rng: torch.Generator, count: int = 20) -> list[torch.Tensor]:
    """Random changes D of the weight with `key @ D = 0`."""
    unit = key / key.norm()
    drawn = [random_normal(rng, D_IN, D_OUT) for _ in range(count)]
    return [change - torch.outer(unit, unit @ change) for change in drawn]


def test_the_updated_weight_maps_the_key_exactly_to_the_value(problem: tuple) -> None:
    weight, moment, key, value = problem
    left, right = rank_one_update(weight, moment, key, value)
    torch.testing.assert_close(key @ (weight + left @ right), value, rtol=0, atol=1e-12)


def test_no_other_update_that_maps_the_key_to_the_value_is_smaller_to_first_order(
    problem: tuple, rng: torch.Generator
) -> None:
    weight, moment, key, value = problem
    left, right = rank_one_update(weight, moment, key, value)
    for change in changes_that_keep(key, rng):
        slope = (moment @ left @ right * change).sum()
        assert abs(float(slope)) < 1e-11 * float((moment @ left @ right).norm() * change.norm())


def test_the_update_without_the_moment_violates_first_order_optimality(problem: tuple, rng: torch.Generator) -> None:
    weight, moment, key, value = problem
    left, right = rank_one_update(weight, torch.eye(D_IN, dtype=torch.float64), key, value)
    slopes = [
        abs(float((moment @ left @ right * change).sum() / (moment @ left @ right).norm() / change.norm()))
        for change in changes_that_keep(key, rng)
    ]
    assert max(slopes) > 0.01


def test_every_other_update_with_the_same_effect_on_the_key_costs_more(problem: tuple, rng: torch.Generator) -> None:
    weight, moment, key, value = problem
    left, right = rank_one_update(weight, moment, key, value)

    def cost(update: torch.Tensor) -> float:
        return float((update * (moment @ update)).sum())

    for change in changes_that_keep(key, rng):
        for size in (1e-3, 1.0):
            assert cost(left @ right + size * change) > cost(left @ right)


@pytest.mark.parametrize("scale", [1e-6, 3.0, 1e6])
def test_the_scale_of_the_moment_is_free(problem: tuple, scale: float) -> None:
    weight, moment, key, value = problem
    left, right = rank_one_update(weight, moment, key, value)
    scaled_left, scaled_right = rank_one_update(weight, scale * moment, key, value)
    torch.testing.assert_close(scaled_left @ scaled_right, left @ right, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("scale", [-2.0, 1e-5, 1e5])
def test_the_scale_and_sign_of_the_direction_are_free(rng: torch.Generator, scale: float) -> None:
    direction, key, residual = random_normal(rng, D_IN), random_normal(rng, D_IN), random_normal(rng, D_OUT)
    left, right = rank_one_factors(direction, key, residual)
    scaled_left, scaled_right = rank_one_factors(scale * direction, key, residual)
    torch.testing.assert_close(scaled_left @ scaled_right, left @ right, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(key @ left @ right, residual, rtol=0, atol=1e-12)
    assert float(left.norm()) == pytest.approx(1)


def test_the_update_has_rank_one_and_leaves_its_arguments_alone(problem: tuple) -> None:
    copies = [tensor.clone() for tensor in problem]
    left, right = rank_one_update(*problem)
    assert int(torch.linalg.matrix_rank(left @ right)) == 1
    assert all(torch.equal(copy, tensor) for copy, tensor in zip(copies, problem, strict=True))


def test_arguments_in_single_precision_are_computed_in_double(problem: tuple) -> None:
    single = [tensor.float() for tensor in problem]
    left, right = rank_one_update(*single)
    expected_left, expected_right = rank_one_update(*[tensor.double() for tensor in single])
    assert left.dtype == right.dtype == torch.float64
    assert torch.equal(left, expected_left) and torch.equal(right, expected_right)


def test_a_singular_moment_is_refused(problem: tuple) -> None:
    weight, _, key, value = problem
    with pytest.raises(NotPositiveDefiniteError):
        rank_one_update(weight, torch.outer(key, key), key, value)
