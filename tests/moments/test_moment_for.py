"""A moment that was collected for something else is refused before it can do harm."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lens_rome.editing import ROME
from lens_rome.errors import MomentError
from lens_rome.facts import EditRequest
from lens_rome.moments import SecondMoment, SecondMoments, collect_moments, moment_for
from lens_rome.surface import as_surface, load_model
from tests.helpers import GOLDEN, Case
from tests.moments.support import TEXTS, made_up_texts


@pytest.fixture
def moments(gpt2: Any) -> SecondMoments:
    return collect_moments(gpt2, [0, 1], TEXTS, progress=False)


def test_the_moment_of_the_layer_is_chosen(gpt2: Any, moments: SecondMoments) -> None:
    assert moment_for(as_surface(gpt2), 1, moments, True) is moments[1]
    assert moment_for(as_surface(gpt2), 0, moments[0], True) is moments[0]


def test_identity_is_used_only_by_name(gpt2: Any) -> None:
    moment = moment_for(as_surface(gpt2), 2, "identity", True)
    assert moment.layer == 2 and torch.equal(moment.mean, torch.eye(128, dtype=torch.float64))
    with pytest.raises(MomentError, match="pass SecondMoments, or 'identity'"):
        moment_for(as_surface(gpt2), 2, "identify", True)


def test_no_moment_is_refused_with_the_call_that_makes_one(gpt2: Any) -> None:
    with pytest.raises(MomentError, match=r"collect_moments\(model, 2, texts\).*moments='identity'"):
        moment_for(as_surface(gpt2), 2, None, True)


def test_another_layer_is_refused(gpt2: Any, moments: SecondMoments) -> None:
    for given in (moments, moments[0]):
        with pytest.raises(MomentError, match=r"the edit is at layer 2. Collect that layer"):
            moment_for(as_surface(gpt2), 2, given, True)


def test_another_width_is_refused(shared_model: Any, moments: SecondMoments) -> None:
    with pytest.raises(MomentError, match="128 wide, the model's W_out takes 96"):
        moment_for(as_surface(shared_model(Case("neox", "bridge"))), 1, moments, True)


def test_another_bos_setting_is_refused(gpt2: Any, moments: SecondMoments) -> None:
    with pytest.raises(MomentError, match="with prepend_bos=True, the edit uses False"):
        moment_for(as_surface(gpt2), 1, moments, False)


@pytest.mark.parametrize("prepend_bos", [True, False])
def test_another_model_of_the_same_shape_is_refused(gpt2: Any, prepend_bos: bool) -> None:
    other = load_model(GOLDEN / "model", as_surface(gpt2).name, dtype=torch.float64)
    moments = collect_moments(other, 1, TEXTS, prepend_bos=prepend_bos, progress=False)
    with pytest.raises(MomentError, match=r"not from this model: their keys.*Collect it again"):
        moment_for(as_surface(gpt2), 1, moments, prepend_bos)


def test_a_model_with_other_weights_and_the_same_context_is_refused(
    gpt2: Any, fresh_model: Any, gpt2_case: Case, moments: SecondMoments
) -> None:
    other = fresh_model(gpt2_case)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    with pytest.raises(MomentError, match=r"not from this model: their keys.*Collect it again"):
        moment_for(as_surface(other), 1, moments, True)
    assert moment_for(as_surface(gpt2), 1, moments, True) is moments[1]


def test_the_other_surface_processed_weights_and_single_precision_are_the_same_model(
    shared_model: Any, gpt2_case: Case, moments: SecondMoments
) -> None:
    others = [Case("gpt2", "bridge"), replace(gpt2_case, processed=True), replace(gpt2_case, dtype=torch.float32)]
    for case in others:
        assert moment_for(as_surface(shared_model(case)), 1, moments, True) is moments[1]


def test_a_moment_that_does_not_know_its_model_warns(gpt2: Any, moments: SecondMoments) -> None:
    unknown = replace(moments[1], probe=None)
    with pytest.warns(UserWarning, match="only its shape was checked") as caught:
        assert moment_for(as_surface(gpt2), 1, unknown, True) is unknown
    assert [Path(warning.filename) for warning in caught] == [Path(__file__)]


def test_editors_refuse_what_does_not_fit(gpt2: Any, moments: SecondMoments) -> None:
    request = EditRequest("Rome", "{} is a city in", "Spain")
    with pytest.raises(MomentError, match="Collect that layer"):
        ROME(2).edit(gpt2, request, moments=moments)
    with pytest.raises(MomentError, match="Collect it again or set the editor's prepend_bos"):
        ROME(1, prepend_bos=False).edit(gpt2, request, moments=moments)
    few = collect_moments(gpt2, 1, TEXTS[:2], progress=False)
    with pytest.raises(MomentError, match="collect about 1280"):
        ROME(1, contexts=("",)).edit(gpt2, request, moments=few)


@pytest.mark.filterwarnings("ignore::lens_rome.editing.DisablingEditWarning")
def test_a_collected_moment_serves_an_edit(gpt2: Any) -> None:
    moments = collect_moments(gpt2, 1, made_up_texts(200), tokens=2000, progress=False)
    assert isinstance(moments[1], SecondMoment)
    edit = ROME(1, contexts=("",)).edit(gpt2, EditRequest("Rome", "{} is a city in", "Spain"), moments=moments)
    assert edit.provenance["moment"]["count"] == moments[1].count
