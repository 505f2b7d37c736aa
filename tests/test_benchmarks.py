"""The benchmarks run in their quick form.

In this process, for a process of its own would spend more time on its imports than on what it measures.
"""

import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
BENCHMARKS = sorted(FOLDER.glob("[a-z]*.py"))


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda path: path.name)
@pytest.mark.usefixtures("moments_once")
def test_the_benchmark_runs_in_its_quick_form(
    benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.syspath_prepend(str(FOLDER))  # where Python looks first when it runs a script
    monkeypatch.setattr(sys, "argv", [str(benchmark), "--quick"])
    runpy.run_path(str(benchmark), run_name="__main__")
    assert capsys.readouterr().out.strip()
