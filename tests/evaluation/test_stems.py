"""Rows that begin alike resume from a stem that ran once."""

import random
from itertools import product
from typing import Any

import pytest
import torch

from lens_rome.evaluation import evaluate, likelihoods, scorer
from lens_rome.evaluation.score_rows import ScoreRow, batches_of, parts_of, stems_of, with_common_starts
from lens_rome.evaluation.shared_starts import shared_starts
from lens_rome.surface import as_surface
from tests.evaluation.support import RECORDS, rank_one

Row = tuple[int, ...]


def tokens_to_run(rows: list[Row], starts: tuple[int, ...] | list[int]) -> int:
    """Of the rows after their starts, and of every different stem."""
    stems = {row[:start] for row, start in zip(rows, starts, strict=True)}
    return sum(len(row) - start for row, start in zip(rows, starts, strict=True)) + sum(map(len, stems))


def test_no_other_starts_leave_fewer_tokens_to_run() -> None:
    chance = random.Random(0)
    for _ in range(60):
        rows = [tuple(chance.randrange(2) for _ in range(chance.randint(0, 4))) for _ in range(chance.randint(1, 5))]
        every = product(*(range(len(row) + 1) for row in rows))
        found = shared_starts(rows)
        assert tokens_to_run(rows, found) == min(tokens_to_run(rows, starts) for starts in every)
        assert all(
            sum(other[:start] == row[:start] for other in rows) > 1
            for row, start in zip(rows, found, strict=True)
            if start
        )


def test_a_start_that_saves_little_gives_its_rows_to_the_next_lower_one() -> None:
    rows = [ScoreRow((1, 2, 3, i), (), 0, 0, 3) for i in range(2)] + [ScoreRow((1, i), (), 0, 0, 1) for i in range(3)]
    assert [row.start for row in with_common_starts(rows, 3)] == [3, 3, 0, 0, 0]
    assert [row.start for row in with_common_starts(rows, 4)] == [1] * 5
    assert [row.start for row in with_common_starts(rows, 5)] == [0] * 5


def test_rows_run_with_those_of_their_start_and_so_many_stems_as_fit() -> None:
    rows = [ScoreRow((owner, 2, 3, i), (), owner, 0, 2) for owner in (0, 1) for i in range(2)] + [ScoreRow((9,), ())]
    assert [len(part) for part in parts_of(rows, 3)] == [1, 2, 2]
    assert [len(part) for part in parts_of(rows, 4)] == [1, 4]
    assert [len(batch) for batch in batches_of(rows, 4)] == [1, 2, 2]
    assert list(stems_of(rows, unedited=True)) == [(0, (0, 2)), (1, (1, 2)), (-1, (0, 2)), (-1, (1, 2))]


def test_stems_are_run_where_they_save_work(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, original = [], scorer.run_stems
    monkeypatch.setattr(scorer, "run_stems", lambda *args: seen.append(list(args[1])) or original(*args))
    evaluate(gpt2, RECORDS, rank_one(gpt2, 1), before=True, batch_tokens=16)
    assert {owner for stems in seen for owner, _ in stems} == {0, -1}


def test_a_model_whose_runs_cannot_be_resumed_is_run_whole(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    surface, surface_class = as_surface(gpt2), type(as_surface(gpt2))
    block = surface_class.block

    def broken(self: Any, base: Any, layer: int, resid: torch.Tensor, start: int) -> torch.Tensor:
        return block(self, base, layer, resid, start) * (1.1 if start else 1.0)

    monkeypatch.setattr(surface_class, "block", broken)
    for score in evaluate(gpt2, RECORDS[:1], batch_tokens=16).scores:
        (expected,) = likelihoods(surface, [(score.prompt, RECORDS[0].request.target_new)])
        assert score.new.logprob == pytest.approx(expected.logprob, rel=0, abs=1e-10)
