"""The names of places in a model."""

from typing import Any

import pytest
import torch

from lens_rome.errors import SurfaceError
from lens_rome.surface import Site, as_surface
from lens_rome.surface.site import SITE_KINDS
from tests.helpers import Case

WIDTH = {"gpt2": 128, "gptj": 128, "neox": 96, "llama": 80}


def test_every_site_is_a_hook_point_of_its_width(any_model: Any, any_case: Case) -> None:
    surface = as_surface(any_model)
    absent = {"resid_mid": surface.parallel, "pre": any_case.architecture == "llama"}
    kinds = [kind for kind in SITE_KINDS if not absent.get(kind)]
    sites = [Site(1, kind) for kind in kinds]
    found = surface.read(torch.arange(6)[None], sites)
    for site in sites:
        width = WIDTH[any_case.architecture] if site.kind in ("pre", "key") else 32
        # The heads of `z` stand apart or, on raw bridges, side by side.
        assert found[site].flatten(2).shape == (1, 6, width), site


def test_a_site_prints_as_layer_and_kind_and_sorts_by_layer() -> None:
    assert str(Site(5, "mlp_out")) == "L5.mlp_out"
    assert sorted([Site(2, "key"), Site(1, "value")])[0] == Site(1, "value")


def test_an_unknown_site_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(SurfaceError, match="unknown site 'mlp'; the sites are resid_pre, resid_mid"):
        Site(0, "mlp")


@pytest.mark.parametrize("layer", [-1, 4])
def test_a_layer_that_does_not_exist_is_refused(gpt2: Any, layer: int) -> None:
    with pytest.raises(SurfaceError, match=f"layer {layer} does not exist: the model has layers 0 to 3"):
        as_surface(gpt2).hook_name(Site(layer, "key"))


def test_parallel_blocks_have_no_resid_mid(raw_model: Any, raw_case: Case) -> None:
    surface = as_surface(raw_model)
    if raw_case.architecture in ("gpt2", "llama"):
        assert surface.hook_name(Site(1, "resid_mid")) == "blocks.1.hook_resid_mid"
    else:
        with pytest.raises(SurfaceError, match=r"it has no resid_mid\. Use resid_pre"):
            surface.hook_name(Site(1, "resid_mid"))


@pytest.mark.parametrize("surface", ["hooked", "bridge"])
def test_a_gated_mlp_has_no_value_before_its_nonlinearity(shared_model: Any, surface: str) -> None:
    with pytest.raises(SurfaceError, match="has no value before a nonlinearity"):
        as_surface(shared_model(Case("llama", surface))).hook_name(Site(1, "pre"))
