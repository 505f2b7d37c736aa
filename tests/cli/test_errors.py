"""Bad input ends in one clear line on stderr and exit code 1."""

import sys
from pathlib import Path

import pytest

import lens_rome
from lens_rome.cli import main
from lens_rome.cli.reporting import reporting
from tests.cli.conftest import EDIT, FACT, MODEL, Run

ON = ("--model", MODEL)
SUBJECT = ("--subject", "Eiffel Tower")
MOMENTS = ("moments", *ON, "--out", "m.st")
WITHOUT_LAYER = tuple(part for part in EDIT if part not in ("--layer", "1"))

BAD = {
    "no slot": (("trace", *SUBJECT, "--template", "The Tower is in", *ON), "exactly once, found it 0 times"),
    "two slots": (("trace", *SUBJECT, "--template", "{} and {} are", *ON), "exactly once, found it 2 times"),
    "empty subject": (("trace", "--subject", " ", "--template", "{} is", *ON), "subject must be a non-empty string"),
    "unknown kind": (("trace", *FACT, *ON, "--kinds", "resid,heads"), "unknown kind 'heads'; trace one of resid"),
    "no kind": (("trace", *FACT, *ON, "--kinds", " , "), "--kinds is empty"),
    "noise": (("trace", *FACT, *ON, "--noise", "loud"), "noise 'loud' is not understood"),
    "negative noise": (("trace", *FACT, *ON, "--noise", "-1"), "noise must be a finite number"),
    "samples": (("trace", *FACT, *ON, "--samples", "0"), "samples must be a whole number from 1"),
    "window": (("trace", *FACT, *ON, "--window", "0"), "window must be a whole number of layers"),
    "empty answer": (("trace", *FACT, *ON, "--answer", " "), "the answer is empty"),
    "missing folder": (("trace", *FACT, "--model", "./nowhere"), "nowhere is not a model folder"),
    "surface": (
        ("trace", *FACT, *ON, "--surface", "glass"),
        "unknown surface 'glass'; --surface takes hooked or bridge, or is left out",
    ),
    "device": (("trace", *FACT, *ON, "--device", "abacus"), "device 'abacus' cannot be used"),
    "out is a file": (("trace", *FACT, *ON, "--out", "file.txt"), "cannot make the folder"),
    "trace layer": (("edit", *EDIT, *ON, "--moments", "identity", "--layer", "6"), "layer 6 does not exist"),
    "editor": (("edit", *EDIT, *ON, "--editor", "MEMIT2"), "unknown editor 'MEMIT2'; choose one of ROME, "),
    "layer and preset": (("edit", *EDIT, *ON, "--preset", "gpt2-xl"), "--layer and --preset exclude each other"),
    "no preset": (("edit", *WITHOUT_LAYER, *ON), "--layer LAYER or --preset NAME"),
    "empty target": (("edit", *FACT, "--target-new", "", *ON, "--layer", "1"), "target_new must be a non-empty"),
    "same target": (("edit", *EDIT, "--target-new", "A", *ON, "--moments", "identity"), "Ask for another object"),
    "save folder": (("edit", *EDIT, "--model", "nowhere", "--save", "none/e.st"), "none does not exist. Create it"),
    "save into a folder": (("edit", *EDIT, "--model", "nowhere", "--save", "."), "it is a folder. Name a file in it"),
    "no moments": (("edit", *EDIT, *ON), "lens-rome moments --layers 1"),
    "missing moments": (("edit", *EDIT, *ON, "--moments", "none.st"), "there is no file none.st"),
    "corrupt moments": (("edit", *EDIT, *ON, "--moments", "file.txt"), "truncated, corrupt, or written by another"),
    "corrupt npz": (("edit", *EDIT, *ON, "--moments", "model.h.1.npz"), "is not a second moment in the .npz format"),
    "moments layers": ((*MOMENTS, "--layers", "one", "--corpus", "file.txt"), "--layers takes whole numbers"),
    "moments layer": ((*MOMENTS, "--layers", "9", "--corpus", "file.txt"), "layer 9 does not exist"),
    "missing corpus": ((*MOMENTS, "--layers", "1", "--corpus", "none.txt"), "there is no file none.txt"),
    "corpus of bytes": ((*MOMENTS, "--layers", "1", "--corpus", "bytes.txt"), "is not UTF-8 text"),
    "empty corpus": ((*MOMENTS, "--layers", "1", "--corpus", "empty.txt"), "the corpus has no tokens"),
    "corpus of the atlas": ((*MOMENTS, "--layers", "1"), "--corpus atlas is for --model atlas"),
    "moments folder": (("moments", *ON, "--layers", "1", "--out", "none/m.st"), "none does not exist. Create it"),
}


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    """Files that are not what commands expect."""
    (tmp_path / "file.txt").write_text("No tensors here, only a line of text.\n", encoding="utf-8")
    (tmp_path / "model.h.1.npz").write_text("no arrays either", encoding="utf-8")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty.txt").write_text("\n \n", encoding="utf-8")


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_in_one_line_that_says_what_to_do(run: Run, name: str) -> None:
    args, advice = BAD[name]
    result = run(*args)
    assert result.exit_code == 1, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("lens-rome:")]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("lens-rome: error: ")
    assert advice in lines[0]
    assert "Traceback" not in result.output


def test_moments_of_another_layer_are_refused(run: Run, moments_file: Path) -> None:
    result = run("edit", *EDIT, *ON, "--layer", "2", "--moments", moments_file)
    assert result.exit_code == 1
    assert "the moments hold layers [1], the edit is at layer 2" in result.stderr


def test_moments_with_bos_are_refused_for_an_edit_without(run: Run, moments_file: Path) -> None:
    result = run("edit", *EDIT, *ON, "--no-bos", "--moments", moments_file)
    assert result.exit_code == 1
    assert "prepend_bos=True" in result.stderr


def test_truncated_moments_are_refused(run: Run, moments_file: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.st").write_bytes(moments_file.read_bytes()[:-100])
    result = run("edit", *EDIT, *ON, "--moments", "cut.st")
    assert result.exit_code == 1
    assert "truncated" in result.stderr


def test_the_script_ends_with_the_same_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(sys, "argv", ["lens-rome", "trace", *SUBJECT, "--template", "no slot", *ON])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("lens-rome: error: template must contain")


def test_errors_that_nobody_raised_on_purpose_are_not_hidden() -> None:
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        reporting(broken)()


@pytest.mark.parametrize("command", ["demo", "trace", "edit", "moments"])
def test_every_command_has_help(run: Run, command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "--surface" in result.stdout
    assert command in run("--help").stdout


def test_the_version_is_printed(run: Run) -> None:
    result = run("--version")
    assert result.exit_code == 0 and result.stdout == f"lens_rome {lens_rome.__version__}\n"
