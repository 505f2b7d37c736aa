"""Erasing and noised objectives: the search, the keys and the edits equal their definition written as a loop."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch

from lens_rome.editing import MEMIT, ROME, Objective, Value, ValueSettings
from lens_rome.editing.key import read_keys
from lens_rome.editing.requests import target_probabilities
from lens_rome.editing.rows import prompt_rows, target_rows
from lens_rome.editing.search import Search, find_values
from lens_rome.errors import EditError
from lens_rome.facts import EditRequest
from lens_rome.surface import Site, as_surface
from tests.editing.support import (
    CONTEXTS,
    DISABLING,
    LAYER,
    NO_PROBE,
    OTHER_REQUEST,
    REQUEST,
    SHORT,
    dense,
    quick_rome,
    random_moment,
)
from tests.helpers import Case, assert_untouched
from tests.oracles.editing import Outcome, Row, noise_hooks, rome_by_inverse, row_of, value_by_loop, with_noise
from tests.oracles.memit import spread_by_loop

pytestmark = [pytest.mark.filterwarnings(NO_PROBE), pytest.mark.filterwarnings(DISABLING)]

NOISED = Objective(noise=0.4, noise_seed=7)
OBJECTIVES = {
    "erase": Objective(erase=True),
    "noise": NOISED,
    "both": Objective(erase=True, noise=0.4, noise_seed=7),
}
PLACES = {"value": "hook_mlp_out", "resid_post": "hook_resid_post"}
MANY = [REQUEST, OTHER_REQUEST, EditRequest("The Space Needle", "In all these years, {} is in the city of", "Rome")]


def oracle_rows(model: Any, request: EditRequest, objective: Objective, *, target: bool = True) -> list[Row]:
    """The prompt after every context, tokenised and noised by the oracle's own means."""
    surface = as_surface(model)
    text = request.target_new if target else ""
    rows = [
        row_of(
            model.tokenizer, before, request.template, request.subject, text, "subject_last", surface.prepends_bos()
        )
        for before in CONTEXTS
    ]
    return with_noise(rows, objective.noise, objective.noise_seed, surface.d_model) if objective.noise else rows


def oracle(model: Any, objective: Objective, kind: str, settings: ValueSettings) -> Outcome:
    surface = as_surface(model)
    bos = surface.prepends_bos()
    kl_row = row_of(model.tokenizer, "", "{} is a", REQUEST.subject, "", "subject_last", bos)
    if objective.noise:
        (kl_row,) = with_noise([kl_row], objective.noise, objective.noise_seed, surface.d_model)
    rows = oracle_rows(model, REQUEST, objective)
    return value_by_loop(
        model, LAYER, rows, kl_row, erase=objective.erase, place=PLACES[kind], **asdict(settings)
    )


def found_value(
    model: Any, objective: Objective, kind: str = "value", settings: ValueSettings = SHORT, request: Any = REQUEST
) -> Value:
    return find_values(as_surface(model), [request], search(objective, kind, settings))[0]


def search(objective: Objective, kind: str = "value", settings: ValueSettings = SHORT) -> Search:
    return Search(Site(LAYER, kind), CONTEXTS, settings, objective=objective)


def assert_same(found: Value, expected: Outcome, case: Case) -> None:
    # Adam divides each gradient by its own size, so rounding of small ones grows: three digits are left for that.
    loose = 1e3 * case.tolerance
    for name, values in {
        "total": expected.totals, "nll": expected.nlls, "kl": expected.kls, "weight_decay": expected.decays
    }.items():
        assert [losses[name] for losses in found.losses] == pytest.approx(values, rel=0, abs=loose), name
    size = max(float(expected.delta.norm()), 1)
    torch.testing.assert_close(found.delta, expected.delta, rtol=0, atol=loose * size)
    torch.testing.assert_close(found.initial, expected.initial, rtol=0, atol=10 * case.tolerance)
    assert found.prob_before == pytest.approx(expected.prob_before, rel=loose)


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_search_equals_the_oracle(gpt2: Any, gpt2_case: Case, kind: str, name: str) -> None:
    found = found_value(gpt2, OBJECTIVES[name], kind)
    assert_same(found, oracle(gpt2, OBJECTIVES[name], kind, SHORT), gpt2_case)
    assert len(found.losses) == SHORT.steps


def test_the_search_for_both_equals_the_oracle_on_every_architecture(raw_model: Any, raw_case: Case) -> None:
    found = found_value(raw_model, OBJECTIVES["both"])
    assert_same(found, oracle(raw_model, OBJECTIVES["both"], "value", SHORT), raw_case)


@pytest.mark.parametrize("name", ["noise", "both"])
def test_rome_reads_keys_and_value_under_the_noise_of_the_search(gpt2: Any, gpt2_case: Case, name: str) -> None:
    objective, moment, surface = OBJECTIVES[name], random_moment(gpt2), as_surface(gpt2)
    edit = quick_rome(objective=objective).edit(gpt2, REQUEST, moments=moment)
    keys = []
    for row in oracle_rows(gpt2, REQUEST, objective, target=False):
        with gpt2.hooks(fwd_hooks=noise_hooks(row)):
            _, cache = gpt2.run_with_cache(torch.tensor([row.prompt]))
        keys.append(cache[f"blocks.{LAYER}.mlp.hook_post"][0, row.lookup].detach())
    outcome = oracle(gpt2, objective, "value", SHORT)
    weight, bias = surface.weight(LAYER).detach().double(), surface.bias(LAYER).double()
    expected = rome_by_inverse(
        weight, bias, moment.mean, torch.stack(keys).double(), outcome.initial + outcome.delta, "ROME"
    )
    loose = 1e4 * gpt2_case.tolerance * float(expected.norm())
    torch.testing.assert_close(dense(edit), expected, rtol=0, atol=loose)
    plain = quick_rome(objective=replace(objective, noise=0.0)).edit(gpt2, REQUEST, moments=moment)
    assert (dense(edit) - dense(plain)).norm() > 0.01 * expected.norm()


@pytest.mark.parametrize("residual_at", ["bare", "mean"])
def test_memit_reads_keys_and_outputs_under_noise(gpt2: Any, gpt2_case: Case, residual_at: str) -> None:
    layers, moments = (0, 1), {layer: random_moment(gpt2, layer, layer) for layer in (0, 1)}
    editor = MEMIT(layers, weight=3.0, value=SHORT, contexts=CONTEXTS, objective=NOISED, residual_at=residual_at)
    with assert_untouched(gpt2):
        edit = editor.edit(gpt2, MANY[:2], moments=_several(moments))
    targets = [value.target for value in find_values(as_surface(gpt2), MANY[:2], search(NOISED, "resid_post"))]
    rows = [oracle_rows(gpt2, request, NOISED, target=False) for request in MANY[:2]]

    def solve(layer: int, keys: torch.Tensor, residuals: torch.Tensor) -> torch.Tensor:
        return torch.linalg.inv(3.0 * moments[layer].mean + keys.T @ keys) @ keys.T @ residuals

    saved = {layer: gpt2.blocks[layer].mlp.W_out.detach().clone() for layer in layers}
    try:
        changes = spread_by_loop(gpt2, layers, rows, torch.stack(targets).double(), solve, residual_at == "mean")
    finally:
        with torch.no_grad():
            for layer, weight in saved.items():
                gpt2.blocks[layer].mlp.W_out.copy_(weight)
    for layer, change in changes.items():
        loose = 1e4 * gpt2_case.tolerance * float(change.norm())
        torch.testing.assert_close(dense(edit, layer), change, rtol=0, atol=loose)
        assert float(change.norm()) > 1e-3


def _several(moments: dict[int, Any]) -> Any:
    from lens_rome.moments import SecondMoments

    return SecondMoments(list(moments.values()))
