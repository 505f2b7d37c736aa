"""Texts that are written together equal those of a plain loop, on every model, whatever the batch and its order."""

import math
import unicodedata
from typing import Any

import pytest
import torch

from lens_rome.errors import FactError, SurfaceError
from lens_rome.evaluation import generate
from lens_rome.evaluation.writing import Writer
from lens_rome.surface import Site, as_surface, attached, position_free
from tests.helpers import Case, assert_untouched
from tests.oracles.texts import stream_by_definition, written_by_loop

PROMPTS = ["The Eiffel Tower is", "Rome", "He said that it was a quiet day in", "Rome", "Steve Jobs was the"]
LENGTH = 16


def texts_by_loop(model: Any, ids: list[str], *, length: int = LENGTH, top_k: int = 5, seed: int = 3) -> list[str]:
    surface = as_surface(model)
    bos = int(surface.prepends_bos())
    texts = []
    for prompt, name in zip(PROMPTS, ids, strict=True):
        start = surface.encode(prompt).ids
        row = written_by_loop(model, start, length + bos, stream_by_definition(seed, name), top_k)
        text = model.tokenizer.decode(row[bos:], skip_special_tokens=True)
        texts.append(unicodedata.normalize("NFKD", text).replace("\n\n", " "))
    return texts


IDS = [f"7/{place}/0" for place in range(len(PROMPTS))]


def test_texts_equal_a_loop_of_whole_runs_for_every_batch_size_on_every_model(raw_model: Any) -> None:
    expected = texts_by_loop(raw_model, IDS)
    for rows in (1, 2, 5):
        with assert_untouched(raw_model):
            assert generate(raw_model, PROMPTS, length=LENGTH, seed=3, ids=IDS, rows=rows) == expected


@torch.no_grad()
def test_logits_of_a_growing_run_are_those_of_a_whole_one_on_every_model(raw_model: Any, raw_case: Case) -> None:
    tokens = torch.randint(1, 300, (3, 12), generator=torch.Generator().manual_seed(0))
    tokens[0, 0] = tokens[1, 3] = tokens[:, 5] = raw_model.tokenizer.bos_token_id  # an end of text hides nothing
    surface = as_surface(raw_model)
    cache = surface.new_cache(3)
    grown = [
        surface.grow(cache, tokens[:, :3]),
        surface.grow(cache, tokens[:, 3:4]),
        surface.grow(cache, tokens[:, 4:]),
    ]
    whole = surface.run(tokens)
    # A factor of ten: logits are of the size of ten, and single precision is about that coarse there.
    for logits, place in zip(grown, (2, 3, 11), strict=True):
        assert torch.allclose(logits, whole[:, place], rtol=0, atol=max(1e-10, 10 * raw_case.tolerance))


def test_order_and_company_change_no_text_and_equal_prompts_have_streams_of_their_own(gpt2: Any) -> None:
    told = generate(gpt2, PROMPTS, length=LENGTH)
    assert sorted(told) == sorted(generate(gpt2, PROMPTS[::-1], length=LENGTH))
    assert generate(gpt2, PROMPTS[2:3], length=LENGTH) == told[2:3]
    assert told[1] != told[3]
    assert told != generate(gpt2, PROMPTS, length=LENGTH, seed=1)
    assert generate(gpt2, []) == []


def test_one_candidate_is_greedy_whatever_the_seed(gpt2: Any) -> None:
    expected = texts_by_loop(gpt2, IDS, top_k=1)
    assert generate(gpt2, PROMPTS, length=LENGTH, top_k=1, seed=5) == expected


def test_the_length_counts_the_prompt_and_a_longer_prompt_stays_as_it_is(gpt2: Any) -> None:
    bos = int(as_surface(gpt2).prepends_bos())
    longest = as_surface(gpt2).encode(PROMPTS[2]).ids
    rows: list[list[int]] = []

    def keep(self: Writer, *args: Any) -> list[list[int]]:
        rows.extend(written := written_before(self, *args))
        return written

    written_before = Writer.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Writer, "write", keep)
        texts = generate(gpt2, PROMPTS, length=len(longest) - bos - 2, ids=IDS)
    assert texts[2] == PROMPTS[2]
    assert sorted(len(row) for row in rows)[:-1] == [len(longest) - 2] * 4
    assert generate(gpt2, PROMPTS[:1], length=1000) == generate(gpt2, PROMPTS[:1], length=gpt2.cfg.n_ctx - bos)


def test_each_row_is_written_under_hooks_of_its_own(gpt2: Any) -> None:
    surface = as_surface(gpt2)
    name = surface.hook_name(Site(1, "value"))
    changes = torch.randn(len(PROMPTS), 1, gpt2.cfg.d_model, dtype=surface.dtype)

    def hooks_for(rows: torch.Tensor) -> Any:
        assert rows.ndim == 1
        return [(name, position_free(lambda activation, hook: activation + changes[rows]))]  # noqa: ARG005 - its name

    with assert_untouched(gpt2):
        together = generate(gpt2, PROMPTS, length=LENGTH, seed=3, ids=IDS, hooks_for=hooks_for, rows=3)
    for index, prompt in enumerate(PROMPTS):
        one = position_free(lambda activation, hook, i=index: activation + changes[i])  # noqa: ARG005 - its name
        with attached(gpt2, [(name, one)]):
            (alone,) = generate(gpt2, [prompt], length=LENGTH, seed=3, ids=[IDS[index]])
            assert texts_by_loop(gpt2, IDS)[index] == alone
        assert together[index] == alone
    assert together != generate(gpt2, PROMPTS, length=LENGTH, seed=3, ids=IDS)


@pytest.mark.parametrize("whose", ["the owner's", "an edit's"])
def test_hooks_that_look_at_positions_see_whole_rows(gpt2: Any, whose: str) -> None:
    name = as_surface(gpt2).hook_name(Site(1, "resid_pre"))

    def second_is_zero(activation: torch.Tensor, hook: object) -> torch.Tensor:  # noqa: ARG001 - its name
        activation = activation.clone()
        activation[:, 1] = 0
        return activation

    hooks = [(name, second_is_zero)]
    with attached(gpt2, hooks):
        expected = texts_by_loop(gpt2, IDS)
    if whose == "an edit's":
        found = generate(gpt2, PROMPTS, length=LENGTH, seed=3, ids=IDS, hooks_for=lambda _: hooks)
    else:
        with attached(gpt2, hooks):
            found = generate(gpt2, PROMPTS, length=LENGTH, seed=3, ids=IDS)
    assert found == expected
    assert found != generate(gpt2, PROMPTS, length=LENGTH, seed=3, ids=IDS)


def test_the_model_is_as_it_was_after_an_error_on_the_way(gpt2: Any) -> None:
    calls = 0

    def breaks(activation: torch.Tensor, hook: object) -> None:  # noqa: ARG001 - its name
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt

    name = as_surface(gpt2).hook_name(Site(1, "resid_pre"))
    with assert_untouched(gpt2), pytest.raises(KeyboardInterrupt):
        generate(gpt2, PROMPTS, length=LENGTH, hooks_for=lambda _: [(name, position_free(breaks))])


def test_runs_that_do_not_continue_one_another_are_refused(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    surface = as_surface(gpt2)
    right = surface.grow
    monkeypatch.setattr(surface, "grow", lambda cache, tokens: 1.1 * right(cache, tokens))
    with pytest.raises(SurfaceError, match="resumes in the middle differs by"):
        generate(surface, PROMPTS, length=LENGTH)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length": 0}, "whole numbers from 1, got 0, 5 and"),
        ({"top_k": 0}, "whole numbers from 1"),
        ({"rows": 0}, "whole numbers from 1"),
        ({"ids": ["one"]}, "1 ids for 5 prompts; give each prompt its own"),
    ],
)
def test_settings_that_give_no_texts_are_refused(gpt2: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(FactError, match=message):
        generate(gpt2, PROMPTS, **settings)


def test_a_broken_model_writes_nothing(fresh_model: Any) -> None:
    model = fresh_model(Case("gpt2", "bridge"))
    with torch.no_grad():
        as_surface(model).weight(1).fill_(math.nan)
    with pytest.raises(SurfaceError, match="not finite"):
        generate(model, ["The"], length=5)
