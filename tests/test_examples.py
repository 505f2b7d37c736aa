"""The notebooks run from top to bottom, and the pages name only examples that there are."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def _name(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=_name)
def test_the_notebook_runs_from_top_to_bottom(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)
    # The notebook sets its own backend; Agg would hide its pictures.
    monkeypatch.delenv("MPLBACKEND", raising=False)
    book = nbformat.read(notebook, as_version=4)
    client = nbclient.NotebookClient(
        book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    assert all(cell.execution_count for cell in book.cells if cell.cell_type == "code" and cell.source.strip())


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=_name)
def test_the_notebook_is_kept_with_its_outputs_and_without_errors(notebook: Path) -> None:
    book = pytest.importorskip("nbformat").read(notebook, as_version=4)
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    assert outputs
    assert all(output.output_type != "error" for output in outputs)
    # No path of the machine that ran it: neither a home nor a temporary folder, nor an installed package.
    assert not re.search(r"/home/|/Users/|/tmp/|site-packages|[A-Z]:\\\\", str(book.cells))


def test_every_example_and_benchmark_that_the_pages_name_is_there() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages if page.is_file())
    named = set(re.findall(r"(?:examples|benchmarks)/[\w.]+\.(?:ipynb|py)", text))
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []
