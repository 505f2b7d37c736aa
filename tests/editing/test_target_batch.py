"""Batches of prompts with targets: resumed runs equal whole ones, and output that is not finite is an error."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from lens_rome.editing import Objective
from lens_rome.editing.finetune import FineTune
from lens_rome.editing.requests import target_probabilities
from lens_rome.editing.rows import target_rows
from lens_rome.editing.target_batch import TargetBatch
from lens_rome.errors import EditError, SurfaceError
from lens_rome.facts import EditRequest
from lens_rome.surface import as_surface
from tests.conftest import LoadModel
from tests.editing.support import LAYER, REQUEST
from tests.helpers import Case, assert_untouched

NOISED = Objective(noise=0.4, noise_seed=7)
LONGER = EditRequest("The Space Needle", "In all these years, {} is in the city of", "Rome")
TUNE = FineTune((LAYER,), steps=3, stop_loss=0.0)


@pytest.mark.parametrize("objective", [None, NOISED], ids=["plain", "noised"])
@pytest.mark.parametrize("order", [1, -1], ids=["short row first", "long row first"])
def test_resumed_runs_equal_whole_ones(raw_model: Any, raw_case: Case, objective: Objective | None, order: int) -> None:
    surface = as_surface(raw_model)
    rows = [target_rows(surface, each, [""], "last", None, objective)[0] for each in (REQUEST, LONGER)][::order]
    assert len({len(row.tokens) for row in rows}) == 2
    with torch.no_grad():
        expected = TargetBatch(surface, rows, None).logprobs()
        found = TargetBatch(surface, rows, LAYER).logprobs()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=100 * raw_case.tolerance)


def broken(fresh_model: LoadModel, case: Case) -> Any:
    """A model with one NaN in a weight of block 2."""
    model = fresh_model(case)
    with torch.no_grad():
        as_surface(model).parameter(2, "W_out")[0, 0] = torch.nan
    return model


def test_probabilities_of_a_broken_model_are_an_error(fresh_model: LoadModel, gpt2_case: Case) -> None:
    model = broken(fresh_model, gpt2_case)
    with assert_untouched(model), pytest.raises(SurfaceError, match=r"output is not finite.*Reload the weights"):
        target_probabilities(as_surface(model), [REQUEST], None)


@pytest.mark.parametrize("objective", [Objective(), NOISED], ids=["plain", "noised"])
def test_a_fit_of_a_broken_model_blames_the_model_and_one_that_diverges_the_fit(
    fresh_model: LoadModel, gpt2: Any, gpt2_case: Case, objective: Objective
) -> None:
    model = broken(fresh_model, gpt2_case)
    with assert_untouched(model), pytest.raises(SurfaceError, match="Reload the weights"):
        replace(TUNE, objective=objective).edit(model, REQUEST)
    with assert_untouched(gpt2), pytest.raises(EditError, match=r"weights diverged\. Lower lr"):
        replace(TUNE, objective=objective, lr=1.7e308).edit(gpt2, REQUEST)
