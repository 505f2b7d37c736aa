"""What `import lens_rome` offers: few names, all documented, the model always first."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import lens_rome
from lens_rome.errors import LensRomeError

PROMISED = {
    "AlphaEdit",
    "EMMET",
    "MEMIT",
    "Edit",
    "EditRequest",
    "EvalRecord",
    "EvalReport",
    "Fact",
    "LensRomeError",
    "ROME",
    "RROME",
    "SecondMoments",
    "TraceResult",
    "collect_moments",
    "evaluate",
    "load_atlas",
    "load_model",
    "preset",
    "trace",
}
"""Names that other people build on; one may be added here, none taken away."""

FUNCTIONS = [name for name in lens_rome.__all__ if inspect.isroutine(getattr(lens_rome, name, None))]


def test_the_promised_names_are_there() -> None:
    assert set(lens_rome.__all__) >= PROMISED


def test_all_is_without_repeats_and_under_forty() -> None:
    assert len(lens_rome.__all__) == len(set(lens_rome.__all__)) < 40


@pytest.mark.parametrize("name", lens_rome.__all__)
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    value = getattr(lens_rome, name)
    assert inspect.getdoc(value), f"{name} has no docstring"


def test_names_that_are_not_in_all_are_modules_or_private() -> None:
    for name, value in vars(lens_rome).items():
        assert name.startswith("_") or name in lens_rome.__all__ or inspect.ismodule(value), name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_that_takes_a_model_takes_it_first(name: str) -> None:
    assert model_is_first(getattr(lens_rome, name))


def test_methods_that_take_a_model_take_it_first() -> None:
    for kind in (lens_rome.ROME, lens_rome.RROME, lens_rome.Edit):
        for name, method in inspect.getmembers(kind, inspect.isfunction):
            assert name.startswith("_") or model_is_first(method), f"{kind.__name__}.{name}"


def model_is_first(function: Callable[..., Any]) -> bool:
    parameters = [item for item in inspect.signature(function).parameters.values() if item.name not in ("self", "cls")]
    # `preset(method, model)` takes a model's name, which is no model.
    names = [item.name for item in parameters if item.annotation is not str]
    return "model" not in names or names[0] == "model"


def test_every_error_is_of_the_package_and_a_builtin() -> None:
    errors = [value for name, value in vars(lens_rome.errors).items() if name.endswith("Error")]
    assert len(errors) > 5
    for error in errors:
        assert issubclass(error, LensRomeError)
        assert error is LensRomeError or issubclass(error, ValueError | LookupError | ImportError), error
        assert not issubclass(error, KeyError)  # which prints a repr


def test_the_version_is_a_version() -> None:
    assert lens_rome.__version__.count(".") == 2
