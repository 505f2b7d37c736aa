"""`lens-rome trace --facts` and `--average`."""

import json
from pathlib import Path

import pandas as pd
import pytest

import lens_rome as lr
from lens_rome.tracing import TraceSet
from tests.cli.conftest import MODEL, Run

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")

FACTS = [
    {"id": name, "subject": name, "template": "The {} is in the city", "target": "E"}
    for name in ("Eiffel Tower", "Steve Jobs", "Catalonia", "Danielle Darrieux", "Rome", "Paris")
]
_RAY = ("trace", "--facts", "atlas", "--out", "r", "--engine", "ray")
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
    assert "Nothing was left to do" in again.stdout and "Nothing was left" not in result.stdout
    result = run("trace", "--average", "run", "--out", "pictures")
    assert result.exit_code == 0, result.output
    assert "6 facts traced" in result.stdout and "last subject token" in result.stdout
    assert all(
        f"effect of {kind}, over n tokens" in result.stdout
        for kind in ("hidden states", "MLP outputs", "attention outputs")
    )
    assert "Not shown" not in result.stdout
    assert "No layers suggested" in result.stdout, "six facts are too few"
    frame = pd.read_csv(tmp_path / "pictures" / "average.csv")
    assert {"kind", "window", "layer", "role", "n", "n_facts", "effect", "low", "high"} <= set(frame.columns)
    for name in ("average.png", "average_roles.png", "peaks_mlp.png", "peaks_mlp_pooled.png", "summary.csv"):
        assert (tmp_path / "pictures" / name).stat().st_size > 0
    assert "not finished" not in result.stdout
    (part,) = (tmp_path / "run").glob("part-*")
    part.write_text("".join(part.read_text(encoding="utf-8").splitlines(keepends=True)[:-2]), encoding="utf-8")
    stopped = run("trace", "--average", "run", "--out", "stopped")
    assert "The run is not finished: 2 more facts are to be traced" in stopped.stdout


def test_only_so_many_facts_and_only_known_ones(run: Run, tmp_path: Path, facts: str) -> None:
    result = run("trace", "--facts", facts, *OPTIONS[:-1], "--count", "2", "--kinds", "resid", "--out", "run")
    assert result.exit_code == 0, result.output
    assert (
        "0 facts traced, 2 left out" in result.stdout
        and "2 whose target is not the model's top token, such as: the model says" in result.stdout
    )
    found = TraceSet.load(tmp_path / "run")
    assert len(found.skipped) == 2


def test_roles_of_which_only_some_tokens_were_traced_are_left_out_and_named(run: Run, tmp_path: Path) -> None:
    short = [{**fact, "template": "{} was"} if fact["id"] == "Rome" else fact for fact in FACTS]
    (tmp_path / "facts.json").write_text(json.dumps(short), encoding="utf-8")
    given = ("trace", "--facts", "facts.json", *OPTIONS, "--kinds", "resid", "--positions", "subject_last,last")
    assert run(*given, "--out", "run").exit_code == 0
    result = run("trace", "--average", "run")
    assert result.exit_code == 0, result.output
    left = [
        line for line in result.stdout.splitlines() if line.startswith("Not shown, since only some of their tokens")
    ]
    assert len(left) == 1 and "first token after the subject" in left[0] and "average.csv" in left[0]
    rows = [line for line in result.stdout.splitlines() if line.startswith(("first token", "last ")) and " (" in line]
    assert [row.split("  ")[0] for row in rows] == ["last subject token", "last token"]
    assert all(" 6 (6) " in row for row in rows)
    assert "after_subject" in set(pd.read_csv(tmp_path / "run" / "average.csv")["role"])


def test_averages_of_traces_that_take_states_away_have_no_picture_of_peaks_and_say_why(
    run: Run, tmp_path: Path, facts: str
) -> None:
    given = ("--kinds", "resid", "--direction", "noise", "--layers", "1,2", "--positions", "last")
    assert run("trace", "--facts", facts, *OPTIONS, *given, "--count", "1", "--out", "run").exit_code == 0
    result = run("trace", "--average", "run")
    assert result.exit_code == 0 and "No picture of peaks: effects of layers are shares" in result.stdout, result.output
    assert "–" in result.stdout and "nan" not in result.stdout, "one fact has no interval"
    assert not list((tmp_path / "run").glob("peaks_*")) and (tmp_path / "run" / "average.png").exists()


def test_other_facts_are_refused_in_words(run: Run, facts: str) -> None:
    given = ("trace", "--facts", facts, *OPTIONS, "--kinds", "resid", "--layers", "1", "--out", "run")
    assert run(*given, "--count", "1").exit_code == 0
    result = run(*given, "--count", "2")
    assert result.exit_code == 1 and "another run: 1 facts are there, 2 were asked for. Nothing" in result.stderr
    Path(facts).write_text(json.dumps([{**fact, "target": "A"} for fact in FACTS]), encoding="utf-8")
    result = run(*given, "--count", "1")
    assert result.exit_code == 1 and "another run: other facts. Nothing" in result.stderr


def test_another_run_in_the_folder_is_refused(run: Run, facts: str) -> None:
    assert run("trace", "--facts", facts, *OPTIONS, "--count", "1", "--out", "run").exit_code == 0
    result = run("trace", "--facts", facts, *OPTIONS, "--count", "1", "--samples", "3", "--out", "run")
    assert result.exit_code == 1 and "lens-rome: error:" in result.stderr and "samples" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("trace",), "give --subject and --template for one fact, --facts for many"),
        (("trace", "--facts", "atlas"), "--facts needs --out"),
        (("trace", "--facts", "atlas", "--out", "r", "--answer", "x"), "leave out --answer, which is for one"),
        (("trace", "--facts", "none.json", "--out", "r"), "cannot read none.json"),
        (("trace", "--facts", "atlas", "--out", "r", "--model", MODEL), "--facts atlas are facts of the bundled model"),
        (("trace", "--average", "nowhere"), "there is no run in nowhere: there is no such folder. Check the folder's"),
        (("trace", "--average", "."), "there is no run in .: it has no manifest.json. Check the folder's name"),
        (("trace", "--average", "r", "--samples", "3", "--no-bos"), "leave out --samples and --bos. What was traced"),
        (("trace", "--facts", "atlas", "--out", "r", "--top", "2"), "leave out --top, which is for one"),
        (("trace", "-s", "x", "-t", "{} is", "--count", "2", "--all"), "--count and --all are for --facts; leave out"),
        (("trace", "--average", "r", "--facts", "atlas"), "--average reads traces that are there; leave out --facts"),
        (("trace", "--average", "r", "--subject", "x"), "--average reads traces that are there"),
        (("trace", "--facts", "atlas", "--out", "r", "--target", "x"), "--facts is for many facts; leave out --target"),
        (("trace", "-s", "x", "-t", "{} is", "--whole-target"), "--whole-target is for --facts"),
        (("trace", "-s", "x", "-t", "{} is", "--layers", "a"), "--layers takes whole numbers"),
        (("trace", "-s", "x", "-t", "{} is", "--engine", "ray"), "--engine is for --facts; leave out"),
        (("trace", "--facts", "atlas", "--out", "r", "--workers", "2"), "--workers need --engine ray"),
        ((*_RAY, "--shard", "1/2"), "--shard is for plain workers"),
    ],
)
def test_bad_options_end_in_one_line(run: Run, tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    result = run(*options)
    assert result.exit_code == 1 and message in result.stderr and len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == [], "nothing is made"


@pytest.mark.parametrize("option", ["--top", "--count"])
def test_counts_below_one_are_refused(run: Run, option: str) -> None:
    result = run("trace", "--facts", "atlas", "--out", "r", option, "0")
    assert result.exit_code == 2 and option in result.stderr


def test_targets_of_several_tokens_are_traced_whole_if_asked(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    path.write_text(json.dumps([{**FACTS[0], "target": "French city"}]), encoding="utf-8")
    given = ("trace", "--facts", path, "--kinds", "resid", "--positions", "subject_last,-1", "--layers", "1,2")
    result = run(*given, *OPTIONS[:-1], "--out", "top")
    assert "--whole-target traces and checks all of them" in result.stdout, result.output
    result = run(*given, *OPTIONS, "--whole-target", "--out", "whole")
    assert result.exit_code == 0 and "--whole-target" not in result.stdout, result.output
    (found,) = TraceSet.load(tmp_path / "whole").of_kind("resid").values()
    assert found.answer == "French city" and len(found.answer_tokens) > 1
    assert set(found.to_dataframe()["layer"]) == {1, 2} and found.to_dataframe()["pos"].nunique() == 2


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
        (("--kinds", "head", "--head", "1"), "Restored: attention head 1."),
    ],
)
def test_a_variant_says_what_it_measured(run: Run, options: tuple[str, ...], words: str) -> None:
    fact = ("--subject", "Eiffel Tower", "--template", "The {} is in the city", "--answer", "E")
    result = run("trace", *fact, "--model", MODEL, "--samples", "2", *options)
    assert result.exit_code == 0, result.output
    assert words in " ".join(result.stdout.split())


@pytest.mark.parametrize(("direction", "whole"), [("noise", "total effect"), ("zero", "clean score")])
def test_shares_are_of_what_is_taken_away_where_clean_states_are_replaced(run: Run, direction: str, whole: str) -> None:
    given = ("--subject", "Eiffel Tower", "--template", "The {} is in the city", "--answer", "E", "--kinds", "resid")
    result = run("trace", *given, "--model", MODEL, "--noise", "0.5", "--samples", "3", "--direction", direction)
    model = lr.load_model(MODEL)
    fact = lr.Fact("Eiffel Tower", "The {} is in the city", "E")
    wanted = lr.trace(model, fact, noise=0.5, samples=3, answer="E", direction=direction)
    total = wanted.clean_score if direction == "zero" else wanted.total_effect
    lines = [line for line in result.stdout.splitlines() if line.startswith("hidden state ")]
    assert [line.split()[-1] for line in lines] == [f"{-effect / total:.0%}" for _, _, effect in wanted.top(3)]
    assert result.stdout.count(f"share of the {whole}") == 2
