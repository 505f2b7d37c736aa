"""`lens-rome trace --facts` and `--average`."""

import json
from pathlib import Path

import pandas as pd
import pytest

from lens_rome.tracing import TraceSet
from tests.cli.conftest import MODEL, Run

FACTS = [
    {"id": name, "subject": name, "template": "The {} is in the city", "target": "E"}
    for name in ("Eiffel Tower", "Steve Jobs", "Catalonia", "Danielle Darrieux", "Rome", "Paris")
]
OPTIONS = ("--model", MODEL, "--noise", "0.5", "--samples", "2", "--all")


@pytest.fixture
def facts(tmp_path: Path) -> str:
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(FACTS), encoding="utf-8")
    return str(path)


def test_many_facts_are_traced_into_a_folder_and_averaged(run: Run, tmp_path: Path, facts: str) -> None:
    result = run("trace", "--facts", facts, *OPTIONS, "--out", "run")
    assert result.exit_code == 0, result.output
    assert "6 facts traced, 0 left out, in run" in result.stdout and "--average run" in result.stdout
    assert set(TraceSet.load(tmp_path / "run").traces) == {fact["id"] for fact in FACTS}
    again = run("trace", "--facts", facts, *OPTIONS, "--out", "run")
    assert again.exit_code == 0 and len(list((tmp_path / "run").glob("part-*"))) == 1, "nothing was left to do"
    result = run("trace", "--average", "run", "--out", "pictures")
    assert result.exit_code == 0, result.output
    assert "6 facts traced" in result.stdout and "subject last" in result.stdout
    assert "No layers suggested" in result.stdout, "six facts are too few"
    frame = pd.read_csv(tmp_path / "pictures" / "average.csv")
    assert {"kind", "window", "layer", "role", "n", "effect", "low", "high"} <= set(frame.columns)
    for name in ("average.png", "average_roles.png", "peaks_mlp.png", "summary.csv"):
        assert (tmp_path / "pictures" / name).stat().st_size > 0


def test_only_so_many_facts_and_only_known_ones(run: Run, tmp_path: Path, facts: str) -> None:
    result = run("trace", "--facts", facts, *OPTIONS[:-1], "--count", "2", "--kinds", "resid", "--out", "run")
    assert result.exit_code == 0, result.output
    assert (
        "0 facts traced, 2 left out" in result.stdout
        and "2 not known by the model, such as: the model says" in result.stdout
    )
    found = TraceSet.load(tmp_path / "run")
    assert len(found.skipped) == 2


def test_another_run_in_the_folder_is_refused(run: Run, facts: str) -> None:
    assert run("trace", "--facts", facts, *OPTIONS, "--count", "1", "--out", "run").exit_code == 0
    result = run("trace", "--facts", facts, *OPTIONS, "--count", "1", "--samples", "3", "--out", "run")
    assert result.exit_code == 1 and "lens-rome: error:" in result.stderr and "samples" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("trace",), "give --subject and --template for one fact, --facts for many"),
        (("trace", "--facts", "atlas"), "--facts needs --out"),
        (("trace", "--facts", "atlas", "--out", "r", "--answer", "x"), "--answer is for one fact"),
        (("trace", "--facts", "none.json", "--out", "r"), "cannot read none.json"),
        (("trace", "--facts", "atlas", "--out", "r", "--model", MODEL), "--facts atlas are facts of the bundled model"),
        (("trace", "--average", "nowhere"), "nowhere"),
    ],
)
def test_bad_options_end_in_one_line(run: Run, options: tuple[str, ...], message: str) -> None:
    result = run(*options)
    assert result.exit_code == 1 and message in result.stderr and len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--metric", "logit_diff", "--against", "Rome"), "logit(E) minus logit(Rome)"),
        (("--metric", "kl"), "KL to the clean run"),
        (("--direction", "zero"), "states are replaced by zeros"),
        (("--direction", "noise"), "Corrupted states are put into the clean run"),
        (("--severed", "mlp", "--kinds", "resid"), "The mlp path is severed"),
        (("--noise", "zero"), "zero embeddings"),
        (("--kinds", "resid_pre,post"), "MLP neurons"),
    ],
)
def test_a_variant_says_what_it_measured(run: Run, options: tuple[str, ...], words: str) -> None:
    fact = ("--subject", "Eiffel Tower", "--template", "The {} is in the city", "--answer", "E")
    result = run("trace", *fact, "--model", MODEL, "--samples", "2", *options)
    assert result.exit_code == 0, result.output
    assert words in " ".join(result.stdout.split())
