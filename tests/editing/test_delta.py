"""The kinds of change: what each adds, and that sums, multiples and norms are those of the dense matrices."""

from itertools import product

import pytest
import torch
from jaxtyping import TypeCheckError

from lens_rome.editing import Delta, DenseDelta, LowRankDelta, RowsDelta
from lens_rome.editing.delta import DELTAS
from lens_rome.errors import EditError

SHAPE = (7, 5)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def low_rank(seed: int = 0) -> LowRankDelta:
    return LowRankDelta(normal(7, 2, seed=seed), normal(2, 5, seed=seed + 1))


def of_rows(seed: int = 0) -> RowsDelta:
    return RowsDelta(torch.tensor([1, 4 + seed % 2, 6]), normal(3, 5, seed=seed), 7)


def dense(seed: int = 0) -> DenseDelta:
    return DenseDelta(normal(*SHAPE, seed=seed))


KINDS = {"lowrank": low_rank, "rows": of_rows, "dense": dense}


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_adds_its_dense_matrix_with_one_rounding(kind: str) -> None:
    delta = KINDS[kind]()
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        weight = normal(*SHAPE, seed=9).to(dtype).requires_grad_()
        kept = weight.detach().clone()
        edited = delta.added_to(weight)
        assert torch.equal(edited, (weight.detach().double() + delta.dense()).to(dtype))
        assert torch.equal(weight, kept) and not edited.requires_grad
    assert delta.shape == SHAPE and delta.kind == kind
    assert delta.norm() == pytest.approx(float(delta.dense().norm()), rel=1e-12)
    assert delta.rank >= torch.linalg.matrix_rank(delta.dense())


@pytest.mark.parametrize("kind", KINDS)
def test_a_multiple_is_that_of_the_dense_matrix_and_of_the_same_kind(kind: str) -> None:
    delta = KINDS[kind]()
    for factor in (0.0, -0.5, 3.0):
        assert type(delta.scaled(factor)) is type(delta)
        torch.testing.assert_close(delta.scaled(factor).dense(), factor * delta.dense(), rtol=0, atol=1e-14)


@pytest.mark.parametrize(("one", "other"), list(product(KINDS, KINDS)))
def test_a_sum_is_that_of_the_dense_matrices(one: str, other: str) -> None:
    first, second = KINDS[one](), KINDS[other](seed=3)
    total = first + second
    torch.testing.assert_close(total.dense(), first.dense() + second.dense(), rtol=0, atol=1e-13)
    assert total.kind == (one if one == other else "dense")


def test_a_sum_of_rows_holds_each_row_once() -> None:
    total = of_rows() + of_rows(seed=3)
    assert isinstance(total, RowsDelta) and total.rows.tolist() == [1, 4, 5, 6]


def test_sums_of_single_precision_changes_are_taken_in_double_precision() -> None:
    """1 + 2⁻³⁰ is not a float32."""
    small, large = torch.full((2, 2), 2.0**-30), torch.ones(2, 2)
    assert float((DenseDelta(large) + DenseDelta(small)).dense()[0, 0]) == 1 + 2.0**-30
    rows = torch.tensor([0, 1])
    assert float((RowsDelta(rows, large, 2) + RowsDelta(rows, small, 2)).dense()[0, 0]) == 1 + 2.0**-30
    assert float((DenseDelta(large) + RowsDelta(rows, small, 2)).dense()[0, 0]) == 1 + 2.0**-30


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_and_back_is_the_same_change(kind: str) -> None:
    delta = KINDS[kind]()
    again = DELTAS[kind].from_tensors(delta.tensors())
    assert type(again) is type(delta) and torch.equal(again.dense(), delta.dense()) and again.shape == delta.shape


def test_a_bias_and_the_heads_of_attention_can_be_changed() -> None:
    for shape, rank in (((5,), 1), ((4, 6, 3), 12)):
        delta = DenseDelta(normal(*shape))
        weight = normal(*shape, seed=1)
        torch.testing.assert_close(delta.added_to(weight), weight + normal(*shape), rtol=0, atol=0)
        assert delta.shape == shape and delta.rank == rank


@pytest.mark.parametrize("rank", [1, 3, 9])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_norm_of_factors_is_that_of_their_product(rank: int, dtype: torch.dtype) -> None:
    delta = LowRankDelta(normal(7, rank).to(dtype), normal(rank, 5, seed=1).to(dtype))
    exact = float((delta.left.double() @ delta.right.double()).norm())
    assert delta.norm() == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9])
def test_the_norm_keeps_its_digits_where_columns_nearly_cancel(gap: float) -> None:
    column, row = normal(7, 1), normal(1, 5, seed=1)
    other = column + gap * normal(7, 1, seed=2)
    delta = LowRankDelta(torch.cat([column, other], 1), torch.cat([row, -row]))
    exact = float((column - other).norm() * row.norm())
    # The difference of the columns is itself known to 1e-16 / gap.
    assert delta.norm() == pytest.approx(exact, rel=1e-14 / gap)


def test_a_compressed_change_is_the_same_with_as_many_columns_as_its_rank() -> None:
    first, second = low_rank(), low_rank(seed=5)
    total = first + second + first.scaled(-0.5) + second.scaled(2)
    small = total.compressed()
    assert total.rank == 8 and small.rank == 4
    torch.testing.assert_close(small.dense(), total.dense(), rtol=0, atol=1e-12)
    assert (total + total.scaled(-1)).compressed().rank == 0


def test_a_change_of_more_columns_than_the_weight_has_is_compressed_to_the_smaller_side() -> None:
    wide = LowRankDelta(normal(7, 30), normal(30, 5, seed=1))
    assert wide.compressed().rank == 5
    torch.testing.assert_close(wide.compressed().dense(), wide.dense(), rtol=0, atol=1e-11)


def test_nothing_compresses_to_rank_zero_and_changes_nothing() -> None:
    nothing = low_rank().scaled(0).compressed()
    assert nothing.rank == 0 and nothing.norm() == 0.0
    weight = normal(*SHAPE)
    assert torch.equal(nothing.added_to(weight), weight)


@pytest.mark.parametrize(("one", "other"), list(product(KINDS, KINDS)))
def test_changes_of_different_shapes_cannot_be_added(one: str, other: str) -> None:
    wider: dict[str, Delta] = {
        "lowrank": LowRankDelta(normal(7, 1), normal(1, 6)),
        "rows": RowsDelta(torch.tensor([2]), normal(1, 6), 7),
        "dense": DenseDelta(normal(7, 6)),
    }
    with pytest.raises(EditError, match=r"\(7, 5\) and \(7, 6\) cannot be added"):
        KINDS[one]() + wider[other]


@pytest.mark.parametrize("rows", [[4, 1, 6], [1, 1, 6]])
def test_rows_out_of_order_or_twice_are_refused(rows: list[int]) -> None:
    with pytest.raises(EditError, match="one change a row, the rows in rising order, each once"):
        RowsDelta(torch.tensor(rows), normal(3, 5), 7)


def test_more_rows_than_changes_are_refused() -> None:
    with pytest.raises((EditError, TypeCheckError), match=r"one change a row|row"):
        RowsDelta(torch.tensor([1, 2]), normal(3, 5), 7)


@pytest.mark.parametrize("rows", [[-1, 1, 6], [1, 6, 7]])
def test_rows_outside_the_matrix_are_refused(rows: list[int]) -> None:
    with pytest.raises(EditError, match=f"rows {rows[0]} to {rows[-1]} are not all in a matrix of 7 rows"):
        RowsDelta(torch.tensor(rows), normal(3, 5), 7)


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_changes_that_are_not_finite_are_refused(number: float) -> None:
    with pytest.raises(EditError, match="Lower the learning rate"):
        DenseDelta(torch.full((3,), number))
    with pytest.raises(EditError, match="Lower the learning rate"):
        RowsDelta(torch.tensor([0]), torch.full((1, 3), number), 2)
