"""Settings and requests that MEMIT, EMMET and AlphaEdit cannot use: one clear error each, the model as it was."""

from typing import Any

import pytest
import torch

from lens_rome.editing import EMMET, MEMIT, ROME, AlphaEdit, SameFactWarning, ValueSettings
from lens_rome.errors import EditError, FactError, MomentError, SingularSystemError, SurfaceError
from lens_rome.facts import EditRequest
from lens_rome.moments import SecondMoments
from tests.editing.support import CONTEXTS, NO_PROBE, REQUEST, random_moment
from tests.helpers import Case, assert_untouched

pytestmark = pytest.mark.filterwarnings(NO_PROBE)

STEPS = {"value": ValueSettings(steps=2), "contexts": CONTEXTS}
OTHER = EditRequest(REQUEST.subject, REQUEST.template, "English")


@pytest.mark.parametrize("layers", [(), (2, 1), (1, 1), (-1, 0), (True, 2)], ids=str)
def test_layers_that_are_not_in_ascending_order_are_refused(layers: tuple[Any, ...]) -> None:
    with pytest.raises(EditError, match="ascending order"):
        MEMIT(layers)


def test_unknown_layers_are_refused(gpt2: Any) -> None:
    with assert_untouched(gpt2), pytest.raises(SurfaceError, match="layers 0 to 3"):
        MEMIT((2, 4), **STEPS).edit(gpt2, REQUEST, moments="identity")


def test_a_moment_that_is_missing_for_a_layer_is_named(gpt2: Any) -> None:
    moments = SecondMoments([random_moment(gpt2, 1)])
    with assert_untouched(gpt2), pytest.raises(MomentError, match=r"hold layers \[1\], the edit is at layer 2"):
        MEMIT((1, 2), **STEPS).edit(gpt2, REQUEST, moments=moments)


@pytest.mark.parametrize("editor", [MEMIT((1,)), EMMET((1,)), AlphaEdit((1,))], ids=lambda editor: editor.name)
def test_no_requests_are_refused(gpt2: Any, editor: Any) -> None:
    for call in (editor.edit, editor.edit_each):
        with pytest.raises(EditError, match="no requests"):
            call(gpt2, [], moments="identity")


def test_equality_refuses_one_fact_twice_and_names_the_pair(gpt2: Any) -> None:
    with assert_untouched(gpt2), pytest.raises(SingularSystemError, match=r"requests 0 .*founder.* and 2") as caught:
        EMMET((1,), **STEPS).edit(gpt2, [REQUEST, EditRequest("Rome", "{} is", "a"), OTHER], moments="identity")
    assert caught.value.pair == (0, 2)


def test_slack_writes_the_average_of_one_fact_twice_with_a_warning(gpt2: Any) -> None:
    with pytest.warns(SameFactWarning, match="about their average"):
        edit = MEMIT((1,), weight=1.0, **STEPS).edit(gpt2, [REQUEST, OTHER], moments=random_moment(gpt2))
    assert edit.rank == 2


def test_equality_names_requests_whose_keys_are_parallel(gpt2: Any) -> None:
    # Another relation, so another fact by name, but the same tokens up to the lookup: the same key.
    same_key = EditRequest(REQUEST.subject, "{} was born in", "Rome")
    with pytest.raises(SingularSystemError, match="founder of → French piano and Steve Jobs was born in → Rome"):
        EMMET((1,), **STEPS).edit(gpt2, [REQUEST, same_key], moments=random_moment(gpt2))


def test_a_threshold_that_protects_nothing_or_everything_is_refused(gpt2: Any) -> None:
    for threshold, told in ((1e9, "protects no direction"), (1e-9, "protects every direction")):
        with assert_untouched(gpt2), pytest.raises(EditError, match=told):
            AlphaEdit((1,), threshold=threshold, **STEPS).edit(gpt2, REQUEST, moments=random_moment(gpt2))


@pytest.mark.parametrize(
    ("editor", "settings"),
    [(MEMIT, {"weight": 0.0}), (EMMET, {"ridge": -1.0}), (EMMET, {"weight": -1.0}), (AlphaEdit, {"penalty": 0.0})],
)
def test_numbers_out_of_range_are_refused(editor: Any, settings: dict[str, float]) -> None:
    with pytest.raises(EditError, match=rf"{next(iter(settings))} must be a number"):
        editor((1,), **settings)


def test_another_place_for_the_residual_is_refused() -> None:
    with pytest.raises(EditError, match="'bare' or 'mean'"):
        MEMIT((1,), residual_at="last")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"starts": ("The", "")}, "starts are the words"),
        ({"context_length": 0}, "a number of tokens from 1"),
    ],
    ids=str,
)
def test_starts_and_lengths_that_make_no_prefix_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(EditError, match=told):
        MEMIT((1,), **settings)


def test_prefixes_that_do_not_fit_the_context_are_refused_before_they_are_sampled(gpt2: Any) -> None:
    for editor in (MEMIT((1,), context_length=4000), ROME(1, context_lengths=((4000, 1),))):
        with assert_untouched(gpt2), pytest.raises(FactError, match=r"prefixes of 400[01] tokens do not fit"):
            editor.edit(gpt2, REQUEST, moments="identity")


def test_a_value_without_length_is_refused(fresh_model: Any, gpt2_case: Case) -> None:
    model = fresh_model(gpt2_case)
    with torch.no_grad():
        for weight in (model.blocks[1].mlp.W_out, model.blocks[1].mlp.b_out):
            weight.zero_()
    with pytest.raises(EditError, match="has no length at a request's lookup"):
        ROME(1, contexts=("",)).edit(model, REQUEST, moments="identity")
