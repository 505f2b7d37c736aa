"""The networks compute what the papers' formulas say, token by token."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from lens_rome.editing.learned.gradients import GradientFactors, gradient_factors
from lens_rome.editing.learned.ke_network import KnowledgeEditorNetwork
from lens_rome.editing.learned.mend_network import MENDNetwork
from lens_rome.editing.learned.network import Structure
from lens_rome.editing.learned.rows import TargetRows
from lens_rome.editing.learned.statistics import RunningStatistics
from lens_rome.errors import EditError
from lens_rome.surface import as_surface
from tests.editing.learned.support import PLACES, pairs_of
from tests.oracles.learned import mend_by_loop


@pytest.fixture
def structure(gpt2: Any) -> Structure:
    return Structure.of(as_surface(gpt2), PLACES)


@pytest.fixture
def factors(gpt2: Any) -> GradientFactors:
    return gradient_factors(as_surface(gpt2), PLACES, TargetRows.of(pairs_of(gpt2)))


def shaken(network: torch.nn.Module) -> torch.nn.Module:
    """All parameters moved, so that no zero or one hides a mistake."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return network


def observed(factors: GradientFactors, name: str) -> dict[str, torch.Tensor]:
    """All kept rows of one kind of matrix."""
    of_kind = [found for (_, kind), found in factors.at.items() if kind == name]
    return {
        "x": torch.cat([found.x[found.kept] for found in of_kind]),
        "delta": torch.cat([found.delta[found.kept] for found in of_kind]),
    }


def test_statistics_merged_in_batches_are_those_of_all_rows_at_once(rng: torch.Generator) -> None:
    rows = 3 + 2 * torch.randn(50, 4, generator=rng, dtype=torch.float64)
    statistics = RunningStatistics(4)
    for part in (rows[:7], rows[7:8], rows[:0], rows[8:]):
        statistics.add(part)
    expected = (rows - rows.mean(0)) / (rows.std(0) + 1e-7)
    torch.testing.assert_close(statistics.normalise(rows), expected, rtol=0, atol=1e-12)
    assert int(statistics.count) == 50


def test_a_feature_that_never_changes_is_no_division_by_zero() -> None:
    statistics = RunningStatistics(2)
    statistics.add(torch.ones(3, 2))
    assert torch.equal(statistics.normalise(torch.ones(1, 2)), torch.zeros(1, 2))


def test_without_statistics_nothing_is_normalised() -> None:
    statistics = RunningStatistics(2)
    statistics.add(torch.ones(1, 2))
    with pytest.raises(EditError, match=r"made by fit\(\.\.\.\) or load"):
        statistics.normalise(torch.ones(1, 2))


def test_mend_equals_its_definition_token_by_token(structure: Structure, factors: GradientFactors) -> None:
    network = shaken(MENDNetwork(structure, rank=3, step_size=0.01))
    network.observe(factors)
    network.requires_grad_(False)
    changes = network(factors)
    for layer, name in PLACES:
        found, change = factors.at[layer, name], changes[layer, name]
        blocks = [dict(block.named_parameters()) for block in network.matrices[name].blocks]
        step_size = float(network.step_sizes[f"{layer}:{name}"])
        for i in range(len(found.x)):
            expected = mend_by_loop(
                blocks, observed(factors, name), step_size, found.x[i], found.delta[i], structure.layers.index(layer)
            )
            assert float(expected.norm()) > 1e-2
            torch.testing.assert_close(change.left[i].T @ change.right[i], expected, rtol=0, atol=1e-10)
            delta = change.delta(i)
            torch.testing.assert_close(delta.dense(), expected, rtol=0, atol=1e-10)
            assert delta.rank == int(found.kept[i].sum())


def test_step_sizes_and_layers_follow_names_and_not_the_order_of_places(
    structure: Structure, factors: GradientFactors
) -> None:
    network = shaken(MENDNetwork(structure, rank=3, step_size=0.01))
    network.observe(factors)
    turned = MENDNetwork(replace(structure, places=PLACES[::-1]), rank=3, step_size=7.0)
    turned.load_state_dict(network.state_dict())
    one, other = network(factors), turned(replace(factors, at=dict(reversed(factors.at.items()))))
    for place in PLACES:
        assert torch.equal(one[place].right, other[place].right)


def test_untrained_mend_steps_against_the_normalised_gradient(structure: Structure, factors: GradientFactors) -> None:
    network = MENDNetwork(structure, rank=3, step_size=0.5)
    network.observe(factors)
    change, found = network(factors)[2, "W_in"], factors.at[2, "W_in"]
    rows = observed(factors, "W_in")
    x, delta = (
        (part[0][found.kept[0]] - rows[name].mean(0)) / (rows[name].std(0) + 1e-7)
        for name, part in (("x", found.x), ("delta", found.delta))
    )
    torch.testing.assert_close(change.left[0].T @ change.right[0], -0.5 * x.T @ delta, rtol=0, atol=1e-12)


def test_untrained_mend_has_a_gradient_although_its_inner_part_is_zero(
    structure: Structure, factors: GradientFactors
) -> None:
    network = MENDNetwork(structure, rank=3, step_size=0.5)
    network.observe(factors)
    sum(change.left.sum() + change.right.square().sum() for change in network(factors).values()).backward()
    for name, parameter in network.named_parameters():
        # `down` and `scale` are multiplied by `up`, which is zero at first.
        stays = name.endswith(("down", "scale"))
        assert (parameter.grad is None or not parameter.grad.any()) is stays, name


def test_an_edit_does_not_move_the_statistics(structure: Structure, factors: GradientFactors) -> None:
    network = MENDNetwork(structure, rank=3, step_size=0.5)
    network.observe(factors)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network(factors)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_ke_equals_its_definition_and_has_one_rank_more_than_tokens(
    structure: Structure, factors: GradientFactors
) -> None:
    network = shaken(KnowledgeEditorNetwork(structure, width=3, hidden=5, step_size=1.0))
    network.requires_grad_(False)
    changes = network(factors)
    condition = network.condition(factors.embedded, factors.mask)
    for layer, name in PLACES:
        found, head = factors.at[layer, name], network.heads[f"{layer}:{name}"]
        d_in, d_out = found.x.shape[-1], found.delta.shape[-1]
        for i in range(len(found.x)):
            raw = head.last(torch.tanh(head.inner(condition[i])))
            row_a, col_a, row_b, col_b, gate = raw.split((d_in, d_out, d_in, d_out, 1))
            gradient = found.x[i].T @ found.delta[i]
            masked = gradient * torch.outer(d_in * row_a.softmax(0), col_a)
            expected = gate.sigmoid() * (masked + torch.outer(d_in * row_b.softmax(0), col_b))
            delta = changes[layer, name].delta(i)
            torch.testing.assert_close(delta.dense(), expected, rtol=0, atol=1e-10)
            assert delta.rank == int(found.kept[i].sum()) + 1
            assert torch.linalg.matrix_rank(expected, rtol=1e-9) == delta.rank


def test_ke_reads_no_padding(gpt2: Any, structure: Structure, factors: GradientFactors) -> None:
    network = shaken(KnowledgeEditorNetwork(structure, width=3, hidden=5, step_size=1.0))
    both = network(factors)
    for i, pair in enumerate(pairs_of(gpt2)):
        alone = network(gradient_factors(as_surface(gpt2), PLACES, TargetRows.of([pair])))
        for place in PLACES:
            torch.testing.assert_close(both[place].delta(i).dense(), alone[place].delta(0).dense(), rtol=0, atol=1e-10)


def test_matrices_of_different_shapes_are_refused(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    surface = as_surface(gpt2)
    shapes = {2: torch.zeros(3, 4), 3: torch.zeros(3, 5)}
    monkeypatch.setattr(surface, "parameter", lambda *place: shapes[place[0]])
    with pytest.raises(EditError, match="must have matrices of one shape"):
        Structure.of(surface, PLACES)
