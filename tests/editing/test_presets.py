"""Published settings, checked against the released hyper-parameter files."""

import pytest

from lens_rome.editing import ROME, RROME, ValueSettings, preset
from lens_rome.errors import EditError

PUBLISHED = [
    ("gpt2-medium", 8, 3.0),
    ("gpt2-large", 12, 4.0),
    ("gpt2-xl", 17, 4.0),
    ("EleutherAI/gpt-j-6B", 5, 4.0),
    ("EleutherAI_gpt-j-6B", 5, 4.0),
    ("EleutherAI/gpt-neox-20b", 15, 4.0),
]


@pytest.mark.parametrize(("model", "layer", "clamp"), PUBLISHED)
@pytest.mark.parametrize(("name", "kind"), [("ROME", ROME), ("R-ROME", RROME), ("rome", ROME), ("rRome", RROME)])
def test_presets_are_the_published_settings(name: str, kind: type, model: str, layer: int, clamp: float) -> None:
    value = ValueSettings(steps=20, lr=0.5, weight_decay=0.5, kl_factor=0.0625, clamp=clamp, stop_loss=0.05)
    expected = kind(layer, value, "subject_last", context_lengths=((5, 10), (10, 10)), contexts=None, prepend_bos=False)
    found = preset(name, model)
    assert found == expected and type(found) is kind


def test_the_bundled_model_has_a_preset_that_follows_its_bos() -> None:
    assert preset("ROME", "atlas").prepend_bos is None


def test_unknown_names_are_refused_with_what_there_is() -> None:
    with pytest.raises(EditError, match=r"gpt2-xl.*Give ROME"):
        preset("ROME", "gpt5")
    with pytest.raises(EditError, match="there are presets for ROME"):
        preset("GRACE", "gpt2-xl")
