"""The figures that an edit carries, each against its formula."""

from typing import Any

import pytest
import torch

from lens_rome.editing import compute_value
from lens_rome.surface import as_surface
from tests.editing.support import (
    CONTEXTS,
    DISABLING,
    LAYER,
    NO_PROBE,
    REQUEST,
    SHORT,
    dense,
    keys_of,
    quick_rome,
    quick_rrome,
    random_moment,
)
from tests.helpers import Case
from tests.oracles.editing import row_of

pytestmark = [pytest.mark.filterwarnings(NO_PROBE), pytest.mark.filterwarnings(DISABLING)]


def joint_probability(model: Any) -> float:
    """Of the request's target after the bare prompt, by a plain run."""
    bos = as_surface(model).prepends_bos()
    row = row_of(model.tokenizer, "", REQUEST.template, REQUEST.subject, REQUEST.target_new, "last", bos)
    probs = model(torch.tensor([[*row.prompt, *row.target]])).detach()[0].softmax(-1)
    product = 1.0
    for i, token in enumerate(row.target):
        product *= float(probs[row.lookup + i, token])
    return product


def test_probabilities_before_and_after_are_those_of_the_plain_and_the_edited_model(
    any_model: Any, any_case: Case
) -> None:
    edit = quick_rome().edit(any_model, REQUEST, moments=random_moment(any_model))
    report = edit.provenance["diagnostics"][0]
    assert report["prob_before"] == pytest.approx(joint_probability(any_model), rel=1e3 * any_case.tolerance)
    with edit.applied(any_model):
        assert report["prob_after"] == pytest.approx(joint_probability(any_model), rel=1e3 * any_case.tolerance)


def test_sizes_and_angles_follow_their_formulas(gpt2: Any) -> None:
    moment = random_moment(gpt2)
    edit = quick_rome().edit(gpt2, REQUEST, moments=moment)
    report = edit.provenance["diagnostics"][0]
    keys = keys_of(gpt2, CONTEXTS).keys
    # a and c: averaged and bare key in the metric of the inverse moment.
    eigenvalues, basis = torch.linalg.eigh(moment.mean)
    whiten = basis @ torch.diag(eigenvalues**-0.5) @ basis.T
    a, c = whiten @ keys.mean(0), whiten @ keys[0]
    cosine = float(torch.cosine_similarity(a, c, dim=0))
    assert report["key_energy"] == pytest.approx(float(a @ a), rel=1e-9)
    assert report["overshoot"] == pytest.approx(float(a.norm() / c.norm()) / abs(cosine), rel=1e-9)
    expected_angle = float(torch.rad2deg(torch.tensor(cosine, dtype=torch.float64).acos()))
    # The angle itself is computed in single precision.
    assert report["key_angle_degrees"] == pytest.approx(expected_angle, rel=1e-4)
    weight = as_surface(gpt2).weight(LAYER).detach()
    assert report["relative_norm"] == pytest.approx(float(dense(edit).norm() / weight.norm()), rel=1e-9)
    value = compute_value(gpt2, REQUEST, LAYER, CONTEXTS, SHORT)
    assert report["delta_norm"] == pytest.approx(float(value.delta.norm()), rel=1e-12)
    assert report["condition"] == moment.condition


def test_the_two_editors_differ_in_size_by_the_overshoot(gpt2: Any) -> None:
    moment = random_moment(gpt2)
    rome = quick_rome().edit(gpt2, REQUEST, moments=moment)
    keys = keys_of(gpt2, CONTEXTS)
    # R-ROME with the same residual: its own differs where the averaged output is not the bare prompt's.
    direction = moment.solve(keys.keys.mean(0))
    delta = compute_value(gpt2, REQUEST, LAYER, CONTEXTS, SHORT).delta
    consistent = torch.outer(direction, delta) / (direction @ keys.keys.mean(0))
    overshoot = rome.provenance["diagnostics"][0]["overshoot"]
    assert float(dense(rome).norm() / consistent.norm()) == pytest.approx(overshoot, rel=1e-9)


def test_rrome_reports_what_it_moves_the_averaged_key_by(gpt2: Any) -> None:
    edit = quick_rrome().edit(gpt2, REQUEST, moments=random_moment(gpt2))
    report = edit.provenance["diagnostics"][0]
    keys = keys_of(gpt2, CONTEXTS)
    moved = keys.keys.mean(0) @ dense(edit)
    assert report["overshoot"] == pytest.approx(float(moved.norm()) / report["delta_norm"], rel=1e-9)
    target = compute_value(gpt2, REQUEST, LAYER, CONTEXTS, SHORT).target
    torch.testing.assert_close(keys.values.mean(0) + moved, target, rtol=0, atol=1e-9)
