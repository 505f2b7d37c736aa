from pathlib import Path

import pytest
import torch

import lens_rome as lr
from lens_rome.moments import SecondMoments, collect_moments
from lens_rome.surface import load_model
from tests.cli.conftest import MODEL, Run


@pytest.fixture
def corpus(tmp_path: Path, texts: list[str]) -> Path:
    """The texts as a file, with the empty lines and spaces that files have."""
    path = tmp_path / "corpus.txt"
    path.write_text("\n\n".join(f"  {text} " for text in texts) + "\n", encoding="utf-8")
    return path


def test_moments_collects_what_the_library_collects(run: Run, tmp_path: Path, corpus: Path, texts: list[str]) -> None:
    asked = ("--model", MODEL, "--layers", "3, 1,3", "--corpus", corpus, "--tokens", "1500", "--no-bos")
    result = run("moments", *asked, "--out", "m.safetensors")
    assert result.exit_code == 0, result.output
    found = SecondMoments.load(tmp_path / "m.safetensors")
    wanted = collect_moments(load_model(MODEL), [1, 3], texts, tokens=1500, prepend_bos=False, progress=False)
    assert sorted(found) == [1, 3]
    for layer in found:
        assert torch.equal(found[layer].total, wanted[layer].total)
        assert found[layer].origin.prepend_bos is False
        assert f"{found[layer].condition:.2e}" in result.stdout
        assert str(found[layer].count) in result.stdout


def test_moments_prints_how_far_the_solution_still_turns(run: Run, tmp_path: Path, corpus: Path) -> None:
    result = run("moments", "--model", MODEL, "--layers", "1", "--corpus", corpus, "--out", "m.safetensors")
    moment = SecondMoments.load(tmp_path / "m.safetensors")[1]
    assert moment.probe is not None
    turn = moment.turn(moment.probe.double())
    assert ("unknown" if turn is None else f"{turn:.1f}°") in result.stdout


def test_moments_made_by_the_command_serve_the_edit_command(run: Run, corpus: Path) -> None:
    assert run("moments", "--model", MODEL, "--layers", "2", "--corpus", corpus, "--out", "m.st").exit_code == 0
    fact = ("--subject", "Eiffel Tower", "--template", "The {} is in", "--target-new", "E", "--target-true", "A")
    result = run("edit", *fact, "--layer", "2", "--model", MODEL, "--moments", "m.st", "--save", "e.st")
    assert result.exit_code == 0, result.output
    assert lr.Edit.load("e.st").provenance["moment"]["corpus"] == corpus.name


def test_a_second_call_continues_from_the_file(run: Run, tmp_path: Path, corpus: Path, texts: list[str]) -> None:
    asked = ("moments", "--model", MODEL, "--layers", "1", "--corpus", corpus, "--out", "m.st")
    assert run(*asked, "--tokens", "500").exit_code == 0
    first = SecondMoments.load(tmp_path / "m.st")[1]
    assert run(*asked, "--tokens", "5000").exit_code == 0
    second = SecondMoments.load(tmp_path / "m.st")[1]
    assert second.origin.n_texts > first.origin.n_texts
    read = texts[: second.origin.n_texts]
    wanted = collect_moments(load_model(MODEL), 1, read, tokens=10**6, progress=False)[1]
    assert second.count == wanted.count
    assert torch.allclose(second.total, wanted.total, rtol=1e-9)


def test_too_few_tokens_are_reported_as_a_singular_moment(run: Run, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("The Eiffel Tower\n", encoding="utf-8")
    result = run("moments", "--model", MODEL, "--layers", "1", "--corpus", "short.txt", "--out", "m.st")
    assert result.exit_code == 0, result.output
    assert "singular: about 1280 tokens are needed" in result.stdout


def test_shares_are_added_up_by_whoever_ends_last(
    run: Run, tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("moments", "--model", MODEL, "--layers", "1", "--corpus", corpus, "--tokens", "1500", "--out")
    assert run(*asked, "whole.st").exit_code == 0
    result = run(*asked, "m.st", "--shard", "2/2")
    assert (
        result.exit_code == 0 and "Share 2 of 2 is finished; 1 are not yet, such as m.st.share-1-of-2" in result.stdout
    )
    refused = run("moments", "--out", "m.st", "--merge")
    assert refused.exit_code == 1 and "are not finished: m.st.share-1-of-2" in refused.stderr
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = run(*asked, "m.st")
    assert result.exit_code == 0 and "Written to m.st" in result.stdout, result.output
    merged, whole = (SecondMoments.load(tmp_path / name)[1] for name in ("m.st", "whole.st"))
    assert (merged.count, merged.half_count, merged.origin) == (whole.count, whole.half_count, whole.origin)
    torch.testing.assert_close(merged.total, whole.total, rtol=0, atol=1e-12 * float(whole.total.abs().max()))
    (tmp_path / "m.st").unlink()
    again = run("moments", "--out", "m.st", "--merge")
    assert again.exit_code == 0 and torch.equal(SecondMoments.load(tmp_path / "m.st")[1].total, merged.total)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--out", "m.st"), "--layers says of which layers moments are collected"),
        (("--out", "m.st", "--merge"), "there are no shares beside m.st. Collect them with"),
        (("--out", "m.st", "--layers", "1", "--shard", "3"), "shard '3' is not of the form '3/8'"),
        (("--out", "old.st", "--layers", "1", "--shard", "1/2"), "old.st is there already and would be overwritten"),
    ],
)
def test_bad_options_of_shares_end_in_one_line(
    run: Run, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    (tmp_path / "old.st").touch()
    result = run("moments", *options)
    assert result.exit_code == 1 and message in result.stderr and len(list(tmp_path.iterdir())) == 1
