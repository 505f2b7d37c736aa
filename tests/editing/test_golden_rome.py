"""ROME's updates equal those of the released code, given the same prefixes and the same moment."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from lens_rome.editing import ROME
from lens_rome.facts import EditRequest
from lens_rome.moments import MomentOrigin, SecondMoment
from lens_rome.surface import load_model
from tests.editing.support import NO_PROBE
from tests.helpers import GOLDEN, skip_without_hooked

pytestmark = pytest.mark.filterwarnings(NO_PROBE)

SETTINGS = json.loads((GOLDEN / "golden.json").read_text())
ARRAYS = np.load(GOLDEN / "golden.npz", allow_pickle=False)


@pytest.fixture(scope="module")
def golden_model() -> Callable[[str], Any]:
    loaded: dict[str, Any] = {}

    def load(surface: str) -> Any:
        skip_without_hooked(surface)
        if surface not in loaded:
            loaded[surface] = load_model(GOLDEN / "model", surface)
        return loaded[surface]

    return load


@pytest.mark.filterwarnings("ignore::lens_rome.editing.DisablingEditWarning")
@pytest.mark.parametrize("surface", ["hooked", "bridge"])
@pytest.mark.parametrize("case", SETTINGS["rome"], ids=lambda case: case["name"])
def test_the_update_equals_the_released_codes(golden_model: Callable, case: dict[str, Any], surface: str) -> None:
    contexts = tuple(context.replace("{}", "") for context in SETTINGS["contexts"])
    request = EditRequest(case["subject"], case["prompt"], case["target_new"].strip())
    moment = SecondMoment(case["layer"], torch.tensor(ARRAYS["moment"]).double(), 1, MomentOrigin("golden", None))
    editor = ROME(case["layer"], contexts=contexts, prepend_bos=False)
    edit = editor.edit(golden_model(surface), request, moments=moment)
    losses = [step["total"] for step in edit.provenance["losses"][0]]
    # The file has three decimals.
    assert losses == pytest.approx(case["losses"], rel=0, abs=1.5e-3)
    expected = np.outer(ARRAYS[f"{case['name']}.u"], ARRAYS[f"{case['name']}.v"])
    found = edit.deltas[case["layer"], "W_out"].dense().numpy()
    # Both searches run in float32, and twenty steps of Adam amplify its rounding.
    assert np.linalg.norm(found - expected) < 1e-4 * np.linalg.norm(expected)
