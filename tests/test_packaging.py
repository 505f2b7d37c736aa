"""What is declared in one place agrees with what is declared in another."""

import re
import tomllib
from pathlib import Path

import pytest

import lens_rome

ROOT = Path(__file__).parent.parent
CONSTRAINTS = ["constraints.txt", "constraints-tl4.txt"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins(name: str) -> dict[str, str]:
    lines = [line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    return {_normal(line.split("==")[0]): line.split("==")[1] for line in lines}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_pin_every_dependency_to_a_public_version(name: str) -> None:
    wanted = [
        *PROJECT["dependencies"],
        *(item for extra in PROJECT["optional-dependencies"].values() for item in extra),
    ]
    names = {_normal(re.split(r"[\[<>=!~ ]", item)[0]) for item in wanted}
    assert names - set(pins(name)) == set()
    assert pins(name)["torch"] == "2.13.0"


def test_the_two_environments_differ_in_transformer_lens_alone() -> None:
    three, four = (pins(name) for name in CONSTRAINTS)
    assert three["transformer-lens"] == "3.9.0"
    assert four["transformer-lens"].startswith("4.")
    shared = (set(three) & set(four)) - {"transformer-lens"}
    assert {name for name in shared if three[name] != four[name]} == set()


def test_all_places_give_the_same_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert PROJECT["version"] == lens_rome.__version__
    assert re.search(r"^version: (\S+)$", citation, flags=re.MULTILINE)[1] == lens_rome.__version__  # type: ignore[index]


def test_public_names_are_under_forty_and_exist() -> None:
    assert len(lens_rome.__all__) < 40
    assert [name for name in lens_rome.__all__ if not hasattr(lens_rome, name)] == []


def once_only() -> list[Path]:
    """What the Makefile leaves out where the suite runs again on another TransformerLens."""
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [ROOT / name for name in re.search(r"^ONCE = (.*)$", lines, flags=re.MULTILINE)[1].split()]  # type: ignore[index]


def test_what_runs_once_only_is_there_and_makes_no_model_of_transformer_lens() -> None:
    models = r"\b(?:load_model|load_atlas|load_atlas_model|(?:fresh|shared|any|raw)_model|gpt2)\("
    asked = r"def test_\w+\([^)]*\b(?:fresh_model|shared_model|any_model|raw_model|gpt2)\b"
    files = [file for path in once_only() for file in (path.rglob("*.py") if path.is_dir() else [path])]
    assert all(file.is_file() for file in files) and len(files) > len(once_only())
    found = {file.name for file in files if re.search(f"{models}|{asked}", file.read_text(encoding="utf-8"))}
    assert found == {"test_plot_trace.py"}  # one real trace is drawn, as in the pages, which run again
