"""Rows of a search that resume together: which do, and that their alignment is checked."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from lens_rome.editing import MEMIT, compute_value
from lens_rome.editing.row_groups import RowGroup, SearchRow, group_rows
from lens_rome.editing.rows import stack, target_rows
from lens_rome.errors import SurfaceError
from lens_rome.facts import EditRequest
from lens_rome.surface import BaseRun, Site, as_surface, check_resumed, position_free
from tests.editing.support import CONTEXTS, DISABLING, LAYER, REQUEST, SHORT, quick_rome
from tests.helpers import Case, assert_untouched

SITE = Site(LAYER, "value")


def search_rows(model: Any, request: EditRequest = REQUEST, contexts: tuple[str, ...] = CONTEXTS) -> list[SearchRow]:
    rows = target_rows(as_surface(model), request, contexts, "subject_last", None)
    return [SearchRow(0, row) for row in rows]


def numbers(groups: list[RowGroup]) -> list[int]:
    return [len(group.rows) for group in groups]


def test_rows_with_prefixes_of_different_lengths_are_one_group_without_padding(gpt2: Any) -> None:
    surface, rows = as_surface(gpt2), search_rows(gpt2)
    assert len({each.row.lookup for each in rows}) == 3
    ran: list[tuple[int, ...]] = []
    (group,) = group_rows(surface, SITE, rows)

    def watch(activation: torch.Tensor, hook: object) -> None:  # noqa: ARG001
        ran.append(tuple(activation.shape[:2]))

    with gpt2.hooks(fwd_hooks=[(f"blocks.{LAYER + 1}.hook_resid_post", position_free(watch))]):
        told = group.read(torch.zeros(1, surface.d_model, dtype=torch.float64))
    after = {len(each.row.tokens) - each.row.lookup for each in rows}
    assert ran == [(3, *after)] and len(told.logprobs) == 3 * len(rows[0].row.target)


def test_rows_that_would_run_much_in_vain_are_a_group_of_their_own(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lens_rome.editing.row_groups._CALL", 0.0)
    longer = replace(REQUEST, template="{} was, as is well known to all of us and to all of you, the founder of")
    rows = [*search_rows(gpt2, longer), *search_rows(gpt2)]
    monkeypatch.setattr("lens_rome.editing.row_groups._READING", 10)
    assert numbers(group_rows(as_surface(gpt2), SITE, rows)) == [3, 3]
    monkeypatch.setattr("lens_rome.editing.row_groups._READING", 1000)
    assert numbers(group_rows(as_surface(gpt2), SITE, rows)) == [6]


def test_rows_that_do_not_fit_the_context_together_are_groups_of_their_own(
    gpt2: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lens_rome.editing.row_groups._CALL", 1e18)
    (late,) = search_rows(gpt2, replace(REQUEST, template="it " * 40 + "{} was the founder of"), ("",))
    (long,) = search_rows(gpt2, replace(REQUEST, template="{} was" + " it" * 30), ("",))
    surface = as_surface(gpt2)
    assert late.row.lookup + len(long.row.tokens) - long.row.lookup > surface.n_ctx
    assert numbers(group_rows(surface, SITE, [late, long])) == [1, 1]
    (short,) = search_rows(gpt2, contexts=("",))
    assert numbers(group_rows(surface, SITE, [late, short])) == [2]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("lost", ["mask", "keys"])
def test_a_resumed_run_that_is_not_the_whole_one_is_refused(
    gpt2_case: Case, shared_model: Any, lost: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = shared_model(replace(gpt2_case, dtype=dtype))
    right = BaseRun.aligned

    def wrong(self: BaseRun, starts: torch.Tensor, after: int, first: int = 0) -> BaseRun:
        found = right(self, starts, after, first)
        return replace(found, padding=None) if lost == "mask" else replace(found, keys=found.values)

    compute_value(model, REQUEST, LAYER, CONTEXTS, SHORT)
    monkeypatch.setattr(BaseRun, "aligned", wrong)
    with assert_untouched(model), pytest.raises(SurfaceError, match="resumes in the middle differs by"):
        compute_value(model, REQUEST, LAYER, CONTEXTS, SHORT)


def test_one_wrong_row_among_many_is_seen_in_half_precision(gpt2_case: Case, shared_model: Any) -> None:
    surface = as_surface(shared_model(replace(gpt2_case, dtype=torch.bfloat16)))
    right = torch.randn(200, 32, generator=torch.Generator().manual_seed(0))
    check_resumed(surface, right * 1.004, right)
    wrong = right.clone()
    wrong[7] *= 1.5
    with pytest.raises(SurfaceError, match=r"differs by 5\.0e-01"):
        check_resumed(surface, wrong, right)


@pytest.mark.parametrize("architecture", ["olmo2", "granite", "gemma2", "llama"])
def test_what_is_found_is_found_in_place_where_norms_or_scales_follow_the_mlp(
    architecture: str, shared_model: Any
) -> None:
    model = shared_model(Case(architecture, "bridge"))
    surface, rows = as_surface(model), search_rows(model)
    (group,) = group_rows(surface, SITE, rows)
    delta = torch.randn(1, surface.d_model, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    batch = stack(surface, [each.row for each in rows])
    index = torch.arange(len(rows))

    def add(activation: torch.Tensor, hook: object) -> torch.Tensor:  # noqa: ARG001
        changed = activation.clone()
        changed[index, batch.lookup] += delta[0].to(activation)
        return changed

    with torch.no_grad():
        logits = surface.run(batch.tokens, [(surface.hook_name(SITE), add)]).double()
        found = group.read(delta)
    expected = [
        float(logits[i, each.row.end + j].log_softmax(-1)[token])
        for i, each in enumerate(group.rows)
        for j, token in enumerate(each.row.target)
    ]
    assert group.rows == rows and group._passes_on == (architecture == "llama")
    assert found.logprobs.tolist() == pytest.approx(expected, rel=0, abs=1e-5)


def test_rows_below_the_edited_block_keep_nothing(gpt2: Any) -> None:
    base = as_surface(gpt2).base_run(torch.randint(0, 100, (2, 6)))
    moved = base.aligned(torch.tensor([2, 4]), 2, first=2)
    assert [tensor.numel() > 0 for tensor in moved.keys] == [False, False, True, True]
    assert [tensor.numel() > 0 for tensor in moved.resid] == [False, False, True, True, True]
    assert moved.keys[2].shape[base.position_dim] == 4 and len(moved.select(torch.tensor([1])).resid[0]) == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("editor", [quick_rome(), MEMIT((0, 1), value=SHORT, contexts=CONTEXTS)], ids=["ROME", "MEMIT"])
@pytest.mark.filterwarnings(DISABLING)
def test_values_in_half_precision_are_near_those_in_single(
    gpt2_case: Case, shared_model: Any, editor: Any, dtype: torch.dtype
) -> None:
    half, single = (shared_model(replace(gpt2_case, dtype=each)) for each in (dtype, torch.float32))
    with assert_untouched(half):
        found = editor.edit(half, REQUEST, moments="identity")
    expected = editor.edit(single, REQUEST, moments="identity")
    for place, delta in expected.deltas.items():
        change, wanted = found.deltas[place].dense().double(), delta.dense().double()
        # Adam's first steps look at signs of gradients only, so that single numbers may take another way.
        assert torch.cosine_similarity(change.flatten(), wanted.flatten(), dim=0) > 0.8
