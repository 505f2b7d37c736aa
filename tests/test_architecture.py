"""A folder is a layer, imports only point down, and the outside libraries stay where they belong."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lens_rome"

LAYERS = {
    "errors": 0,
    "_typing": 0,
    "_files": 0,
    "_installed": 0,
    "_warnings": 0,
    "_linalg": 0,
    "surface": 1,
    "runs": 1,
    "facts": 2,
    "moments": 3,
    "tracing": 4,
    "editing": 4,
    "evaluation": 5,
    "datasets": 5,
    "atlas": 6,
    "plotting": 6,
    "studies": 7,
    "cli": 8,
}
"""The table of the design: folders (and modules of layer 0), from the ground up."""

ONLY_HERE = {"matplotlib": "plotting", "plotly": "plotting", "ray": "runs"}
"""Extras: the one folder that may import each, inside functions."""


@dataclass(frozen=True)
class Import:
    """One imported module, and where it stands."""

    module: str
    line: int
    inside_function: bool
    for_types_only: bool


def imports(source: str) -> Iterator[Import]:
    """Every import statement of a file, one entry a module; `from package import folder` gives `package.folder`."""

    def walk(node: ast.AST, inside: bool, types: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, inside, types) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            whole = module == "lens_rome"
            yield from (
                Import(f"{module}.{a.name}" if whole else module, node.lineno, inside, types) for a in node.names
            )
        types = types or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, inside, types)

    return walk(ast.parse(source), False, False)


def violations(folder: str, source: str) -> list[str]:
    """What a file of the package's top-level `folder` (or module) imports although it must not."""
    found = []
    for entry in imports(source):
        top, *rest = entry.module.split(".")
        if top == "" or top == "tests":
            found.append(f"line {entry.line}: {entry.module or 'relative import'}")
        elif top == "lens_rome":
            found += _upward(folder, rest[0] if rest else "", entry.line)
        elif top == "transformer_lens" and folder not in ("surface", "atlas"):
            found.append(f"line {entry.line}: transformer_lens outside surface/ and atlas/")
        elif top in ONLY_HERE and folder != ONLY_HERE[top]:
            found.append(f"line {entry.line}: {top} outside {ONLY_HERE[top]}/")
        elif top in ONLY_HERE and not (entry.inside_function or entry.for_types_only):
            found.append(f"line {entry.line}: {top} outside a function")
    return found


def _upward(folder: str, target: str, line: int) -> list[str]:
    here, there = LAYERS[folder], LAYERS.get(target)
    if target == folder or there == 0 == here:
        return []
    if there is None and folder == "cli":
        return []  # above everything that the package itself offers
    if there is None:  # the package itself (`import lens_rome`), or one of its public names
        return [f"line {line}: {folder} imports the package's front door; import from the folder"]
    return [] if there < here else [f"line {line}: {folder} (layer {here}) imports {target} (layer {there})"]


def files() -> list[Path]:
    found = sorted(PACKAGE.rglob("*.py"))
    assert found
    return [path for path in found if path != PACKAGE / "__init__.py"]


def top_level(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_what_its_layer_may(path: Path) -> None:
    assert top_level(path) in LAYERS, "give the new folder a layer in this test and in docs/concepts.md"
    assert violations(top_level(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("facts", "from lens_rome.tracing import trace"),
        ("facts", "from lens_rome import tracing"),
        ("facts", "import lens_rome.editing.rome"),
        ("facts", "def f():\n    from lens_rome.moments import SecondMoment"),
        ("facts", "if TYPE_CHECKING:\n    from lens_rome.evaluation import EvalReport"),
        ("facts", "from lens_rome import Fact"),
        ("facts", "import lens_rome"),
        ("tracing", "from lens_rome.editing import ROME"),
        ("editing", "from lens_rome.tracing import trace"),
        ("evaluation", "from lens_rome.datasets import read"),
        ("atlas", "from lens_rome.plotting import plot_trace"),
        ("atlas", "from lens_rome.cli import main"),
        ("plotting", "from lens_rome.atlas import load_atlas"),
        ("surface", "from lens_rome.runs import Run"),
        ("errors", "from lens_rome.surface import Site"),
        ("studies", "from lens_rome.cli import main"),
        ("tracing", "import transformer_lens"),
        ("tracing", "def f():\n    from transformer_lens.utils import x"),
        ("cli", "def f():\n    import matplotlib.pyplot as plt"),
        ("tracing", "import plotly.express as px"),
        ("plotting", "import matplotlib"),
        ("runs", "import ray"),
        ("tracing", "def f():\n    import ray"),
        ("plotting", "class C:\n    from plotly import graph_objects"),
        ("facts", "from . import fact"),
        ("facts", "from tests.helpers import FACTS"),
    ],
)
def test_a_planted_violation_is_found(folder: str, source: str) -> None:
    assert violations(folder, source)


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("tracing", "from lens_rome.surface import Site\nfrom lens_rome.facts import Fact\nimport torch"),
        ("tracing", "from lens_rome.tracing.grid import Window"),
        ("_files", "from lens_rome.errors import FileFormatError"),
        ("surface", "from transformer_lens import HookedTransformer"),
        (
            "atlas",
            "import transformer_lens\nfrom lens_rome.evaluation import evaluate\nfrom lens_rome.tracing import trace",
        ),
        ("plotting", "def f():\n    import matplotlib.figure"),
        (
            "plotting",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from plotly.graph_objects import Figure",
        ),
        ("cli", "from lens_rome.studies import x\nimport lens_rome as lr"),
    ],
)
def test_what_is_allowed_is_not_reported(folder: str, source: str) -> None:
    assert violations(folder, source) == []


def test_the_package_has_no_future_annotations_and_no_relative_machine_paths() -> None:
    for path in files():
        text = path.read_text(encoding="utf-8")
        assert "from __future__ import annotations" not in text, path  # shape checks need real annotations
        assert "../shared" not in text, path
