"""MEMIT, EMMET and AlphaEdit equal their definition written as a loop, on every architecture and surface."""

from typing import Any

import pytest
import torch

from lens_rome.editing import EMMET, MEMIT, AlphaEdit, ValueSettings
from lens_rome.editing.search import Search, find_values
from lens_rome.editing.spread import SpreadEditor
from lens_rome.facts import EditRequest
from lens_rome.moments import SecondMoments
from lens_rome.surface import Site, as_surface
from tests.editing.support import CONTEXTS, NO_PROBE, OTHER_REQUEST, REQUEST, random_moment
from tests.helpers import Case, assert_untouched
from tests.oracles.editing import row_of
from tests.oracles.memit import spread_by_loop

pytestmark = pytest.mark.filterwarnings(NO_PROBE)

LAYERS = (0, 1, 2)
REQUESTS = [REQUEST, OTHER_REQUEST, EditRequest("The Space Needle", "{} is in the city of", "Rome")]
STEPS = {"value": ValueSettings(steps=4, clamp=0.75), "contexts": CONTEXTS}
EDITORS = {
    "MEMIT": MEMIT(LAYERS, weight=3.0, **STEPS),
    "mean residual": MEMIT(LAYERS, weight=3.0, residual_at="mean", **STEPS),
    "EMMET": EMMET(LAYERS, **STEPS),
    "EMMET's code": EMMET((1,), weight=2.0, ridge=0.4, moment_ridge=0.3, **STEPS),
    "AlphaEdit": AlphaEdit(LAYERS, threshold=8.0, penalty=0.5, **STEPS),
}


def moments_of(model: Any) -> SecondMoments:
    return SecondMoments([random_moment(model, layer, seed=layer) for layer in range(as_surface(model).n_layers)])


def by_definition(editor: SpreadEditor, moments: SecondMoments, n: int) -> Any:
    """The published expression of each editor, transposed."""

    def solve(layer: int, keys: torch.Tensor, residuals: torch.Tensor) -> torch.Tensor:
        c, k, eye = moments[layer].mean, keys.T, torch.eye(keys.shape[1], dtype=torch.float64)
        if isinstance(editor, MEMIT):
            return torch.linalg.inv(editor.weight * c + k @ k.T) @ k @ residuals
        if isinstance(editor, EMMET):
            g = torch.linalg.inv(editor.weight * c + editor.moment_ridge * eye)
            ridge = editor.ridge * torch.eye(n, dtype=torch.float64) if n > 1 else 0
            return g @ k @ torch.linalg.inv(k.T @ g @ k + ridge) @ residuals
        assert isinstance(editor, AlphaEdit)
        sizes, vectors = torch.linalg.eigh(c)
        free = vectors[:, sizes < editor.threshold]
        p = free @ free.T
        return torch.linalg.solve(p @ k @ k.T + editor.penalty * eye, p @ k @ residuals)

    return solve


def expected(model: Any, editor: SpreadEditor, requests: list[EditRequest], moments: SecondMoments) -> Any:
    surface = as_surface(model)
    search = Search(Site(editor.layers[-1], "resid_post"), CONTEXTS, editor.value)
    targets = torch.stack([value.target for value in find_values(surface, requests, search)]).double()
    bos = surface.prepends_bos()
    rows = [
        [row_of(model.tokenizer, before, each.template, each.subject, "", "subject_last", bos) for before in CONTEXTS]
        for each in requests
    ]
    solve = by_definition(editor, moments, len(requests))
    saved = {layer: model.blocks[layer].mlp.W_out.detach().clone() for layer in editor.layers}
    try:
        return spread_by_loop(model, editor.layers, rows, targets, solve, editor.residual_at == "mean")
    finally:
        with torch.no_grad():
            for layer, weight in saved.items():
                model.blocks[layer].mlp.W_out.copy_(weight)


@pytest.mark.parametrize("name", EDITORS)
def test_every_editor_equals_its_definition(gpt2: Any, gpt2_case: Case, name: str) -> None:
    check(gpt2, gpt2_case, name)


def test_memit_equals_its_definition_on_every_architecture(raw_model: Any, raw_case: Case) -> None:
    check(raw_model, raw_case, "MEMIT")


def check(model: Any, case: Case, name: str) -> None:
    editor, moments = EDITORS[name], moments_of(model)
    with assert_untouched(model):
        edit = editor.edit(model, REQUESTS, moments=moments)
    changes = expected(model, editor, REQUESTS, moments)
    assert [layer for layer, _ in edit.deltas] == list(editor.layers)
    for layer, change in changes.items():
        found = edit.deltas[layer, "W_out"].dense()
        loose = 1e4 * case.tolerance * float(change.norm())
        torch.testing.assert_close(found, change, rtol=0, atol=loose)
        assert float(change.norm()) > 1e-3


def test_independent_edits_are_what_each_request_gives_alone(gpt2: Any) -> None:
    editor, moments = EDITORS["MEMIT"], moments_of(gpt2)
    for request, edit in zip(REQUESTS, editor.edit_each(gpt2, REQUESTS, moments=moments), strict=True):
        alone = editor.edit(gpt2, request, moments=moments)
        for place, delta in alone.deltas.items():
            size = float(delta.norm())
            torch.testing.assert_close(edit.deltas[place].dense(), delta.dense(), rtol=0, atol=1e-8 * size)
        assert edit.provenance["requests"] == alone.provenance["requests"]


def test_the_order_of_the_requests_does_not_matter(gpt2: Any) -> None:
    editor, moments = EDITORS["MEMIT"], moments_of(gpt2)
    there, back = (editor.edit(gpt2, each, moments=moments) for each in (REQUESTS, REQUESTS[::-1]))
    for place, delta in there.deltas.items():
        torch.testing.assert_close(back.deltas[place].dense(), delta.dense(), rtol=0, atol=1e-8 * float(delta.norm()))


def test_diagnostics_tell_what_each_layer_wrote(gpt2: Any) -> None:
    edit = EDITORS["MEMIT"].edit(gpt2, REQUESTS, moments=moments_of(gpt2))
    for told, keys in zip(edit.provenance["diagnostics"], edit.keys[0], strict=True):
        assert set(told["written"]) == set(told["missing"]) == {"0", "1", "2"}
        assert all(0 < share < 1.5 for share in told["written"].values())
        assert 0 <= told["prob_before"] <= 1 and 0 <= told["prob_after"] <= 1
        assert float(keys.norm()) > 0
    assert {layer: len(keys) for layer, keys in edit.keys.items()} == {0: 3, 1: 3, 2: 3}


def test_a_single_key_gets_the_share_that_theory_gives_it(gpt2: Any) -> None:
    editor, moments = MEMIT((1,), weight=3.0, **STEPS), moments_of(gpt2)
    edit = editor.edit(gpt2, REQUEST, moments=moments)
    (key,) = edit.keys[1]
    energy = float(key @ moments[1].solve(key))
    (told,) = edit.provenance["diagnostics"]
    assert told["written"]["1"] == pytest.approx(energy / (3.0 + energy), rel=1e-9)


def test_equality_reaches_the_target_at_the_averaged_key_of_one_layer(gpt2: Any) -> None:
    editor, moments = EMMET((1,), **STEPS), moments_of(gpt2)
    edit = editor.edit(gpt2, REQUESTS, moments=moments)
    assert [told["written"]["1"] for told in edit.provenance["diagnostics"]] == pytest.approx([1, 1, 1], rel=1e-8)


def test_what_a_moment_remembers_of_an_edit_is_left_alone_by_the_next(gpt2: Any) -> None:
    moments = moments_of(gpt2)
    first = EDITORS["MEMIT"].edit(gpt2, REQUEST, moments=moments)
    weak = SecondMoments([random_moment(gpt2, layer, layer) for layer in range(3)])
    editor = MEMIT((1,), weight=0.01, **STEPS)
    plain, kept = (editor.edit(gpt2, OTHER_REQUEST, moments=each) for each in (weak, weak.conditioned(first)))
    moved = [float((first.keys[1] @ edit.deltas[1, "W_out"].dense()).norm()) for edit in (plain, kept)]
    assert moved[1] < 0.2 * moved[0]
    assert kept.provenance["metric"]["1"]["kind"] == "conditioned"


def test_a_residual_is_spread_evenly_where_nothing_answers_to_the_edits(fresh_model: Any, gpt2_case: Case) -> None:
    # With nothing but the edits written above the first edited MLP, what a layer writes arrives at the last as it is.
    model = fresh_model(gpt2_case)
    with torch.no_grad():
        for layer in LAYERS:
            for weight in (model.blocks[layer].mlp.W_out, model.blocks[layer].mlp.b_out):
                weight.zero_()
            if layer > 0:
                for weight in (model.blocks[layer].attn.W_O, model.blocks[layer].attn.b_O):
                    weight.zero_()
    settings = {"value": ValueSettings(steps=4, clamp=0.75), "contexts": ("",)}
    edit = EMMET(LAYERS, **settings).edit(model, REQUESTS, moments=moments_of(model))
    for told in edit.provenance["diagnostics"]:
        whole = told["missing"]["0"]
        assert whole == pytest.approx(told["delta_norm"], rel=1e-9)
        assert [told["missing"][str(layer)] / whole for layer in LAYERS] == pytest.approx([1, 2 / 3, 1 / 3], rel=1e-6)
