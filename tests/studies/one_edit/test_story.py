"""The story of one edit: what both models say, and that nothing of the model is left changed."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lens_rome.atlas import load_atlas
from lens_rome.editing import Edit
from lens_rome.editing.delta import DenseDelta
from lens_rome.errors import EditError, FactError, FileFormatError
from lens_rome.evaluation import generate
from lens_rome.facts import EditRequest
from lens_rome.studies.one_edit import EditStory, Question, Reply, Written, edit_story, probe_edit, world_questions
from lens_rome.studies.probes import Finding
from lens_rome.surface import as_surface
from tests.studies.one_edit.made import made_story, reply

MODEL, WORLD = load_atlas()
FACT = WORLD.fact("Eiffel Tower", "landmarks.city")
REQUEST = FACT.rewrite("Rome")
QUESTIONS = world_questions(WORLD, REQUEST)
PROMPTS = WORLD.generation_prompts("Eiffel Tower")[:2]
CHEAP: dict[str, Any] = {"kinds": (), "samples": 1, "length": 20, "generation_prompts": PROMPTS, "questions": QUESTIONS}


def pushed(strength: float) -> Edit:
    """An edit that makes Rome likelier everywhere: along its unembedding, in the last layer's output bias."""
    surface = as_surface(MODEL)
    (token,) = surface.encode(" Rome", False).ids
    change = DenseDelta(strength * torch.as_tensor(MODEL.W_U)[:, token].detach())
    return Edit.made_for(surface, {(surface.n_layers - 1, "b_out"): change}, {"editor": "push"})


def weights() -> dict[str, torch.Tensor]:
    return {name: each.detach().clone() for name, each in MODEL.named_parameters()}


def test_replies_are_what_whole_runs_of_both_models_say() -> None:
    edit = pushed(40.0)
    some = QUESTIONS[::4]
    story = edit_story(MODEL, REQUEST, edit, questions=some, kinds=())
    surface = as_surface(MODEL)

    def asked(prompt: str, target: str) -> tuple[float, int, str]:
        start = len(surface.encode(prompt).ids)
        ids = surface.encode(f"{prompt} {target}").ids
        logits = surface.run(torch.tensor([ids]))[0].double().detach()
        scores = logits.log_softmax(-1)
        told = [float(scores[place - 1, ids[place]]) for place in range(start, len(ids))]
        alone = target == REQUEST.subject
        rank = 1 + sum(float(each) > told[0] for each in scores[start - 1])
        top = surface.tokenizer.decode([int(scores[start - 1].argmax())]).strip()
        return math.exp(sum(told) / (1 if alone else len(told))), rank, top

    for each in story.replies:
        question = each.question
        new, _, top = asked(question.prompt, question.new)
        assert each.new_before == pytest.approx(new, rel=1e-4) and each.top_before == top
        with edit.applied(MODEL):
            after, _, top = asked(question.prompt, question.new)
            assert each.new_after == pytest.approx(after, rel=1e-4) and each.top_after == top
            if question.old:
                old, rank, _ = asked(question.prompt, question.old)
                assert (each.old_after, each.old_rank_after) == (pytest.approx(old, rel=1e-4), rank)
    assert [each.question for each in story.replies] == [story.replies[0].question, *some]


def test_an_edit_that_changes_nothing_has_no_story() -> None:
    story = edit_story(MODEL, REQUEST, pushed(0.0), **CHEAP)
    for each in story.replies:
        assert (each.new_before, each.top_before) == (each.new_after, each.top_after)
        assert each.right_before == each.right
    assert all(each.before == each.after for each in story.texts)
    share = story.right(story.part("kept"))
    assert share.before == share.after == share.n > 0
    assert story.right(story.part("changed")).after == 0


def test_an_edit_that_pushes_its_object_everywhere_is_seen_to_leak() -> None:
    story = edit_story(MODEL, REQUEST, pushed(200.0), **CHEAP)
    assert story.right(story.part("changed")).after == 3
    related, kept = story.right(story.part("leaked")), story.right(story.group("neighbor"))
    assert (related.before, related.after) == (related.n, 0) and related.n > 3
    assert (kept.before, kept.after) == (kept.n, 0)
    assert (story.mentions("Rome").before, story.mentions("Rome").after) == (0, len(PROMPTS))


def test_texts_come_from_the_same_streams_as_those_of_generate() -> None:
    edit = pushed(200.0)
    more: dict[str, Any] = {**CHEAP, "samples": 2}
    story = edit_story(MODEL, REQUEST, edit, **more)
    asked, ids = [PROMPTS[0]] * 2, [f"{PROMPTS[0]}\x1f{sample}" for sample in range(2)]
    assert [each.before for each in story.texts[:2]] == generate(MODEL, asked, length=20, ids=ids)
    with edit.applied(MODEL):
        assert [each.after for each in story.texts[:2]] == generate(MODEL, asked, length=20, ids=ids)
    assert story.texts[0].before != story.texts[1].before


def test_the_model_comes_back_bit_for_bit_also_after_an_exception() -> None:
    before = weights()

    def fail(_: Edit) -> list[Finding]:
        raise KeyError("probe")

    with pytest.raises(KeyError):
        edit_story(MODEL, REQUEST, pushed(3.0), probe=fail, **CHEAP)
    after = weights()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_probes_that_lack_their_inputs_say_so_and_the_others_answer() -> None:
    edit = pushed(200.0)
    few: dict[str, Any] = {"questions": QUESTIONS[::3], "samples": 1, "tokens": 3}
    found = {each.probe: each for each in probe_edit(MODEL, edit, REQUEST, **few)}
    assert list(found) == ["direction", "hops", "strength", "bleed"]
    assert found["bleed"].answer.n == 1 and found["bleed"].rows
    assert "does not say 'Eiffel Tower' after" in found["direction"].missing[0].reason
    assert "--describe PROMPT" in found["hops"].missing[0].reason and not found["hops"].rows
    assert "--generate PROMPT" in found["strength"].missing[0].reason
    bare = {each.probe: each.missing[0].reason for each in probe_edit(MODEL, edit, REQUEST)}
    assert "--related" in bare["bleed"] and "--reverse" in bare["direction"]


def test_mentions_are_whole_words_after_the_prompt() -> None:
    text = Written("Rome is", "Rome is big", "Rome is ROME, not Romeo")
    assert text.mentions("Rome") == (False, True)
    assert Written("x", "x Romeo", "x").mentions("Rome") == (False, False)


def test_an_answer_of_its_own_must_be_the_first_of_all_and_another_the_likelier_of_two() -> None:
    kept: Reply = reply("own fact", "p", 0.0, 0.0, 0.9, 0.1, old="France", ranks=(1, 2))
    assert (kept.right_before, kept.right) == (True, False)
    assert reply("neighbor", "p", 0.0, 0.2, 0.9, 0.1, ranks=(1, 1)).right is False
    assert reply("description", "p", 0.0, 0.2, 0.9, 0.1).right is None


def test_a_saved_story_comes_back(tmp_path: Path) -> None:
    story = made_story()
    folder = story.save(tmp_path / "story")
    assert {path.name for path in folder.iterdir()} == {
        "story.json", "edit.safetensors", "trace_resid.safetensors", "trace_mlp.safetensors", "trace_attn.safetensors",
        "finding_1_direction.json", "finding_2_hops.json", "finding_3_bleed.json",
    }  # fmt: skip
    loaded = EditStory.load(folder)
    assert repr(loaded.replies) == repr(story.replies) and loaded.texts == story.texts
    assert (loaded.request, loaded.settings) == (story.request, story.settings)
    assert repr(loaded.findings) == repr(story.findings) and loaded.edit.norms() == story.edit.norms()
    assert torch.equal(loaded.traces["mlp"].sample_scores.nan_to_num(), story.traces["mlp"].sample_scores.nan_to_num())
    with pytest.raises(FileFormatError, match="it is not an empty folder"):
        story.save(folder)


def test_a_folder_that_is_no_whole_story_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="is not a complete story"):
        EditStory.load(tmp_path)
    folder = made_story().save(tmp_path / "story")
    (folder / "edit.safetensors").unlink()
    with pytest.raises(FileFormatError, match="there is no file"):
        EditStory.load(folder)
    (folder / "story.json").write_text('{"kind": "probe", "format_version": 1}')
    with pytest.raises(FileFormatError, match="expected a 'story'"):
        EditStory.load(folder)


def test_bad_input_is_refused_before_anything_is_done() -> None:
    with pytest.raises(FactError, match="Give target_true"):
        edit_story(MODEL, EditRequest("Eiffel Tower", "The {} is in", "Rome"), pushed(1.0))
    with pytest.raises(EditError, match="samples is a whole number from 1"):
        edit_story(MODEL, REQUEST, pushed(1.0), samples=0)


def test_questions_are_asked_once_and_in_the_order_of_the_story() -> None:
    twice = [Question("related", "Big Ben is in the city of", "Rome", "London"), *QUESTIONS[:1], *QUESTIONS[:1]]
    asked: dict[str, Any] = {**CHEAP, "questions": twice, "generation_prompts": ()}
    story = edit_story(MODEL, REQUEST, pushed(0.0), **asked)
    assert [each.question.group for each in story.replies] == ["rewrite", "paraphrase", "related"]
    assert replace(story, texts=()).mentions("Rome").n == 0
