"""The methods of the study: their layers, their settings, and what is none."""

import pytest

from lens_rome.editing import ROME, ErrorInjection, FactErasure, TracingReversal
from lens_rome.errors import EditError
from lens_rome.studies.localization import Method, study_methods


def test_windows_lie_around_the_layer_and_end_with_the_model() -> None:
    methods = {method.name: method for method in study_methods("atlas")}
    assert methods["MEMIT"].at(ErrorInjection(), 4, 8).layers == (2, 3, 4, 5, 6)
    assert methods["FT-5"].at(ErrorInjection(), 7, 8).layers == (5, 6, 7)
    assert methods["FT-1"].at(ErrorInjection(), 7, 8).layers == (7,)
    assert methods["ROME"].at(ErrorInjection(), 3, 8).layer == 3


def test_published_settings_differ_by_problem() -> None:
    (tuned,) = study_methods("gpt-j-6b", ("FT-1",))
    assert tuned.at(ErrorInjection(), 9, 28).norm_bound == 1e-4
    assert tuned.at(FactErasure(), 9, 28).norm_bound == 1e-5
    assert tuned.at(FactErasure(), 9, 28).layers == (9,)
    (xl,) = study_methods("gpt2-xl", ("FT-1",))
    assert xl.at(TracingReversal(0.1), 9, 48).norm_bound == xl.at(ErrorInjection(), 9, 48).norm_bound  # none published


def test_methods_need_a_layer_to_be_put_at() -> None:
    with pytest.raises(EditError, match="has none to set"):
        Method("mine", object())
    with pytest.raises(EditError, match="its width is 1; got 5"):
        Method("ROME", ROME(0), 5)
    with pytest.raises(EditError, match=r"which divides the ids of rows; got 'FT\|1'"):
        Method("FT|1", ROME(0))
    with pytest.raises(EditError, match="no method 'KN'"):
        study_methods("atlas", ("KN",))
    with pytest.raises(EditError, match="no preset for model 'mine'"):
        study_methods("mine")
