"""Shares of a collection: merged, they are the moments of one process, whatever their number and interruptions."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lens_rome.errors import FileFormatError, MomentError, RunError
from lens_rome.moments import (
    MomentFitter,
    SecondMoments,
    collect,
    collect_moments,
    collect_share,
    fitter,
    merge_moments,
)
from lens_rome.moments.share import MomentShare, share_path
from lens_rome.runs import Worker
from tests.helpers import Case
from tests.moments.support import LAYERS, TEXTS, made_up_texts

CORPUS = made_up_texts(15) + TEXTS + made_up_texts(25, seed=1, words=5)
SETTINGS: dict[str, Any] = {"tokens": 900, "progress": False}


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus of some texts has many batches and windows."""
    monkeypatch.setattr(fitter, "BATCH_POSITIONS", 60)
    monkeypatch.setattr(collect, "_WINDOW", 3)


def collect_all(model: Any, out: Path, world: int, corpus: list[str] = CORPUS, **more: Any) -> None:
    for rank in range(world):
        collect_share(model, LAYERS, corpus, out=out, shard=f"{rank + 1}/{world}", **{**SETTINGS, **more})


def assert_equal(found: SecondMoments, wanted: SecondMoments) -> None:
    """All that is known of two collections is the same; sums to 1e-12 of their size."""
    assert list(found) == list(wanted)
    for layer, moment in wanted.items():
        other = found[layer]
        assert (other.count, other.half_count, other.origin) == (moment.count, moment.half_count, moment.origin)
        for name in ("total", "half_total"):
            mine, theirs = getattr(other, name), getattr(moment, name)
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12 * float(theirs.abs().max()))
        assert other.probe is not None and moment.probe is not None and torch.equal(other.probe, moment.probe)


@pytest.mark.parametrize("surface", ["hooked", "bridge"])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_any_number_of_shares_gives_the_moments_of_one_process(
    shared_model: Any, tmp_path: Path, surface: str, world: int
) -> None:
    model = shared_model(Case("gpt2", surface, dtype=torch.float32))  # whose sums would show another padding
    out = tmp_path / "m.safetensors"
    collect_all(model, out, world)
    merged = merge_moments(out)
    assert_equal(merged, collect_moments(model, LAYERS, CORPUS, **SETTINGS))
    assert_equal(SecondMoments.load(out), merged)
    assert len(list(tmp_path.iterdir())) == world + 1


def test_shares_divide_the_work_and_not_the_corpus(gpt2: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run: list[tuple[int, int]] = []
    add = MomentFitter._add_batch
    monkeypatch.setattr(
        MomentFitter, "_add_batch", lambda self, rows: run.append((self.worker.rank, len(rows))) or add(self, rows)
    )
    collect_all(gpt2, tmp_path / "m", 3)
    batches = [sum(rank == worker for rank, _ in run) for worker in range(3)]
    assert max(batches) - min(batches) <= 1 and min(batches) > 3
    shares = [MomentShare.load(share_path(tmp_path / "m", Worker(rank, 3))) for rank in range(3)]
    assert len({share.origin for share in shares}) == len({share.seen for share in shares}) == 1
    whole = collect_moments(gpt2, LAYERS, CORPUS, **SETTINGS)[0]
    assert sum(share.count for share in shares) == shares[0].seen.tokens == whole.count


class Interrupted(Exception):
    """Stands for a kill."""


def interrupted_after(count: int) -> Iterator[str]:
    yield from CORPUS[:count]
    raise Interrupted


@pytest.mark.parametrize("read", [12, 21, 32])
def test_a_share_that_was_killed_continues_from_its_file(
    gpt2: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: int
) -> None:
    out = tmp_path / "m.safetensors"
    with pytest.raises(Interrupted):
        collect_share(gpt2, LAYERS, interrupted_after(read), out=out, shard="2/2", **SETTINGS)
    saved = MomentShare.load(share_path(out, Worker(1, 2)))
    assert not saved.finished and 0 < saved.origin.n_texts <= read
    with pytest.raises(MomentError, match=r"not finished: m.safetensors.share-1-of-2, m.safetensors.share-2-of-2. St"):
        merge_moments(out)
    rows: list[str] = []
    add = MomentFitter.add
    monkeypatch.setattr(MomentFitter, "add", lambda self, more: rows.extend(r.text for r in more) or add(self, more))
    collect_share(gpt2, LAYERS, CORPUS, out=out, shard="2/2", **SETTINGS)
    assert rows and rows == CORPUS[saved.origin.n_texts :][: len(rows)]
    collect_share(gpt2, LAYERS, CORPUS, out=out, shard="1/2", **SETTINGS)
    assert_equal(merge_moments(out), collect_moments(gpt2, LAYERS, CORPUS, **SETTINGS))


def test_a_finished_share_is_not_computed_again(gpt2: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collect_all(gpt2, tmp_path / "m", 2)
    monkeypatch.setattr(MomentFitter, "_add_batch", None)
    collect_all(gpt2, tmp_path / "m", 2)


def test_what_is_merged_can_be_continued_by_one_process(gpt2: Any, tmp_path: Path) -> None:
    out, texts = tmp_path / "m.safetensors", made_up_texts(120)
    collect_all(gpt2, out, 2, texts)
    merge_moments(out)
    more = collect_moments(gpt2, LAYERS, texts, checkpoint=out, tokens=1500, progress=False)[0]
    whole = collect_moments(gpt2, LAYERS, texts, tokens=1500, progress=False)[0]
    assert (more.count, more.origin) == (whole.count, whole.origin)
    torch.testing.assert_close(more.total, whole.total, rtol=0, atol=1e-5 * float(whole.total.abs().max()))


def test_more_workers_than_batches_do_no_harm(gpt2: Any, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    collect_all(gpt2, out, 5, [" piano", " Rome"], tokens=10**6)
    assert MomentShare.load(share_path(out, Worker(4, 5))).count == 0
    assert merge_moments(out)[0].count == collect_moments(gpt2, 0, [" piano", " Rome"], progress=False)[0].count


def test_shares_of_different_collections_are_not_merged(gpt2: Any, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    for shard, more in (("1/2", {}), ("2/2", {"tokens": 400})):
        collect_share(gpt2, LAYERS, CORPUS, out=out, shard=shard, **{**SETTINGS, **more})
    with pytest.raises(MomentError, match=r"are of different collections.*with the same arguments"):
        merge_moments(out)
    path = share_path(out, Worker(1, 2))
    first = MomentShare.load(share_path(out, Worker(0, 2)))
    other = {layer: probe.flip(0) for layer, probe in first.probes.items()}
    replace(first, worker=Worker(1, 2), probes=other).save(path)
    with pytest.raises(MomentError, match="are of different collections"):
        merge_moments(out)
    assert not out.exists()


def test_a_share_of_something_else_is_refused_and_kept(gpt2: Any, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    path = collect_share(gpt2, LAYERS, CORPUS, out=out, shard="1/2", **SETTINGS)
    before = path.read_bytes()
    for layers, corpus, more in (
        (LAYERS, CORPUS[::-1], {}),
        ([1], CORPUS, {}),
        (LAYERS, CORPUS, {"tokens": 800}),
        (LAYERS, CORPUS, {"name": "another"}),
        (LAYERS, CORPUS, {"prepend_bos": False}),
    ):
        with pytest.raises(MomentError, match="Delete it or name another file"):
            collect_share(gpt2, layers, corpus, out=out, shard="1/2", **{**SETTINGS, **more})
    assert path.read_bytes() == before


def test_what_is_no_share_or_no_set_of_shares_is_refused(gpt2: Any, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    with pytest.raises(MomentError, match=r"there are no shares beside .*m.safetensors. Collect them with --shard 1/2"):
        merge_moments(out)
    with pytest.raises(RunError, match="shard '3/2' is not of the form"):
        collect_share(gpt2, LAYERS, CORPUS, out=out, shard="3/2", **SETTINGS)
    with pytest.raises(MomentError, match="non-empty texts"):
        collect_share(gpt2, LAYERS, ["", ""], out=out, shard="1/2", **SETTINGS)
    path = collect_share(gpt2, LAYERS, CORPUS, out=out, shard="1/1", **SETTINGS)
    with pytest.raises(FileFormatError, match="holds a 'moments-share', expected a 'moments'"):
        SecondMoments.load(path)
    collect_all(gpt2, out, 2)
    with pytest.raises(MomentError, match=r"finished shares of \[1, 2\] workers. Delete those of all but one"):
        merge_moments(out)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FileFormatError, match="share-1-of-1"):
        merge_moments(out)
