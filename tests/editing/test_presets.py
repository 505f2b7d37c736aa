"""Published settings, checked against the released hyper-parameter files."""

import pytest

from lens_rome.editing import EMMET, MEMIT, ROME, RROME, AlphaEdit, ValueSettings, preset
from lens_rome.editing.presets import EDITORS
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


def test_the_presets_over_several_layers_are_the_published_settings() -> None:
    value = ValueSettings(steps=20, clamp=0.75)
    assert preset("MEMIT", "gpt2-xl") == MEMIT((13, 14, 15, 16, 17), value=value, weight=20000.0, prepend_bos=False)
    assert preset("EMMET", "gpt2-xl") == EMMET((17,), value=value, weight=1000.0, ridge=0.1, prepend_bos=False)
    alpha = AlphaEdit((13, 14, 15, 16, 17), value=value, threshold=2e-2, penalty=10.0, prepend_bos=False)
    assert preset("alphaedit", "gpt2-xl") == alpha
    longer = ValueSettings(steps=25, clamp=0.75)
    for name, weight in (("MEMIT", 15000.0), ("EMMET", 1.0)):
        found = preset(name, "EleutherAI/gpt-j-6B")
        assert found.value == longer and found.weight == weight
    assert preset("MEMIT", "gpt-j-6b").layers == (3, 4, 5, 6, 7, 8)


@pytest.mark.parametrize("editor", EDITORS)
def test_every_editor_has_a_preset_for_the_bundled_model(editor: str) -> None:
    assert preset(editor, "atlas").name == editor


def test_an_editor_without_settings_for_a_model_is_refused_with_those_that_have() -> None:
    with pytest.raises(EditError, match="no preset of MEMIT for 'gpt2-medium'; there are ROME, p-ROME, R-ROME"):
        preset("MEMIT", "gpt2-medium")


def test_unknown_names_are_refused_with_what_there_is() -> None:
    with pytest.raises(EditError, match=r"gpt2-xl.*own settings instead"):
        preset("ROME", "gpt5")
    with pytest.raises(EditError, match="there are presets for ROME"):
        preset("GRACE", "gpt2-xl")
