import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lens_rome as lr
from lens_rome.cli import app
from lens_rome.cli.comparison import world_prompts
from lens_rome.cli.models import load
from lens_rome.cli.options import Precision
from tests.cli.conftest import Run
from tests.conftest import Collect

FACT = ("--subject", "Eiffel Tower", "--template", "The {} is in the city of")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, collected_once: Collect) -> tuple[Path, str]:
    """The folder that the demo wrote to, and what it printed."""
    folder = tmp_path_factory.mktemp("demo") / "made"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("lens_rome.atlas.world.atlas_moments", collected_once)
        result = CliRunner().invoke(app, ["demo", "--out", str(folder)], env={"COLUMNS": "300"})
    assert result.exit_code == 0, result.output
    return folder, result.stdout


def test_the_demo_rewrites_the_fact_and_leaves_the_neighbours(demo: tuple[Path, str]) -> None:
    folder, printed = demo
    told = json.loads((folder / "edit.json").read_text(encoding="utf-8"))
    by_group: dict[str, list[dict]] = {}
    for row in told["prompts"]:
        by_group.setdefault(row["group"], []).append(row)
    (rewrite,) = by_group["rewrite"]
    assert rewrite["p_true_before"] > 0.5
    assert rewrite["p_new_after"] > 0.5
    assert len(by_group["paraphrase"]) == 2
    assert all(row["p_new_after"] > row["p_true_after"] for row in by_group["paraphrase"])
    assert len(by_group["neighbourhood"]) >= 3
    assert all(row["p_true_after"] > row["p_new_after"] for row in by_group["neighbourhood"])
    assert "The model now says Rome for the Eiffel Tower" in printed


def test_the_demo_names_the_files_that_it_wrote(demo: tuple[Path, str]) -> None:
    folder, printed = demo
    names = [path.name for path in folder.iterdir()]
    assert {"trace.png", "trace.html", "trace.json", "edit.png", "edit.json", "edit.safetensors"} <= set(names)
    assert all(name in printed for name in names)


def test_the_demo_s_edit_fits_the_atlas(demo: tuple[Path, str]) -> None:
    model, world = lr.load_atlas()
    fact = world.fact("Eiffel Tower", "landmarks.city")
    with lr.Edit.load(demo[0] / "edit.safetensors").applied(model):
        assert lr.trace(model, fact, samples=1, positions=[]).answer == "Rome"


def test_trace_takes_the_target_from_the_world(run: Run, tmp_path: Path) -> None:
    assert run("trace", *FACT, "--kinds", "resid", "--out", ".").exit_code == 0
    assert json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))["traces"]["resid"]["target"] == "Paris"


def test_the_world_s_prompts_are_held_out_wordings_and_other_subjects_of_the_object() -> None:
    loaded = load("atlas", None, "cpu", Precision.float32)
    assert loaded.world is not None
    fact = loaded.world.fact("Eiffel Tower", "landmarks.city")
    prompts = world_prompts(loaded, fact.rewrite("Rome"))
    held_out = loaded.world.phrasings(fact, trained=False)
    assert prompts.paraphrases == tuple(template.replace("{}", "Eiffel Tower") for template in held_out)
    assert "The Louvre is in the city of" in prompts.neighbours
    assert not any("Eiffel" in prompt for prompt in prompts.neighbours)
    assert prompts.free == loaded.world.generation_prompts("Eiffel Tower")


def test_the_world_has_no_prompts_for_a_fact_in_other_words() -> None:
    loaded = load("atlas", None, "cpu", Precision.float32)
    assert world_prompts(loaded, lr.EditRequest("Eiffel Tower", "{} stinks of", "Rome", "Paris")).neighbours == ()
    assert world_prompts(loaded, lr.EditRequest("Springfield", "{} is in", "Rome", "Paris")).paraphrases == ()
