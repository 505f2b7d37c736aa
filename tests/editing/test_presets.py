"""Published settings, checked against the released hyper-parameter files."""

import pytest

from lens_rome.atlas.bundled import load_atlas_model
from lens_rome.editing import (
    EMMET,
    MEMIT,
    ROME,
    RROME,
    AlphaEdit,
    ErrorInjection,
    FineTune,
    ValueSettings,
    preset,
    problem_preset,
)
from lens_rome.editing.presets import EDITORS
from lens_rome.errors import EditError
from lens_rome.facts import EditRequest
from tests.helpers import SURFACES, skip_without_hooked

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


def test_the_presets_of_the_baselines_are_the_published_settings() -> None:
    assert preset("FT", "gpt2-xl") == FineTune((1,), lr=5e-4, steps=25, norm_bound=None, prepend_bos=False)
    for model, bound in (("gpt2-xl", 5e-4), ("gpt-j-6b", 5e-5), ("gpt2-medium", 2e-3), ("gpt2-large", 1e-3)):
        assert preset("FT+L", model) == FineTune((0,), lr=5e-4, steps=25, norm_bound=bound, prepend_bos=False)
    assert preset("KN", "gpt2-xl").faithful


@pytest.mark.parametrize(
    ("model", "layer", "bounds"), [("EleutherAI/gpt-j-6b", 5, (1e-4, 2e-5)), ("gpt2-xl", 17, (1e-3, 1e-4))]
)
def test_the_windows_of_fine_tuning_are_the_published_ones_of_ordinary_edits(
    model: str, layer: int, bounds: tuple[float, float]
) -> None:
    for name, width, bound in zip(("FT-1", "ft-5"), (1, 5), bounds, strict=True):
        around = tuple(range(layer - width // 2, layer + width // 2 + 1))
        expected = FineTune(around, norm_bound=bound, reduction="sum", patience=5, prepend_bos=False)
        assert preset(name, model) == expected
        assert preset(name, model) == problem_preset(ErrorInjection(), name.upper(), model)


def test_fine_tuning_of_a_whole_block_is_memit_s_baseline_without_the_norms() -> None:
    found = preset("FT-W", "gpt-j-6b")
    parameters = ("W_in", "b_in", "W_out", "b_out", "W_Q", "W_K", "W_V", "W_O")
    assert found == FineTune((21,), parameters, lr=5e-4, steps=25, norm_bound=None, weight_decay=0, prepend_bos=False)


@pytest.mark.parametrize("editor", EDITORS)
def test_every_editor_has_a_preset_for_the_bundled_model(editor: str) -> None:
    # Windows and whole blocks are settings of fine-tuning, with a bound (FT+L) or without.
    kinds = {"FT-1": "FT+L", "FT-5": "FT+L", "FT-W": "FT"}
    assert preset(editor, "atlas").name == kinds.get(editor, editor)


@pytest.mark.parametrize(("editor", "count"), [("FT-1", 2), ("FT-5", 8), ("FT-W", 12)])
@pytest.mark.parametrize("surface", SURFACES)
def test_the_windows_of_fine_tuning_edit_the_bundled_model(surface: str, editor: str, count: int) -> None:
    skip_without_hooked(surface)
    model = load_atlas_model(surface)
    request = EditRequest("Eiffel Tower", "The {} is in the city of", "Rome", "Paris")
    edit = preset(editor, "atlas").edit(model, request)
    assert len(edit.deltas) == count
    assert edit.provenance["diagnostics"][0]["prob_after"] > 0.5


def test_a_window_that_was_not_published_is_refused_with_what_there_is() -> None:
    with pytest.raises(EditError, match="no preset of FT-W for 'gpt2-xl'; there are ROME"):
        preset("FT-W", "gpt2-xl")
    with pytest.raises(EditError, match="no preset of FT-5 for 'gpt2-medium'; there are ROME"):
        preset("FT-5", "gpt2-medium")


def test_an_editor_without_settings_for_a_model_is_refused_with_those_that_have() -> None:
    with pytest.raises(EditError, match="no preset of MEMIT for 'gpt2-medium'; there are ROME, p-ROME, R-ROME"):
        preset("MEMIT", "gpt2-medium")


def test_unknown_names_are_refused_with_what_there_is() -> None:
    with pytest.raises(EditError, match=r"gpt2-xl.*own settings instead"):
        preset("ROME", "gpt5")
    with pytest.raises(EditError, match="there are presets for ROME"):
        preset("GRACE", "gpt2-xl")


def test_a_trained_editor_has_no_preset_and_the_error_says_how_it_is_made() -> None:
    with pytest.raises(EditError, match=r"no presets for editor 'MEND'.*train one with its fit"):
        preset("MEND", "atlas")
