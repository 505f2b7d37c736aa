"""Commands run in this process, on the golden model: six layers, random weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from lens_rome.cli import app
from lens_rome.moments import SecondMoments, collect_moments
from lens_rome.surface import load_model
from tests.helpers import GOLDEN

Run = Callable[..., Result]

MODEL = str(GOLDEN / "model")
FACT = ("--subject", "Eiffel Tower", "--template", "The {} is in the city")
EDIT = (*FACT, "--target-new", "E", "--target-true", "A", "--layer", "1", "--tokens", "3")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("trace", ...)`: a command in an empty folder, wide enough that no line is broken."""
    monkeypatch.chdir(tmp_path)

    def invoke(*args: object) -> Result:
        return CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "160"}, prog_name="lens-rome")

    return invoke


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """A small corpus; the golden tokenizer makes about one token of two characters."""
    words = (GOLDEN / "README.md").read_text(encoding="utf-8").split()
    return [" ".join(words[start : start + 8]) for start in range(len(words) - 8)]


@pytest.fixture(scope="session")
def moments_file(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> Path:
    """Moments of layer 1 of the golden model."""
    model = load_model(MODEL)
    found: SecondMoments = collect_moments(model, [1], texts, tokens=2000, progress=False)
    return found.save(tmp_path_factory.mktemp("moments") / "moments.safetensors")
