"""Prompts of an edit as token rows: lookups, targets, settings that cannot be used."""

from typing import Any

import pytest
import torch

from lens_rome.editing import ROME, ValueSettings, compute_key, compute_value
from lens_rome.editing.rows import LOOKUPS, prompt_row, stack, target_rows
from lens_rome.errors import EditError, SubjectSpanError, SurfaceError
from lens_rome.facts import EditRequest
from lens_rome.surface import as_surface
from tests.editing.support import CONTEXTS, LAYER, REQUEST
from tests.helpers import Case


@pytest.mark.parametrize("before", CONTEXTS)
@pytest.mark.parametrize("prepend_bos", [True, False])
def test_lookups_are_found_after_every_context(gpt2: Any, before: str, prepend_bos: bool) -> None:
    surface = as_surface(gpt2)
    request = EditRequest("Danielle Darrieux", "The mother of {} is", "Spanish")
    found = {name: prompt_row(surface, request, before, name, prepend_bos) for name in LOOKUPS}
    (ids,) = {row.tokens for row in found.values()}
    at = {name: row.lookup for name, row in found.items()}
    assert {row.subject for row in found.values()} == {(at["subject_first"], at["subject_last"] + 1)}
    subject = gpt2.tokenizer.decode(ids[at["subject_first"] : at["subject_last"] + 1])
    assert subject == " Danielle Darrieux"
    assert at["subject_first_after_last"] == at["subject_last"] + 1
    assert at["last"] == len(ids) - 1
    assert (ids[0] == gpt2.tokenizer.bos_token_id) == prepend_bos


def test_the_token_after_a_subject_at_the_end_is_the_last_one(gpt2: Any) -> None:
    request = EditRequest("Danielle Darrieux", "The mother of {}", "Spanish")
    row = prompt_row(as_surface(gpt2), request, "", "subject_first_after_last", None)
    assert row.lookup == len(row.tokens) - 1


def test_rows_of_different_lengths_hold_prompt_and_all_target_tokens_but_the_last(gpt2: Any) -> None:
    found = target_rows(as_surface(gpt2), REQUEST, CONTEXTS, "subject_last", False)
    rows, targets = stack(as_surface(gpt2), found), [row.target for row in found]
    assert len(targets[0]) > 1 and len(set(rows.ends.tolist())) == 3
    for before, tokens, end, target in zip(CONTEXTS, rows.tokens, rows.ends.tolist(), targets, strict=True):
        text = f"{before}{REQUEST.prompt} {REQUEST.target_new}"
        ids = gpt2.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokens[: end + len(target)].tolist() == ids[:-1]
        assert list(target) == ids[end + 1 :]
        assert not tokens[end + len(target) :].any()


def test_the_key_is_the_mean_over_contexts_of_the_keys_at_the_subject(raw_model: Any, raw_case: Case) -> None:
    surface, keys = as_surface(raw_model), []
    for before in CONTEXTS:
        row = prompt_row(surface, REQUEST, before, "subject_last", None)
        _, cache = raw_model.run_with_cache(torch.tensor([row.tokens]))
        keys.append(cache[f"blocks.{LAYER}.mlp.hook_post"][0, row.lookup])
    found = compute_key(raw_model, REQUEST, LAYER, CONTEXTS)
    torch.testing.assert_close(found, torch.stack(keys).mean(0), rtol=0, atol=10 * raw_case.tolerance)
    assert (keys[0] - keys[1]).norm() > 0.01


def test_an_unknown_lookup_is_refused_with_the_known_ones(gpt2: Any) -> None:
    with pytest.raises(EditError, match="choose one of subject_last, subject_first"):
        compute_key(gpt2, REQUEST, LAYER, lookup="subject_middle")


def test_a_layer_that_does_not_exist_is_refused(gpt2: Any) -> None:
    for layer in (-1, 4):
        with pytest.raises(SurfaceError, match="layers 0 to 3"):
            compute_value(gpt2, REQUEST, layer)
    with pytest.raises(SurfaceError, match="layers 0 to 3"):
        ROME(4).edit(gpt2, REQUEST, moments="identity")


def test_a_target_that_melts_into_the_prompt_is_refused(gpt2: Any) -> None:
    melting = EditRequest("Steve Jobs", "{} was the founder of", "it")
    object.__setattr__(melting, "template", "{} was the founder of ")  # a request drops the space by itself
    with pytest.raises(SubjectSpanError, match=r"Drop a trailing space"):
        compute_value(gpt2, melting, LAYER)


BAD_SETTINGS = [
    {"steps": 0},
    {"lr": 0.0},
    {"clamp": 0.0},
    {"weight_decay": -1.0},
    {"kl_factor": -1.0},
    {"stop_loss": -1.0},
]


@pytest.mark.parametrize("settings", BAD_SETTINGS, ids=str)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(EditError, match="are needed, got"):
        ValueSettings(**settings)
