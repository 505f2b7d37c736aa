"""Gradient factors by hooks are the gradient of the weights, and changes by hooks are changes of the weights."""

from typing import Any

import pytest
import torch

from lens_rome.editing import Edit
from lens_rome.editing.learned.changes import Change, changed_run
from lens_rome.editing.learned.gradients import gradient_factors
from lens_rome.editing.learned.rows import TargetRows
from lens_rome.errors import SurfaceError
from lens_rome.surface import as_surface
from tests.editing.learned.support import PLACES, pairs_of, random_changes
from tests.helpers import Case, assert_untouched
from tests.oracles.learned import nll_by_loop, weight_gradient


def test_the_factors_multiply_to_the_gradient_of_the_weight_on_every_model(raw_model: Any, raw_case: Case) -> None:
    surface, pairs = as_surface(raw_model), pairs_of(raw_model)
    found = gradient_factors(surface, PLACES, TargetRows.of(pairs))
    for place in PLACES:
        factors, shape = found.at[place], surface.parameter(*place).shape
        for i, (prompt, target) in enumerate(pairs):
            expected = weight_gradient(raw_model, surface.leaf(*place), shape, prompt, target)
            assert float(expected.norm()) > 1e-3
            product = factors.x[i].T @ factors.delta[i]
            torch.testing.assert_close(product, expected, rtol=0, atol=100 * raw_case.tolerance)
            kept = factors.kept[i]
            torch.testing.assert_close(factors.x[i][kept].T @ factors.delta[i][kept], product, rtol=0, atol=1e-12)


def test_padding_and_the_target_s_last_token_are_not_kept(gpt2: Any) -> None:
    pairs = pairs_of(gpt2)
    found = gradient_factors(as_surface(gpt2), PLACES, TargetRows.of(pairs))
    lengths = [len(prompt) + len(target) for prompt, target in pairs]
    assert lengths[0] != lengths[1]
    for factors in found.at.values():
        for i, length in enumerate(lengths):
            assert not factors.kept[i, length - 1 :].any()
    # What the last matrix writes before the prompt's last token is read by nobody.
    last = found.at[3, "W_out"].kept
    assert last.sum(1).tolist() == [len(target) for _, target in pairs]


def test_a_request_s_factors_do_not_depend_on_the_others(gpt2: Any, gpt2_case: Case) -> None:
    surface, pairs = as_surface(gpt2), pairs_of(gpt2)
    both = gradient_factors(surface, PLACES, TargetRows.of(pairs))
    for i, pair in enumerate(pairs):
        alone = gradient_factors(surface, PLACES, TargetRows.of([pair]))
        assert alone.logprobs[0] == pytest.approx(both.logprobs[i], abs=1e-10)
        for place in PLACES:
            length = alone.at[place].x.shape[1]
            one, same = alone.at[place].delta[0], both.at[place].delta[i, :length]
            torch.testing.assert_close(one, same, rtol=0, atol=10 * gpt2_case.tolerance)


def test_the_likelihoods_are_those_of_single_runs(gpt2: Any) -> None:
    pairs = pairs_of(gpt2)
    rows = TargetRows.of(pairs)
    with torch.no_grad():
        found = rows.nll(as_surface(gpt2).run(rows.tokens))
        expected = [float(nll_by_loop(gpt2, *pair)) for pair in pairs]
    assert found.tolist() == pytest.approx(expected, abs=1e-10)


def test_reading_gradients_leaves_the_model_as_it_was(gpt2: Any) -> None:
    for parameter in list(gpt2.parameters())[::2]:
        parameter.requires_grad_(False)
    with assert_untouched(gpt2), torch.no_grad():
        gradient_factors(as_surface(gpt2), PLACES, TargetRows.of(pairs_of(gpt2)))
    gpt2.requires_grad_(True)


def test_weights_that_are_not_finite_are_named(fresh_model: Any) -> None:
    model = fresh_model(Case("gpt2"))
    with torch.no_grad():
        as_surface(model).weight(0)[0, 0] = float("nan")
    with pytest.raises(SurfaceError, match="not finite"):
        gradient_factors(as_surface(model), PLACES, TargetRows.of(pairs_of(model)))


def test_every_row_runs_under_the_change_of_its_own_request(raw_model: Any, raw_case: Case) -> None:
    surface, pairs = as_surface(raw_model), pairs_of(raw_model)
    rows, changes, request = TargetRows.of([*pairs, pairs[0]]), random_changes(surface, 2), (0, 1, 1)
    with torch.no_grad():
        base = surface.run(rows.tokens)
        found = changed_run(surface, rows.tokens, changes, request)
    for row, i in enumerate(request):
        edit = Edit.made_for(surface, {place: change.delta(i) for place, change in changes.items()}, {})
        with edit.applied(raw_model), torch.no_grad():
            expected = surface.run(rows.tokens[row : row + 1])[0]
        real = rows.mask[row]
        torch.testing.assert_close(found[row][real], expected[real], rtol=0, atol=100 * raw_case.tolerance)
        assert float((base[row] - found[row])[real].abs().max()) > 1e-2


def test_gradients_reach_the_factors_of_a_change_and_no_parameter(gpt2: Any) -> None:
    surface, rows = as_surface(gpt2), TargetRows.of(pairs_of(gpt2))
    changes = random_changes(surface, 2)
    leaves = [factor.requires_grad_() for change in changes.values() for factor in (change.left, change.right)]
    with assert_untouched(gpt2):
        rows.nll(changed_run(surface, rows.tokens, changes, (0, 1))).sum().backward()
    assert all(float(leaf.grad.norm()) > 0 for leaf in leaves)
    assert all(parameter.grad is None for parameter in gpt2.parameters())


def test_the_gradient_of_a_change_takes_the_way_through_later_changes_too(gpt2: Any) -> None:
    surface, rows = as_surface(gpt2), TargetRows.of(pairs_of(gpt2))
    changes = random_changes(surface, 2, size=0.3)
    lower, step = changes[2, "W_in"], 1e-6

    def loss(shift: torch.Tensor) -> torch.Tensor:
        moved = {**changes, (2, "W_in"): Change(lower.left + shift, lower.right)}
        return rows.nll(changed_run(surface, rows.tokens, moved, (0, 1))).sum()

    direction = torch.randn(lower.left.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    shift = torch.zeros_like(lower.left, requires_grad=True)
    loss(shift).backward()
    with torch.no_grad():
        slope = (loss(step * direction) - loss(-step * direction)) / (2 * step)
    assert float((shift.grad * direction).sum()) == pytest.approx(float(slope), rel=1e-5)
