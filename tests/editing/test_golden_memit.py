"""MEMIT's updates equal those of the released code, given the same prefixes and the same moment."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from lens_rome.editing import MEMIT, ValueSettings
from lens_rome.facts import EditRequest
from lens_rome.moments import MomentOrigin, SecondMoment, SecondMoments
from lens_rome.surface import load_model
from tests.editing.support import NO_PROBE
from tests.helpers import GOLDEN, skip_without_hooked

SETTINGS = json.loads((GOLDEN / "golden.json").read_text())["memit"]
ARRAYS = np.load(GOLDEN / "golden.npz", allow_pickle=False)


def golden_edit(surface: str) -> Any:
    skip_without_hooked(surface)
    contexts = tuple(context.replace("{}", "") for own in SETTINGS["contexts"] for context in own)
    requests = [
        EditRequest(each["subject"], each["prompt"], each["target_new"]["str"].strip()) for each in SETTINGS["requests"]
    ]
    total = torch.tensor(ARRAYS["moment"]).double()
    moments = [SecondMoment(layer, total, 1, MomentOrigin("golden", None)) for layer in SETTINGS["layers"]]
    value = ValueSettings(
        steps=SETTINGS["v_num_grad_steps"],
        lr=SETTINGS["v_lr"],
        weight_decay=SETTINGS["v_weight_decay"],
        kl_factor=SETTINGS["kl_factor"],
        clamp=SETTINGS["clamp_norm_factor"],
    )
    layers = tuple(SETTINGS["layers"])
    weight = SETTINGS["mom2_update_weight"]
    editor = MEMIT(layers, value=value, contexts=contexts, prepend_bos=False, weight=weight)
    return editor.edit(load_model(GOLDEN / "model", surface), requests, moments=SecondMoments(moments))


@pytest.mark.filterwarnings(NO_PROBE)
@pytest.mark.parametrize("surface", ["hooked", "bridge"])
def test_the_updates_of_all_layers_equal_the_released_codes(surface: str) -> None:
    edit = golden_edit(surface)
    for layer in SETTINGS["layers"]:
        expected = ARRAYS[f"memit.layer{layer}.keys"] @ ARRAYS[f"memit.layer{layer}.residuals"].T
        found = edit.deltas[layer, "W_out"].dense().numpy()
        # The searches run in float32, and twenty steps of Adam amplify its rounding.
        assert np.linalg.norm(found - expected) < 1e-4 * np.linalg.norm(expected)
