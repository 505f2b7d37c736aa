"""Solves with a second moment, and how far its condition number can be trusted."""

import pytest
import torch

from lens_rome._linalg import CholeskySolver, NotPositiveDefiniteError


def random_matrix(rng: torch.Generator, size: int, decades: float) -> torch.Tensor:
    """Symmetric positive definite with eigenvalues spread over `decades` powers of ten."""
    basis, _ = torch.linalg.qr(torch.randn(size, size, generator=rng, dtype=torch.float64))
    return basis @ torch.diag(torch.logspace(0, -decades, size, dtype=torch.float64)) @ basis.T


@pytest.mark.parametrize("shape", [(9,), (1, 9), (5, 9), (2, 3, 9)])
def test_solve_equals_a_general_solver_for_every_row(rng: torch.Generator, shape: tuple[int, ...]) -> None:
    matrix = random_matrix(rng, 9, 3)
    vectors = torch.randn(*shape, generator=rng, dtype=torch.float64)
    expected = torch.linalg.solve(matrix, vectors[..., None])[..., 0]
    # The condition number is 1e3, so 13 of the 16 digits remain.
    torch.testing.assert_close(CholeskySolver.of(matrix).solve(vectors), expected, rtol=1e-10, atol=1e-10)


def test_whitened_vectors_multiply_as_under_the_inverse_and_lifting_completes_the_solution(
    rng: torch.Generator,
) -> None:
    matrix, vectors = random_matrix(rng, 9, 3), torch.randn(5, 9, generator=rng, dtype=torch.float64)
    solver = CholeskySolver.of(matrix)
    whitened = solver.whiten(vectors)
    torch.testing.assert_close(whitened @ whitened.T, vectors @ torch.linalg.solve(matrix, vectors.T))
    torch.testing.assert_close(solver.lift(whitened), solver.solve(vectors))


@pytest.mark.parametrize("size", [1, 2, 17, 60])
@pytest.mark.parametrize("decades", [0.5, 4, 9])
def test_the_condition_number_is_a_lower_bound_within_a_factor_of_three(
    rng: torch.Generator, size: int, decades: float
) -> None:
    for _ in range(5):
        matrix = random_matrix(rng, size, decades)
        true = float(torch.linalg.cond(matrix, p=1))
        estimate = CholeskySolver.of(matrix).condition
        assert true / 3 <= estimate <= true * (1 + 1e-6)


def test_vectors_of_single_precision_are_solved_in_double(rng: torch.Generator) -> None:
    matrix, vector = random_matrix(rng, 5, 1), torch.randn(5, generator=rng)
    solved = CholeskySolver.of(matrix.float()).solve(vector)
    assert solved.dtype == torch.float64
    torch.testing.assert_close(matrix.float().double() @ solved, vector.double(), rtol=0, atol=1e-12)


BROKEN = {
    "rank deficient": torch.ones(3, 3),
    "indefinite": torch.diag(torch.tensor([1.0, -1.0])),
    "zero": torch.zeros(2, 2),
    "not a number": torch.full((2, 2), torch.nan),
    "condition number 1e15": torch.diag(torch.tensor([1.0, 1e-15])),
}


@pytest.mark.parametrize("matrix", BROKEN.values(), ids=BROKEN.keys())
def test_a_matrix_without_a_meaningful_factor_is_refused(matrix: torch.Tensor) -> None:
    with pytest.raises(NotPositiveDefiniteError, match=r"not positive definite|singular in float64"):
        CholeskySolver.of(matrix)


def test_how_ill_conditioned_a_matrix_may_be_is_a_setting() -> None:
    matrix = torch.diag(torch.tensor([1.0, 1e-5]))
    assert CholeskySolver.of(matrix).condition == pytest.approx(1e5)
    with pytest.raises(NotPositiveDefiniteError, match="about 1e\\+05"):
        CholeskySolver.of(matrix, max_condition=1e4)


@pytest.mark.parametrize("gap", [1e-3, 1e-9, 1e-15])
def test_two_like_rows_are_seen_in_the_condition_number(rng: torch.Generator, gap: float) -> None:
    rows = torch.nn.functional.normalize(torch.randn(5, 9, generator=rng, dtype=torch.float64), dim=1)
    rows[3] = rows[1]
    matrix = rows @ rows.T + gap * torch.eye(5, dtype=torch.float64)
    assert CholeskySolver.of(matrix, 1e17).condition > 0.3 / gap
