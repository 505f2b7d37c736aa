"""Fine-tuning by the fast path equals the released loop of full forwards, on every architecture and surface."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch

from lens_rome.editing import Edit, Objective
from lens_rome.editing.finetune import FineTune
from lens_rome.facts import EditRequest
from lens_rome.surface import as_surface, position_free
from tests.conftest import LoadModel
from tests.editing.support import LAYER, OTHER_REQUEST, REQUEST
from tests.helpers import Case, skip_without_hooked
from tests.oracles.tuning import Tuned, tune_by_loop, tuning_row

THIRD = EditRequest("The Space Needle", "{} is in the city of", "Rome")
MANY = [REQUEST, OTHER_REQUEST, THIRD]
"""Prompts and targets of different lengths."""
SHORT = FineTune((LAYER,), ("W_out",), steps=4, stop_loss=0.0)


def oracle(
    model: Any, editor: FineTune, requests: Sequence[EditRequest] = (REQUEST,), owner_hooks: Sequence[Any] = ()
) -> Tuned:
    bos = as_surface(model).prepends_bos(editor.prepend_bos)
    rows = [tuning_row(model.tokenizer, each.template, each.subject, each.target_new, bos) for each in requests]
    told = asdict(replace(editor))
    for name in ("layers", "parameters", "prepend_bos"):
        told.pop(name)
    told |= told.pop("objective")
    places = [(layer, name) for layer in editor.layers for name in editor.parameters]
    return tune_by_loop(model, rows, places, owner_hooks=owner_hooks, **told)


def totals(edit: Edit) -> list[float]:
    return [step["total"] for step in edit.provenance["losses"][0]]


def assert_same(edit: Edit, expected: Tuned, case: Case) -> None:
    exact = case.tolerance == 1e-12
    # Adam divides a gradient by its size plus 1e-8, so that rounding (1e-17) of one near zero grows a few thousandfold.
    # Where the surface casts to float32 inside, a gradient of 1e-8 is half rounding, and Adam's step of it too: only
    # the change as a whole can be compared.
    assert totals(edit) == pytest.approx(expected.losses, rel=0, abs=1e-9 if exact else 1e-4)
    assert edit.deltas.keys() == expected.changes.keys()
    for place, change in expected.changes.items():
        found = edit.deltas[place].dense()
        assert float(change.norm()) > 0, place
        if exact:
            torch.testing.assert_close(found, change, rtol=0, atol=1e-10)
        else:
            assert float((found - change).norm()) <= 1e-2 * float(change.norm())


def test_one_request_equals_the_oracle_on_every_model(raw_model: Any, raw_case: Case) -> None:
    assert_same(SHORT.edit(raw_model, REQUEST), oracle(raw_model, SHORT), raw_case)


def test_several_layers_and_requests_with_a_bound_equal_the_oracle_on_every_model(
    raw_model: Any, raw_case: Case
) -> None:
    editor = replace(SHORT, layers=(1, 2), parameters=("W_in", "W_out"), norm_bound=1e-3, batch=2)
    assert_same(editor.edit(raw_model, MANY), oracle(raw_model, editor, MANY), raw_case)


VARIANTS = {
    "biases": replace(SHORT, parameters=("W_out", "b_out")),
    "the first layer": replace(SHORT, layers=(0,)),
    "the last layer": replace(SHORT, layers=(3,)),
    "summed": replace(SHORT, reduction="sum"),
    "minibatches": replace(SHORT, batch=2),
    "summed minibatches": replace(SHORT, batch=2, reduction="sum"),
    "one at a time": replace(SHORT, batch=1),
    "last position": replace(SHORT, loss="last"),
    "decay": replace(SHORT, weight_decay=0.5),
    "no BOS": replace(SHORT, prepend_bos=False),
    "erase": replace(SHORT, objective=Objective(erase=True), stop_loss=0.0, lr=1e-3),
    "noise": replace(SHORT, objective=Objective(noise=0.3, noise_seed=7), repeats=3),
    "noise, summed minibatches": replace(SHORT, objective=Objective(noise=0.3), repeats=2, reduction="sum", batch=2),
    "skipped minibatches": replace(SHORT, batch=1, stop_loss=6.0, lr=1e-3, steps=6),
    "ends early": replace(SHORT, stop_loss=5.5, lr=2e-3, steps=20),
    "ends late": replace(SHORT, stop_loss=5.5, lr=2e-3, steps=20, patience=5),
    "embeddings": FineTune.embeddings(steps=5),
}


# One surface is enough where only the fit differs; the tests above have both.
TOLD = [("bridge", name) for name in VARIANTS]
TOLD += [("hooked", name) for name in ("the last layer", "minibatches", "last position", "noise", "embeddings")]


@pytest.mark.parametrize(("surface", "name"), TOLD)
def test_every_setting_equals_the_oracle(shared_model: LoadModel, surface: str, name: str) -> None:
    case, editor = Case("gpt2", surface), VARIANTS[name]
    model = shared_model(case)
    edit, expected = editor.edit(model, MANY), oracle(model, editor, MANY)
    assert_same(edit, expected, case)
    assert len(totals(edit)) == len(expected.losses)


def test_a_whole_fit_of_25_steps_equals_the_oracle(gpt2: Any, gpt2_case: Case) -> None:
    editor = FineTune((LAYER,), norm_bound=5e-3)
    edit = editor.edit(gpt2, REQUEST)
    assert len(totals(edit)) == 25
    assert_same(edit, oracle(gpt2, editor), gpt2_case)


def test_owner_hooks_that_look_at_positions_take_part(gpt2: Any, gpt2_case: Case) -> None:
    def dim_the_start(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
        scale = torch.ones(activation.shape[1], dtype=activation.dtype)
        scale[:3] = 0.5
        return activation * scale[None, :, None]

    hooks = [(name, dim_the_start) for name in ("blocks.0.hook_resid_post", "ln_final.hook_normalized")]
    plain = SHORT.edit(gpt2, REQUEST)
    with gpt2.hooks(fwd_hooks=hooks):
        found = SHORT.edit(gpt2, REQUEST)
    assert_same(found, oracle(gpt2, SHORT, owner_hooks=hooks), gpt2_case)
    assert abs(totals(found)[0] - totals(plain)[0]) > 1e-4


def test_steps_run_from_the_first_edited_block_on(gpt2: Any) -> None:
    def runs(steps: int) -> list[int]:
        calls: list[int] = []

        def count(activation: torch.Tensor, hook: Any) -> None:  # noqa: ARG001
            calls.append(int(hook.name.split(".")[1]))

        watched = [(f"blocks.{layer}.hook_resid_pre", position_free(count)) for layer in range(4)]
        with gpt2.hooks(fwd_hooks=watched):
            replace(SHORT, layers=(2,), steps=steps).edit(gpt2, REQUEST)
        return [calls.count(layer) for layer in range(4)]

    assert [after - before for before, after in zip(runs(1), runs(8), strict=True)] == [0, 0, 7, 7]


@pytest.mark.parametrize("architecture", ["gpt2", "gptj", "neox"])
def test_parameters_that_lie_otherwise_in_memory_are_fitted_alike_on_both_surfaces(
    shared_model: LoadModel, architecture: str
) -> None:
    # On the bridge they are transposed, split from a fused matrix, or both.
    skip_without_hooked("hooked")
    editor = replace(SHORT, parameters=("W_Q", "W_K", "W_V", "W_O", "W_in"))
    hooked, bridge = (editor.edit(shared_model(Case(architecture, name)), REQUEST) for name in ("hooked", "bridge"))
    for place, delta in hooked.deltas.items():
        change = delta.dense()
        assert float((bridge.deltas[place].dense() - change).norm()) <= 1e-2 * float(change.norm()), place
