"""Erasing and noised objectives: the search, the keys and the edits equal their definition written as a loop."""

import math
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch

from lens_rome.editing import MEMIT, Objective, Value, ValueSettings
from lens_rome.editing.key import read_keys
from lens_rome.editing.requests import target_probabilities
from lens_rome.editing.row_groups import SearchRow, group_rows
from lens_rome.editing.rows import prompt_rows, target_rows
from lens_rome.editing.search import Search, find_values
from lens_rome.errors import EditError
from lens_rome.facts import EditRequest
from lens_rome.moments import SecondMoments
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
        row_of(model.tokenizer, before, request.template, request.subject, text, "subject_last", surface.prepends_bos())
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
    return value_by_loop(model, LAYER, rows, kl_row, erase=objective.erase, place=PLACES[kind], **asdict(settings))


def moments_of(model: Any) -> SecondMoments:
    return SecondMoments([random_moment(model, layer, layer) for layer in (0, LAYER)])


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
        "total": expected.totals,
        "nll": expected.nlls,
        "kl": expected.kls,
        "weight_decay": expected.decays,
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
    layers, moments = (0, 1), moments_of(gpt2)
    editor = MEMIT(layers, weight=3.0, value=SHORT, contexts=CONTEXTS, objective=NOISED, residual_at=residual_at)
    with assert_untouched(gpt2):
        edit = editor.edit(gpt2, MANY[:2], moments=moments)
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


@pytest.mark.parametrize("level", [0.0, 0.4])
def test_noise_is_part_of_what_is_measured_and_none_is_bit_for_bit_none(gpt2: Any, level: float) -> None:
    silent, plain = Objective(noise=level, noise_seed=3), Objective()
    surface, same = as_surface(gpt2), level == 0
    values = [found_value(gpt2, each) for each in (silent, plain)]
    assert torch.equal(values[0].delta, values[1].delta) == same
    rows = [prompt_rows(surface, REQUEST, CONTEXTS, "subject_last", None, each) for each in (silent, plain)]
    keys = [found.keys for found in read_keys(surface, rows, LAYER)]
    assert torch.equal(*keys) == same
    probs = [target_probabilities(surface, [REQUEST], None, each) for each in (silent, plain)]
    assert (probs[0] == probs[1]) == same
    edits = [quick_rome(objective=each).edit(gpt2, REQUEST, moments="identity") for each in (silent, plain)]
    assert torch.equal(dense(edits[0]), dense(edits[1])) == same


@pytest.mark.parametrize("name", OBJECTIVES)
def test_draws_and_results_do_not_depend_on_the_other_requests(gpt2: Any, name: str) -> None:
    surface, objective = as_surface(gpt2), OBJECTIVES[name]
    for request, found in zip(MANY, find_values(surface, MANY, search(objective)), strict=True):
        alone = found_value(gpt2, objective, request=request)
        torch.testing.assert_close(found.delta, alone.delta, rtol=0, atol=1e-9 * float(1 + alone.delta.norm()))
    several = target_probabilities(surface, MANY, None, objective)
    alone = [target_probabilities(surface, [request], None, objective)[0] for request in MANY]
    assert several == pytest.approx(alone, rel=1e-12)


def test_a_row_has_the_same_noise_with_and_without_its_target_and_none_beside_its_subject(gpt2: Any) -> None:
    surface = as_surface(gpt2)
    bare, spoken = (make(surface, MANY[2], CONTEXTS, "last", None, NOISED) for make in (prompt_rows, target_rows))
    assert len({float(row.noise.norm()) for row in bare}) == len(CONTEXTS)
    for row, same in zip(bare, spoken, strict=True):
        assert torch.equal(row.noise, same.noise)
        first, after = row.subject
        assert gpt2.tokenizer.decode(list(row.tokens[first:after])).strip() == MANY[2].subject
        assert row.noise.shape == (after - first, surface.d_model)


def test_the_seed_of_the_noise_makes_a_difference(gpt2: Any) -> None:
    other = replace(NOISED, noise_seed=8)
    probs = [target_probabilities(as_surface(gpt2), [REQUEST], None, each) for each in (NOISED, NOISED, other)]
    assert probs[0] == probs[1] != probs[2]


def test_rows_that_stay_keep_their_noise_under_owner_hooks(gpt2: Any) -> None:
    surface = as_surface(gpt2)
    longer = EditRequest(REQUEST.subject, "{} was for a long time, as all people say, the founder of", "it")
    both = [target_rows(surface, each, [""], "subject_last", None, NOISED)[0] for each in (REQUEST, longer)]
    deltas = torch.zeros(2, surface.d_model, dtype=torch.float64)
    with gpt2.hooks(fwd_hooks=[("blocks.2.hook_resid_post", lambda activation, hook: activation)]):  # noqa: ARG005
        (group,) = group_rows(surface, Site(LAYER, "value"), [SearchRow(i, row) for i, row in enumerate(both)])
        kept = group.keep(torch.tensor([True, False]))
        assert kept is not None and len(kept.rows) == 1
        found, whole = kept.read(deltas).logprobs, group.read(deltas)
    torch.testing.assert_close(found, whole.logprobs[whole.owners == 0], rtol=0, atol=1e-12)


def test_rows_that_stay_keep_their_values(gpt2: Any) -> None:
    surface = as_surface(gpt2)
    rows = [SearchRow(i, target_rows(surface, each, [""], "subject_last", None)[0]) for i, each in enumerate(MANY)]
    for group in group_rows(surface, Site(LAYER, "value"), rows):
        wanted = torch.tensor([False, True, False])
        kept = group.keep(wanted)
        expected = group.values[wanted[group.owners]]
        assert (kept is None) == (len(expected) == 0)
        if kept is not None:
            assert len(group.values) > len(kept.values)
            assert torch.equal(kept.values, expected)


ALONE = {"value": ValueSettings(steps=8, kl_factor=0.0, weight_decay=0.0), "contexts": ("",)}


@pytest.mark.parametrize("editor", [quick_rome(**ALONE), MEMIT((0, 1), weight=1e-3, **ALONE)], ids=["ROME", "MEMIT"])
def test_to_erase_lowers_the_probability_and_to_write_does_not(gpt2: Any, editor: Any) -> None:
    with torch.no_grad():
        logits = gpt2(torch.tensor([as_surface(gpt2).encode(REQUEST.prompt).ids]))[0, -1]
    likely = [gpt2.tokenizer.decode([token]) for token in logits.topk(20).indices.tolist()]
    (said, *_) = [text.strip() for text in likely if text[:1] == " " and text[1:].isalpha()]
    request = EditRequest(REQUEST.subject, REQUEST.template, said)
    erased, written = (
        replace(editor, objective=each).edit(gpt2, request, moments=moments_of(gpt2)).provenance["diagnostics"][0]
        for each in (OBJECTIVES["erase"], Objective())
    )
    assert erased["prob_after"] < 0.5 * erased["prob_before"]
    assert written["prob_after"] > 2 * erased["prob_after"]


def test_an_erasing_search_takes_every_step_and_its_loss_is_the_probability(gpt2: Any) -> None:
    found = found_value(gpt2, OBJECTIVES["erase"], settings=ValueSettings(steps=3, stop_loss=1e3))
    assert len(found.losses) == 3
    for step in found.losses:
        assert step["total"] == pytest.approx(math.exp(-step["nll"]) + step["kl"] + step["weight_decay"], rel=1e-12)


def test_an_edit_knows_its_objective(gpt2: Any) -> None:
    edit = quick_rome(objective=OBJECTIVES["both"]).edit(gpt2, REQUEST, moments="identity")
    assert edit.provenance["settings"]["objective"] == {"erase": True, "noise": 0.4, "noise_seed": 7}


@pytest.mark.parametrize("noise", [-0.1, math.nan, math.inf])
def test_a_noise_that_is_no_deviation_is_refused(noise: float) -> None:
    with pytest.raises(EditError, match="noise is a standard deviation"):
        Objective(noise=noise)
