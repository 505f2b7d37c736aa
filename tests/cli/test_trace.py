import json
from pathlib import Path

import pytest
import torch

import lens_rome as lr
from tests.cli.conftest import FACT, MODEL, Run

OPTIONS = ("--model", MODEL, "--noise", "0.5", "--samples", "3", "--seed", "7")


def test_trace_writes_picture_page_json_and_results_that_load(run: Run, tmp_path: Path) -> None:
    result = run("trace", *FACT, *OPTIONS, "--answer", "E", "--out", "made/here")
    assert result.exit_code == 0, result.output
    folder = tmp_path / "made" / "here"
    names = ["trace.html", "trace.json", "trace.png"] + [
        f"trace_{kind}.safetensors" for kind in ("attn", "mlp", "resid")
    ]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert (folder / "trace.png").read_bytes().startswith(b"\x89PNG")
    assert "Eiffel" in (folder / "trace.html").read_text(encoding="utf-8")
    for name in names:
        assert name in result.stdout


@pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")
def test_trace_computes_what_the_library_computes_with_the_same_options(run: Run, tmp_path: Path) -> None:
    options = ("--kinds", "mlp,resid", "--window", "3", "--no-bos", "--answer", "E r", "--dtype", "float64")
    assert run("trace", *FACT, *OPTIONS, *options, "--out", ".").exit_code == 0
    model = lr.load_model(MODEL, dtype=torch.float64)
    fact = lr.Fact("Eiffel Tower", "The {} is in the city", "E r")
    told = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))["traces"]
    assert list(told) == ["mlp", "resid"]
    for kind, window in (("mlp", 3), ("resid", None)):
        wanted = lr.trace(
            model, fact, kind, window=window, noise=0.5, samples=3, seed=7, answer="E r", prepend_bos=False
        )
        found = lr.TraceResult.load(tmp_path / f"trace_{kind}.safetensors")
        assert torch.equal(found.sample_scores, wanted.sample_scores)
        assert found.settings == wanted.settings
        assert torch.equal(torch.tensor(told[kind]["scores"], dtype=torch.float64), wanted.scores)
        assert told[kind]["corrupted_score"] == wanted.corrupted_score
        assert told[kind]["clean_score"] == wanted.clean_score


def test_trace_prints_the_best_cells_and_a_map_of_every_kind(run: Run) -> None:
    result = run("trace", *FACT, *OPTIONS, "--top", "2")
    assert result.exit_code == 0, result.output
    for name in ("hidden state", "MLP output", "attention output"):
        assert result.stdout.count(f"\n{name} ") == 2
    assert all(kind in result.stdout for kind in ("hidden states", "MLP outputs", "attention outputs"))
    assert result.stdout.count("layers 0–5") == 3
    assert "Eiffel*" in result.stdout
    assert "Tower*" in result.stdout


@pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")
def test_the_printed_share_is_the_indirect_effect_over_the_total_effect(run: Run) -> None:
    model = lr.load_model(MODEL)
    wanted = lr.trace(model, lr.Fact("Eiffel Tower", "The {} is in the city", "E"), noise=0.5, samples=3, seed=7)
    ((layer, pos, effect),) = wanted.top(1)
    result = run("trace", *FACT, *OPTIONS, "--kinds", "resid", "--top", "1")
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("hidden state")]
    cells = line.split()
    assert cells[2:] == [
        wanted.token_strings[pos].strip(),
        str(layer),
        f"{wanted.scores[layer, pos]:.1%}",
        f"{effect / wanted.total_effect:.0%}",
    ]


def test_without_out_trace_writes_nothing(run: Run, tmp_path: Path) -> None:
    assert run("trace", *FACT, *OPTIONS, "--kinds", "resid").exit_code == 0
    assert list(tmp_path.iterdir()) == []


def test_trace_says_when_the_answer_is_not_the_target(run: Run) -> None:
    asked = (*FACT, *OPTIONS, "--kinds", "resid", "--target", "Paris")
    assert "The answer is not the target given, 'Paris'" in run("trace", *asked).stdout
    assert "not the target" not in run("trace", *asked, "--answer", "Paris").stdout


@pytest.mark.filterwarnings("error")
def test_a_trace_that_shows_nothing_ends_with_one_warning_line(run: Run) -> None:
    result = run("trace", *FACT, "--model", MODEL, "--noise", "0", "--kinds", "resid,mlp")
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stderr.splitlines() if "warning" in line]
    assert line.startswith("lens-rome: warning: the noise changes the answer")


def test_without_a_plotting_library_everything_else_is_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("matplotlib.figure", "plotly.subplots"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    result = run("trace", *FACT, *OPTIONS, "--kinds", "resid", "--out", ".")
    assert result.exit_code == 0, result.output
    assert "No pictures" in result.stdout
    assert "lens_rome[plot]" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trace.json", "trace_resid.safetensors"]
