"""Rows of a search that resume together: which do, and that their alignment is checked."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from lens_rome.editing import compute_value
from lens_rome.editing.row_groups import RowGroup, SearchRow, group_rows
from lens_rome.editing.rows import target_rows
from lens_rome.errors import SurfaceError
from lens_rome.facts import EditRequest
from lens_rome.surface import BaseRun, Site, as_surface, position_free
from tests.editing.support import CONTEXTS, LAYER, REQUEST, SHORT
from tests.helpers import assert_untouched

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


@pytest.mark.parametrize("lost", ["mask", "keys"])
def test_a_resumed_run_that_is_not_the_whole_one_is_refused(
    gpt2: Any, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = BaseRun.aligned

    def wrong(self: BaseRun, starts: torch.Tensor, after: int) -> BaseRun:
        found = right(self, starts, after)
        return replace(found, padding=None) if lost == "mask" else replace(found, keys=found.values)

    monkeypatch.setattr(BaseRun, "aligned", wrong)
    with assert_untouched(gpt2), pytest.raises(SurfaceError, match="resumes in the middle differs by"):
        compute_value(gpt2, REQUEST, LAYER, CONTEXTS, SHORT)
