import json
import re
from pathlib import Path

import pytest
import torch

import lens_rome as lr
from lens_rome.cli.ask import answer_probs, continue_text
from lens_rome.cli.comparison import Comparison, Row
from lens_rome.surface import as_surface, load_model
from tests.cli.conftest import EDIT, MODEL, Run

PROMPTS = (
    "--paraphrase", "Tourists find the Eiffel Tower in",
    "--neighbor", "The Louvre is in the city",
    "--neighbor", "Notre Dame is in the city",
    "--generate", "The Eiffel Tower",
)  # fmt: skip


@pytest.fixture
def told(run: Run, tmp_path: Path, moments_file: Path) -> dict:
    """What `edit` writes to its JSON file."""
    result = run("edit", *EDIT, *PROMPTS, "--model", MODEL, "--moments", moments_file, "--out", ".", "--seed", "3")
    assert result.exit_code == 0, result.output
    return json.loads((tmp_path / "edit.json").read_text(encoding="utf-8"))


def joint_prob(model: object, prompt: str, answer: str) -> float:
    """Probability of all tokens of an answer, straight from a full run."""
    surface = as_surface(model)
    begin = len(surface.encode(prompt))
    ids = surface.encode(f"{prompt} {answer}").ids
    logprobs = surface.run(torch.tensor([ids]))[0].log_softmax(-1)
    return float(sum(logprobs[i - 1, ids[i]] for i in range(begin, len(ids))).detach().exp())


def test_the_table_holds_joint_probabilities_before_and_after_the_saved_edit(told: dict, tmp_path: Path) -> None:
    model = load_model(MODEL)
    edit = lr.Edit.load(tmp_path / "edit.safetensors")
    groups = [row["group"] for row in told["prompts"]]
    assert groups == ["rewrite", "paraphrase", "neighbourhood", "neighbourhood"]
    for row in told["prompts"]:
        assert row["p_true_before"] == pytest.approx(joint_prob(model, row["prompt"], "A"), rel=1e-4)
        assert row["p_new_before"] == pytest.approx(joint_prob(model, row["prompt"], "E"), rel=1e-4)
    with edit.applied(model):
        for row in told["prompts"]:
            assert row["p_true_after"] == pytest.approx(joint_prob(model, row["prompt"], "A"), rel=1e-4)
            assert row["p_new_after"] == pytest.approx(joint_prob(model, row["prompt"], "E"), rel=1e-4)
    rewrite = told["prompts"][0]
    assert rewrite["p_new_after"] > 2 * rewrite["p_new_before"]


def test_the_json_tells_how_the_edit_was_made(told: dict, moments_file: Path) -> None:
    made = told["edit"]
    assert made["editor"] == "ROME"
    assert (made["settings"]["layer"], made["settings"]["seed"]) == (1, 3)
    assert made["moment"]["count"] == lr.SecondMoments.load(moments_file)[1].count
    assert told["request"]["target_true"] == "A"


def test_continuations_are_asked_of_both_models(told: dict, tmp_path: Path) -> None:
    model = load_model(MODEL)
    surface = as_surface(model)
    (text,) = told["continuations"]
    assert text["before"] == continue_text(surface, "The Eiffel Tower", 3)
    with lr.Edit.load(tmp_path / "edit.safetensors").applied(model):
        assert text["after"] == continue_text(surface, "The Eiffel Tower", 3)


def test_the_command_prints_every_prompt_and_the_diagnostics(run: Run, moments_file: Path) -> None:
    result = run("edit", *EDIT, *PROMPTS, "--model", MODEL, "--moments", moments_file)
    assert result.exit_code == 0, result.output
    for part in (*PROMPTS[1::2], "ROME at layer 1: a rank-1 change", "condition number of C", "before:", "after:"):
        assert part in result.stdout
    assert "Neighbours: " in result.stdout
    assert re.search(r"Neighbours: \S+ still likelier in \d of 2", " ".join(result.stdout.split()))


def test_save_writes_an_edit_that_fits_the_model(run: Run, tmp_path: Path, moments_file: Path) -> None:
    result = run("edit", *EDIT, "--model", MODEL, "--moments", moments_file, "--editor", "r-rome", "--save", "kept.st")
    assert result.exit_code == 0, result.output
    edit = lr.Edit.load(tmp_path / "kept.st")
    assert edit.provenance["editor"] == "R-ROME"
    with edit.applied(load_model(MODEL)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["kept.st"]


def test_identity_edits_without_moments(run: Run) -> None:
    result = run("edit", *EDIT, "--model", MODEL, "--moments", "identity")
    assert result.exit_code == 0, result.output


def test_a_published_preset_sets_layer_and_leaves_out_bos(run: Run, tmp_path: Path) -> None:
    # The preset's layer is this model's last, so the subject must end the prompt.
    fact = ("--subject", "Steve Jobs", "--template", "It was the day of {}", "--target-new", "Rome")
    options = ("--target-true", "A", "--model", MODEL, "--moments", "identity", "--save", "kept.st")
    assert run("edit", *fact, *options, "--preset", "gpt-j-6b").exit_code == 0
    provenance = lr.Edit.load(tmp_path / "kept.st").provenance
    assert (provenance["settings"]["layer"], provenance["prepend_bos"]) == (5, False)
    assert run("edit", *fact, *options, "--preset", "gpt-j-6b", "--bos").exit_code == 0
    assert lr.Edit.load(tmp_path / "kept.st").provenance["prepend_bos"] is True


def test_answer_probs_of_a_longer_answer_is_the_product_over_its_tokens() -> None:
    model = load_model(MODEL)
    prompt, answer = "The Eiffel Tower is in", "Eiffel Tower"
    surface = as_surface(model)
    assert len(surface.encode(f"{prompt} {answer}")) - len(surface.encode(prompt)) > 1
    (found,) = answer_probs(surface, [(prompt, answer)])
    assert found == pytest.approx(joint_prob(model, prompt, answer), rel=1e-4)


def test_a_continuation_is_the_most_likely_token_again_and_again() -> None:
    surface = as_surface(load_model(MODEL))
    ids = list(surface.encode("The Eiffel Tower").ids)
    for _ in range(4):
        ids.append(int(surface.run(torch.tensor([ids]))[0, -1].argmax()))
    wanted = surface.tokenizer.decode(ids[-4:]).strip()
    assert continue_text(surface, "The Eiffel Tower", 4) == wanted


@pytest.mark.parametrize("end", ["<|endoftext|>", "\n"])
def test_a_continuation_ends_before_an_end_of_text_and_a_line_break(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    surface = as_surface(load_model(MODEL))
    (end_id,) = surface.tokenizer(end, add_special_tokens=False)["input_ids"]
    length, one_token = len(surface.encode("The Eiffel Tower")), continue_text(surface, "The Eiffel Tower", 1)
    run_model = surface.run

    def ends_after_one_token(tokens: torch.Tensor) -> torch.Tensor:
        logits = run_model(tokens)
        logits[0, -1, end_id] = 1e3 if tokens.shape[1] == length + 1 else -1e3
        return logits

    monkeypatch.setattr(surface, "run", ends_after_one_token)
    assert continue_text(surface, "The Eiffel Tower", 3) == one_token


def _row(group: str, true: float, new: float) -> Row:
    return Row(group, "prompt", 0.9, 0.1, true, new)


def test_counts_ask_of_each_group_what_it_should_do() -> None:
    rows = (
        _row("rewrite", 0.1, 0.9),
        _row("paraphrase", 0.9, 0.1),
        _row("paraphrase", 0.5, 0.5),
        _row("neighbourhood", 0.9, 0.1),
        _row("neighbourhood", 0.1, 0.9),
    )
    comparison = Comparison(lr.EditRequest("a", "{} is", "b", "c"), rows, ())
    assert comparison.counted("rewrite") == (1, 1)
    assert comparison.counted("paraphrase") == (0, 2)
    assert comparison.counted("neighbourhood") == (1, 2)


ATLAS = ("--target-new", "London", "--tokens", "0", "--editor", "FT")


def test_the_atlas_has_the_name_that_it_has_in_python(run: Run, tmp_path: Path) -> None:
    fact = ("--subject", "Louvre", "--template", "The {} is in the city of ")
    result = run("edit", *fact, *ATLAS, "--save", "e.st")
    assert result.exit_code == 0, result.output
    assert lr.Edit.load(tmp_path / "e.st").provenance["model"] == lr.load_atlas()[0].cfg.model_name == "lens_rome atlas"
    assert "The atlas" not in result.stdout


def test_what_the_atlas_does_not_know_is_said_with_what_it_knows(run: Run) -> None:
    unknown = run("edit", "--subject", "Eifel Tower", "--template", "The {} is in the city of", *ATLAS)
    assert unknown.exit_code == 0, unknown.output
    assert "The atlas knows no Eifel Tower. Did you mean Eiffel Tower" in unknown.stdout
    wording = run("edit", "--subject", "Louvre", "--template", "Go and see the {} in", *ATLAS)
    assert 'never read this wording about Louvre. It knows, for instance: "The {} is in' in wording.stdout
