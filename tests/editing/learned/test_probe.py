"""A learned editor takes its own model on any surface and in any precision, edited or not, and no other."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lens_rome.errors import EditMismatchError
from lens_rome.surface import as_surface
from tests.editing.learned.support import REQUEST, fitted, quick_mend
from tests.helpers import SURFACES, Case, assert_untouched, skip_without_hooked


@pytest.fixture(scope="module")
def trained_on(shared_model: Any) -> Callable[[str], Any]:
    """`trained_on("llama")`: a MEND trained on the raw model's bridge in float64, made once."""
    made: dict[str, Any] = {}

    def get(architecture: str) -> Any:
        if architecture not in made:
            made[architecture] = fitted(quick_mend(steps=1, validate_every=1), shared_model(Case(architecture)))
        return made[architecture]

    return get


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gptj", "neox"])
def test_the_same_raw_weights_are_taken_on_both_surfaces_and_in_other_precisions(
    trained_on: Any, fresh_model: Any, architecture: str, surface: str, dtype: torch.dtype
) -> None:
    skip_without_hooked(surface)
    model = fresh_model(Case(architecture, surface, dtype=dtype))
    with assert_untouched(model):
        trained_on(architecture)._check(as_surface(model))


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_folded_norms_are_refused(trained_on: Any, shared_model: Any, architecture: str, surface: str) -> None:
    # Llama's embeddings are not centred: they are the same with folded norms.
    skip_without_hooked(surface)
    found = r"embeddings" if architecture == "gpt2" else r"input of W_in of layer 2"
    with pytest.raises(EditMismatchError, match=found + r"\. Weight processing \(folded norms, centring\) makes"):
        trained_on(architecture).edit(shared_model(Case(architecture, surface, processed=True)), REQUEST)


def test_other_attention_weights_are_refused(trained_on: Any, fresh_model: Any) -> None:
    model = fresh_model(Case("gpt2"))
    with torch.no_grad():
        as_surface(model).parameter(1, "W_O").neg_()
    with pytest.raises(EditMismatchError, match=r"differs from it: logits"):
        trained_on("gpt2").edit(model, REQUEST)


def test_too_few_layers_are_refused(trained_on: Any, shared_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = shared_model(Case("gpt2"))
    monkeypatch.setattr(model.cfg, "n_layers", 2)
    with pytest.raises(EditMismatchError, match="number of layers"):
        trained_on("gpt2").edit(model, REQUEST)


def test_edits_of_mlps_however_large_and_hooks_are_not_seen(trained_on: Any, fresh_model: Any) -> None:
    model = fresh_model(Case("gpt2", dtype=torch.float32))
    surface = as_surface(model)
    with torch.no_grad():
        for layer in range(surface.n_layers):
            for name in ("W_in", "W_out", "b_out"):
                surface.parameter(layer, name).mul_(-3.0)
    model.hook_dict["blocks.0.hook_resid_pre"].add_hook(lambda activation, **_: 0 * activation)
    trained_on("gpt2")._check(surface)
